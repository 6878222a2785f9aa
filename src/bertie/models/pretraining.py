"""BertForPreTraining: BERT's two pretraining tasks, masked LM and next-sentence prediction (BERT, section 3.1)."""

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
    """Scores over the vocabulary at every token, and of whether a text's second sentence follows its first."""

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
        """Score tokens and sentence pairs; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B, S]`` (``[T]`` with a ``Packed``): token ids; -100 is ignored.
            next_sentence_label: ``[B]``: 0 if the second sentence follows the first, 1 if it is random.
            output_logits: False computes the masked-LM head only on labelled tokens and leaves its logits out.

        Returns:
            ``BertForPreTrainingOutput``, or a tuple of its members; the loss, a sum of both, requires both labels.
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        vocab_size = rows_of(self.get_output_embeddings(), self.config.vocab_size)
        targets = self.token_labels(labels, input_ids, batch, vocab_size)
        if next_sentence_label is not None:
            class_labels(next_sentence_label, batch.shape[0], 2, "next_sentence_label")
        outputs = self.bert(
            batch,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden = labelled_only(outputs.last_hidden_state, targets, output_logits)
        logits, next_sentence = self.cls(hidden, outputs.pooler_output)
        out, loss = masked_lm(logits, batch, targets, output_logits)
        if next_sentence_label is not None and loss is not None:
            loss = loss + cross_entropy(next_sentence, next_sentence_label.reshape(-1))
        output = BertForPreTrainingOutput(
            loss=None if next_sentence_label is None else loss,
            seq_relationship_logits=next_sentence,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return self.pad_outputs(output, input_ids, batch, return_dict, prediction_logits=out)
