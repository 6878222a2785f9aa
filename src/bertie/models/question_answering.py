"""BertForQuestionAnswering: where in a text the answer starts and ends (BERT, section 4.2)."""

from typing import Any

import torch
from torch import Tensor

from bertie.checkpoints.parameters import check_answer_scores
from bertie.config import BertConfig
from bertie.layers.linear import Linear
from bertie.layers.losses import check_positions, span
from bertie.layers.rectangle import shown
from bertie.models.bert import BertModel
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import QuestionAnsweringModelOutput
from bertie.packing import Packed


class BertForQuestionAnswering(BertPreTrainedModel):
    """Two scores for every token: that the answer starts there, and that it ends there."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        check_answer_scores(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput | tuple[Any, ...]:
        """Score answer spans; arguments as in ``BertModel.forward``.

        Args:
            start_positions, end_positions: ``[B]``: the column (with a ``Packed``: the index in the text) of the
                answer's first and last token; those outside the text are left out of the loss.

        Returns:
            ``QuestionAnsweringModelOutput``, or a tuple of its members; padding holds the dtype's lowest value,
            and the loss is a softmax over a text's own tokens (decision 1).
        """
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        for name, positions in (("start_positions", start_positions), ("end_positions", end_positions)):
            if positions is not None:
                check_positions(positions, batch.shape[0], name)
        outputs = self.bert(
            batch,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        lowest = torch.finfo(outputs.last_hidden_state.dtype).min
        scores = self.qa_outputs(outputs.last_hidden_state).unbind(dim=-1)
        (start_out, start_logits), (end_out, end_logits) = (shown(batch, each, lowest) for each in scores)
        loss = None
        if start_positions is not None and end_positions is not None:
            rows = batch.pad(start_logits, lowest), batch.pad(end_logits, lowest)
            loss = span(*rows, start_positions, end_positions)
        output = QuestionAnsweringModelOutput(
            loss=loss, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
        return self.pad_outputs(output, input_ids, batch, return_dict, start_logits=start_out, end_logits=end_out)
