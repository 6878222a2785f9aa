"""BertForSequenceClassification: one class, several classes, or a number for each text (BERT, section 4.1)."""

from typing import Any

from torch import Tensor

from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.layers.heads import classifier_dropout
from bertie.layers.linear import Linear
from bertie.layers.losses import check_targets, classification
from bertie.models.bert import BertModel
from bertie.models.model_inputs import rows_of
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import SequenceClassifierOutput
from bertie.packing import Packed


class BertForSequenceClassification(BertPreTrainedModel):
    """A score for every class (or one number) from the pooled vector of a text."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=True)
        self.dropout = Dropout(classifier_dropout(config))
        if self.bert.pooler is not None and config.family.dropout_before_dense:
            self.bert.pooler.dropout = self.dropout
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
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify texts; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B]`` class numbers, ``[B, C]`` zeros and ones (multi-label), or ``[B]`` or ``[B, C]`` numbers
                (regression), according to ``config.problem_type``; if it is None, to the labels and
                ``config.num_labels`` (decision 13).
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        classes = rows_of(self.classifier, self.num_labels)
        check_targets(labels, batch.shape[0], classes, self.config.problem_type)
        outputs = self.bert.pooled(batch, output_attentions, output_hidden_states)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else classification(logits, labels, self.config.problem_type)
        output = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.pad_outputs(output, input_ids, batch, return_dict)
