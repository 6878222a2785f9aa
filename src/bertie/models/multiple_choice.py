"""BertForMultipleChoice: which of several continuations fits best (BERT, section 4.4)."""

from typing import Any

from torch import Tensor

from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.errors import InputError, counted
from bertie.layers.heads import classifier_dropout
from bertie.layers.linear import Linear
from bertie.layers.losses import class_labels, cross_entropy
from bertie.models.bert import BertModel
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import MultipleChoiceModelOutput
from bertie.packing import Packed, require_tensor


class BertForMultipleChoice(BertPreTrainedModel):
    """A score for every choice, from the pooled vector of prompt and choice."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=True)
        self.dropout = Dropout(classifier_dropout(config))
        self.classifier = Linear(config.hidden_size, 1)
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
        num_choices: int | None = None,
    ) -> MultipleChoiceModelOutput | tuple[Any, ...]:
        """Score choices; arguments as in ``BertModel.forward``, each ``[B, N, S]`` for N choices.

        Args:
            labels: ``[B]``: the index of the correct choice.
            num_choices: N, for a ``Packed`` of B * N texts.

        Returns:
            ``MultipleChoiceModelOutput``, or a tuple of its members; hidden states are those of the B * N texts.
        """
        choices = _count(input_ids, inputs_embeds, num_choices)
        batch = self.batch(
            input_ids if isinstance(input_ids, Packed) else _flat(input_ids),
            _flat(attention_mask),
            _flat(token_type_ids),
            _flat(position_ids),
            _flat(inputs_embeds),
        )
        targets = None if labels is None else class_labels(labels, batch.shape[0] // choices, choices)
        outputs = self.bert.pooled(batch, output_attentions, output_hidden_states)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, choices)
        loss = None if targets is None else cross_entropy(logits, targets)
        output = MultipleChoiceModelOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.pad_outputs(output, input_ids, batch, return_dict)


def _count(input_ids: Tensor | Packed | None, inputs_embeds: Tensor | None, num_choices: int | None) -> int:
    """Return N, the number of choices of every prompt."""
    if isinstance(input_ids, Packed):
        if num_choices is None or num_choices < 1 or input_ids.shape[0] % num_choices:
            raise InputError(
                f"num_choices is {num_choices}; a Packed of {counted(input_ids.shape[0], 'text')} needs a number that "
                "divides it."
            )
        return num_choices
    content = input_ids if inputs_embeds is None else inputs_embeds
    dimensions = 3 if inputs_embeds is None else 4
    if content is not None:
        require_tensor("input_ids" if inputs_embeds is None else "inputs_embeds", content)
    if content is not None and content.dim() != dimensions:
        raise InputError(
            f"Multiple choice takes {dimensions} dimensions [batch, choices, length, ...], "
            f"not shape {tuple(content.shape)}; add a choices dimension with unsqueeze(1)."
        )
    return 1 if content is None else content.shape[1]


def _flat(values: Tensor | None) -> Tensor | None:
    """Flatten ``[B, N, ...]`` to ``[B * N, ...]``."""
    # values that are not tensors are refused by name later
    return values.flatten(0, 1) if isinstance(values, Tensor) and values.dim() > 2 else values
