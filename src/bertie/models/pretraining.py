"""BertForPreTraining: the two tasks that BERT was trained on, masked words and next sentences (BERT, section 3.1)."""

from typing import Any, ClassVar

from torch import Tensor

from bertie.config import BertConfig
from bertie.layers.heads import BertPreTrainingHeads
from bertie.layers.losses import class_labels, cross_entropy, labelled_only, masked_lm
from bertie.models.bert import BertModel
from bertie.models.masked_lm import BertForMaskedLM
from bertie.models.model_inputs import rows_of
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import BertForPreTrainingOutput
from bertie.packing import Packed


class BertForPreTraining(BertPreTrainedModel):
    """A score for every word at every token, and for whether the second sentence of a text follows the first."""

    _tied_weights_keys: ClassVar[dict[str, str]] = BertForMaskedLM._tied_weights_keys

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertPreTrainingHeads(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_logits: bool = True,
    ) -> BertForPreTrainingOutput | tuple[Any, ...]:
        """Score words and sentence pairs; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B, S]`` (``[T]`` beside a ``Packed``): word ids, -100 where nothing is to be learned.
            next_sentence_label: ``[B]``: 0, the second sentence follows the first; 1, it is a random one.
            output_logits: False computes the word head on labelled tokens only and leaves its logits out.

        Returns:
            ``BertForPreTrainingOutput``, or a tuple of its members; the loss, the sum of both, needs both labels.
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        words = rows_of(self.get_output_embeddings(), self.config.vocab_size)
        targets = self.token_labels(labels, input_ids, batch, words)
        if next_sentence_label is not None:
            class_labels(next_sentence_label, batch.shape[0], 2, "next_sentence_label")
        outputs = self.bert(
            batch,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden = labelled_only(outputs.last_hidden_state, targets, output_logits)
        logits, follows = self.cls(hidden, outputs.pooler_output)
        out, loss = masked_lm(logits, batch, targets, output_logits)
        if next_sentence_label is not None and loss is not None:
            loss = loss + cross_entropy(follows, next_sentence_label.reshape(-1))
        output = BertForPreTrainingOutput(
            loss=None if next_sentence_label is None else loss,
            seq_relationship_logits=follows,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return self.pad_outputs(output, input_ids, batch, return_dict, prediction_logits=out)
