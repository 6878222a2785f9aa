"""BertLMHeadModel: a BERT decoder that predicts the next token."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from bertie.attention.cache import CacheLike, EncoderDecoderCache
from bertie.capture import is_tracing
from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.generation.generation_config import GenerationConfig
from bertie.layers.heads import BertOnlyMLMHead
from bertie.layers.losses import cross_entropy, next_labels
from bertie.layers.rectangle import Batch, Rectangle, shown
from bertie.models.bert import BertModel, refuse_unequal_rows
from bertie.models.generating import generate
from bertie.models.masked_lm import BertForMaskedLM
from bertie.models.model_inputs import rows_of
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import CausalLMOutputWithCrossAttentions
from bertie.packing import Packed
from bertie.progress import say_once


class BertLMHeadModel(BertPreTrainedModel):
    """Scores of the next token, over the vocabulary, at every token."""

    accepts_loss_kwargs: ClassVar[bool] = True
    _tied_weights_keys: ClassVar[dict[str, str]] = BertForMaskedLM._tied_weights_keys

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        if not config.is_decoder:
            say_once("A BertLMHeadModel on its own needs config.is_decoder=True, or tokens attend to those after them.")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertOnlyMLMHead(config)
        self.generation_config = GenerationConfig.from_model_config(config)
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
        past_key_values: CacheLike | EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        shift_labels: Tensor | None = None,
    ) -> CausalLMOutputWithCrossAttentions | tuple[Any, ...]:
        """Score the next token at every token; arguments as in ``BertModel.forward``.

        Args:
            labels: ``[B, S]`` (``[T]`` with a ``Packed``): the ids themselves, which the model shifts by one; -100 is
                ignored. No cache is kept with labels.
            logits_to_keep: only the last columns of each row, so many (0: all), or the columns in a 1-D tensor.
            shift_labels: labels already shifted, in the same shape, instead of ``labels``.
            num_items_in_batch: the divisor of the loss instead of the number of labels (gradient accumulation).
        """
        keeps_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if not keeps_all and not (labels is None and shift_labels is None):
            raise InputError("labels need the logits of all tokens; leave logits_to_keep at 0.")
        past_length = self.bert.past_length(past_key_values)
        batch = self.batch(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, past_length)
        refuse_unequal_rows(batch, past_key_values)
        given = labels if shift_labels is None else shift_labels
        vocab_size = rows_of(self.get_output_embeddings(), self.config.vocab_size)
        targets = self.token_labels(given, input_ids, batch, vocab_size)
        outputs = self.bert(
            batch,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=False if given is not None else use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden = outputs.last_hidden_state
        loss = None
        if keeps_all:
            out, logits = shown(batch, self.cls(hidden))
        else:
            out = logits = self._kept_logits(hidden, batch, input_ids, logits_to_keep)
        if targets is not None:
            shifted = next_labels(targets.values, batch) if shift_labels is None else targets.values
            loss = cross_entropy(logits.float().flatten(0, -2), shifted, num_items_in_batch)
        output = CausalLMOutputWithCrossAttentions(
            loss=loss,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
        )
        return self.pad_outputs(output, input_ids, batch, return_dict, logits=out)

    generate = generate

    def _kept_logits(self, hidden: Tensor, batch: Batch, entered: Tensor | Packed | None, keep: int | Tensor) -> Tensor:
        """Run the head only on some columns of the rectangle (for a ``Packed``: on the tokens with these indices)."""
        if isinstance(entered, Packed):
            if isinstance(keep, int):
                raise InputError("With a Packed, logits_to_keep is 0 or a tensor of token indices.")
            hidden = entered.unpad(hidden) if isinstance(batch, Rectangle) else hidden
            return self.cls(hidden.index_select(0, keep))
        _check_columns(keep, batch.shape[1])
        numbers = batch.pad(torch.arange(1, batch.num_tokens + 1, device=hidden.device))
        numbers = numbers[:, -keep:] if isinstance(keep, int) else numbers.index_select(1, keep)
        logits = self.cls(hidden.flatten(0, -2)[(numbers - 1).clamp(min=0)])
        return logits.masked_fill((numbers == 0)[..., None], 0)


def _check_columns(keep: int | Tensor, width: int) -> None:
    """Raise InputError if ``logits_to_keep`` does not select columns of a rectangle ``width`` wide."""
    if isinstance(keep, int):
        wrong = keep < 0
    else:
        wrong = not is_tracing() and keep.numel() > 0 and not (int(keep.min()) >= 0 and int(keep.max()) < width)
    if wrong:
        raise InputError(f"logits_to_keep is {keep}; allowed: a number >= 0, or column indices from 0 to {width - 1}.")
