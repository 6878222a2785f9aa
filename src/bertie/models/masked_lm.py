"""BertForMaskedLM: predict the masked tokens (BERT, section 3.1, task 1)."""

from typing import Any, ClassVar

from torch import Tensor

from bertie.config import BertConfig
from bertie.layers.heads import BertOnlyMLMHead
from bertie.layers.losses import labelled_only, masked_lm
from bertie.models.bert import BertModel
from bertie.models.model_inputs import rows_of
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import MaskedLMOutput
from bertie.packing import Packed


class BertForMaskedLM(BertPreTrainedModel):
    """Scores over the vocabulary at every token."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.weight_scale": "bert.embeddings.word_embeddings.weight_scale",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | Packed | None = None,
        encoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_logits: bool = True,
    ) -> MaskedLMOutput | tuple[Any, ...]:
        """Score every token; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B, S]`` (``[T]`` with a ``Packed``): token ids; -100 is ignored.
            output_logits: False computes the head only on labelled tokens and leaves ``logits`` out, which saves most
                of the head's work and nearly all its memory in training.
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        vocab_size = rows_of(self.get_output_embeddings(), self.config.vocab_size)
        targets = self.token_labels(labels, input_ids, batch, vocab_size)
        outputs = self.bert(
            batch,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden = labelled_only(outputs.last_hidden_state, targets, output_logits)
        out, loss = masked_lm(self.cls(hidden), batch, targets, output_logits)
        output = MaskedLMOutput(loss=loss, hidden_states=outputs.hidden_states, attentions=outputs.attentions)
        return self.pad_outputs(output, input_ids, batch, return_dict, logits=out)
