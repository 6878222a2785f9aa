"""BertForTokenClassification: a class for every token, as in named-entity recognition (BERT, section 5.3)."""

from typing import Any

from torch import Tensor

from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.layers.heads import classifier_dropout
from bertie.layers.linear import Linear
from bertie.layers.losses import cross_entropy
from bertie.layers.rectangle import shown
from bertie.models.bert import BertModel
from bertie.models.model_inputs import rows_of
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import TokenClassifierOutput
from bertie.packing import Packed


class BertForTokenClassification(BertPreTrainedModel):
    """A score for every class at every token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = Dropout(classifier_dropout(config))
        self.classifier = Linear(config.hidden_size, config.num_labels)
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
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        """Classify tokens; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B, S]`` (``[T]`` with a ``Packed``): class numbers; -100 is ignored.
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        classes = rows_of(self.classifier, self.num_labels)
        targets = self.token_labels(labels, input_ids, batch, classes)
        outputs = self.bert(
            batch,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        out, logits = shown(batch, self.classifier(self.dropout(outputs.last_hidden_state)))
        output = TokenClassifierOutput(
            loss=None if targets is None else cross_entropy(logits.flatten(0, -2), targets.values),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
        return self.pad_outputs(output, input_ids, batch, return_dict, logits=out)
