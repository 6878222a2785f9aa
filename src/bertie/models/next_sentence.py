"""BertForNextSentencePrediction: does the second sentence of a text follow the first? (BERT, section 3.1, task 2)"""

from typing import Any

from torch import Tensor

from bertie.config import BertConfig
from bertie.layers.heads import BertOnlyNSPHead
from bertie.layers.losses import class_labels, cross_entropy
from bertie.models.bert import BertModel
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import NextSentencePredictorOutput
from bertie.packing import Packed


class BertForNextSentencePrediction(BertPreTrainedModel):
    """Two scores for every text: that its second sentence follows its first, and that it is a random one."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertOnlyNSPHead(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> NextSentencePredictorOutput | tuple[Any, ...]:
        """Score sentence pairs; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B]``: 0 if the second sentence follows the first, 1 if it is random.
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        targets = None if labels is None else class_labels(labels, batch.shape[0], 2)
        outputs = self.bert.pooled(batch, output_attentions, output_hidden_states)
        logits = self.cls(outputs.pooler_output)
        loss = None if targets is None else cross_entropy(logits, targets)
        output = NextSentencePredictorOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.pad_outputs(output, input_ids, batch, return_dict)
