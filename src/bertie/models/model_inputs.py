"""Between padded and packed batches: inputs are checked on the host and packed, outputs are padded."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertie.attention.dense import real_token_mask, to_additive
from bertie.capture import is_tracing
from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError, counted
from bertie.layers.embeddings import positions_of
from bertie.layers.rectangle import Batch, Given, Rectangle, Unpadded
from bertie.outputs import ModelOutput
from bertie.packing import Packed, require_integers, require_tensor

_FIELDS = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size"}


class Limits(NamedTuple):
    """The limits of a batch: the embeddings' numbers of rows, or None for a foreign module without a known limit.

    ``first_position`` is read from the embeddings: `transformers`' encoder-decoder gives its halves its own configs.
    """

    config: BertConfig
    positions: int | None
    vocabulary: int | None
    types: int | None
    first_position: int

    @classmethod
    def of(cls, model: Any) -> "Limits":
        """Return the limits of a model's modules, or the config's if it has no embeddings of its own."""
        config, embeddings = model.config, model.base_model._modules.get("embeddings")
        if embeddings is None:
            own = config.max_position_embeddings, config.vocab_size, config.type_vocab_size
            return cls(config, *own, config.first_position)
        tables = embeddings._modules  # read directly, to save time in short queries
        names = ("position_embeddings", "word_embeddings", "token_type_embeddings")
        positions, vocabulary, types = (_size(tables.get(name), "num_embeddings") for name in names)
        first = getattr(embeddings, "first_position", 0)
        return cls(config, positions, vocabulary, types if config.type_vocab_size else 1, first)


def rows_of(layer: nn.Module | None, otherwise: int) -> int:
    """Return a linear layer's output size, or ``otherwise`` for a foreign module."""
    rows = _size(layer, "out_features")
    return otherwise if rows is None else rows


def _size(module: nn.Module | None, name: str) -> int | None:
    size = getattr(module, name, None)
    return size if isinstance(size, int) else None


def pack_inputs(limits: Limits, given: Given, past_length: int = 0) -> Packed:
    """Return the batch without its padding, after checking everything that could crash a kernel.

    With a captured graph or a 3-D or 4-D mask, padding is kept (decisions 4 and 7).
    """
    config, (ids, mask, types, positions, embeds) = limits.config, given
    if isinstance(ids, Packed):
        _refuse_with_packed(mask, types, positions, embeds)
        if not is_tracing():
            _check_ranges(limits, ids, past_length)
        return ids
    shape = _check_rectangle(config, given)
    if limits.first_position:  # positions of a Packed start at 0
        positions = _counted_from_zero(limits.first_position, shape, given)
    if mask is not None:
        mask = _check_mask(mask, shape, past_length, config.num_attention_heads)
    if is_tracing():
        return _pack_traced(Given(ids, mask, types, positions, embeds), past_length, config)
    whole = mask is not None and mask.dim() == 4
    token_mask = None if mask is None or whole else mask[:, past_length:]
    packed = Packed.from_padded(ids, token_mask, types, positions, embeds, past_length)
    _check_ranges(limits, packed, past_length)
    if mask is not None and whole:
        return packed.with_attention_mask(mask)
    if mask is not None and past_length:
        return packed.with_attention_mask(_attention_mask(mask, shape[1], config.is_decoder))
    return packed


def _counted_from_zero(first: int, shape: tuple[int, int], given: Given) -> Tensor:
    if given.position_ids is not None:
        return given.position_ids - first
    return positions_of(shape, given.input_ids, first - 1, given.content().device)


def pack_encoder_states(
    config: BertConfig, hidden_states: Tensor | Packed | None, attention_mask: Tensor | None
) -> Packed | None:
    """Return an encoder's hidden states ``[B, S, D]`` packed by their mask, for cross-attention."""
    if hidden_states is None:
        return None
    if isinstance(hidden_states, Packed):
        _refuse_with_packed(attention_mask)
        if hidden_states.inputs_embeds is None:
            raise InputError(
                "A Packed given as encoder_hidden_states must hold the hidden states as inputs_embeds, not ids."
            )
        return hidden_states
    require_tensor("encoder_hidden_states", hidden_states, "a torch.Tensor or a Packed")
    if hidden_states.dim() != 3 or hidden_states.shape[2] != config.hidden_size:
        raise InputError(
            f"encoder_hidden_states must have shape [batch, length, {config.hidden_size}], "
            f"not {tuple(hidden_states.shape)}."
        )
    shape, heads = tuple(hidden_states.shape[:2]), config.num_attention_heads
    mask = None if attention_mask is None else _check_mask(attention_mask, shape, 0, heads, encoder=True)
    if not is_tracing() and (mask is None or mask.dim() == 2):
        return Unpadded.of(Packed.from_padded(inputs_embeds=hidden_states, attention_mask=mask))
    packed = _whole_rectangle(Given(inputs_embeds=hidden_states), 0)
    if mask is None:
        return packed
    return packed.with_attention_mask(mask if mask.dim() == 4 else _keys(mask))


def rectangle(limits: Limits, packed: Packed, given: Given) -> Rectangle:
    """Return the batch ``packed`` with its padding: the original rectangle ``given``, or a new one for a ``Packed``.

    Ids and positions of padding that are out of range are replaced by 0, as nothing depends on them.
    """
    if given.input_ids is packed:
        return Rectangle.of(packed, first_position=limits.first_position)
    arguments: dict[str, Any] = dict(zip(Given._fields, given, strict=True))
    for name, values, (low, high), size in _tables(limits, packed) if not is_tracing() else ():
        given_values = arguments[name]
        if values is not None and size is not None and not (low >= 0 and high < size):
            arguments[name] = packed.pad(values)
        elif given_values is not None and given_values.dtype not in (torch.int64, torch.int32):
            arguments[name] = given_values.long()
    return Rectangle.of(packed, arguments)


def attention_mask_of(
    batch: Rectangle, past_length: int, causal: bool, eager: bool, dtype: torch.dtype
) -> Tensor | None:
    """Return the attention mask as the reference's blocks take it: ``[B, 1 or H, S, S_keys]`` or None.

    It is bool (True: attend), or for ``eager`` attention floats to add to the scores.
    """
    mask, width, device = batch.packed.attention_mask, batch.shape[1], batch.packed.device
    if mask is None and batch.real is not None:
        mask = _attention_mask(batch.real, width, causal)
    if mask is None and causal and eager:
        mask = torch.ones(1, 1, width, past_length + width, dtype=torch.bool, device=device).tril(past_length)
    return mask if mask is None else _scores(mask, (batch.shape[0], -1, width, -1), eager, dtype)


def encoder_mask_of(encoder: Packed, shape: tuple[int, int], eager: bool, dtype: torch.dtype) -> Tensor | None:
    """Return the mask of an encoder's hidden states as the reference's cross-attention takes it, or None."""
    mask, real = encoder.attention_mask, real_token_mask(encoder)
    if mask is None and real is not None:
        mask = _keys(real)
    return None if mask is None else _scores(mask, (shape[0], -1, shape[1], -1), eager, dtype)


def _scores(mask: Tensor, shape: tuple[int, ...], eager: bool, dtype: torch.dtype) -> Tensor:
    """Return a 4-D mask expanded to ``shape`` (-1: unchanged), as floats for ``eager`` attention."""
    if eager and mask.dtype == torch.bool:
        mask = to_additive(mask, dtype)
    return mask.expand(shape)


def pad_outputs(output: ModelOutput, batch: Batch, as_packed: bool) -> ModelOutput:
    """Return ``output`` with its per-token members padded or packed like the batch (decision 1).

    The hidden states of all layers already are, unless a user-defined model computed with a plain ``Packed``.
    """
    if as_packed and isinstance(batch, Packed):
        return output
    convert = batch.packed.unpad if as_packed and isinstance(batch, Rectangle) else batch.pad
    layers_done = not as_packed and isinstance(batch, Unpadded | Rectangle)
    members: dict[str, Any] = {}
    for name, value in output.items():
        kind = output.token_fields.get(name)
        if kind is None or (layers_done and isinstance(value, tuple)):
            members[name] = value
        elif isinstance(value, tuple):
            members[name] = tuple(convert(part) for part in value)
        else:
            members[name] = convert(value, torch.finfo(value.dtype).min if kind == "lowest" else 0)
    return type(output)(**members)


def _refuse_with_packed(*others: Tensor | None) -> None:
    if any(other is not None for other in others):
        raise InputError(
            "A Packed already holds its padding, positions, token types and embeddings: "
            "pass it alone, without attention_mask, token_type_ids, position_ids or inputs_embeds."
        )


def check_embeds(config: BertConfig, embeds: Tensor) -> None:
    """Raise an error if ``embeds`` cannot be the model's ``inputs_embeds``."""
    require_tensor("inputs_embeds", embeds)
    if embeds.dim() != 3 or embeds.shape[2] != config.embedding_width:
        raise InputError(
            f"inputs_embeds must have shape [batch, length, {config.embedding_width}], not {tuple(embeds.shape)}."
        )


def _check_rectangle(config: BertConfig, given: Given) -> tuple[int, int]:
    ids, _, types, positions, embeds = given
    if (ids is None) == (embeds is None):
        raise InputError("Give exactly one of input_ids and inputs_embeds.")
    for name, values in (("input_ids", ids), ("token_type_ids", types), ("position_ids", positions)):
        if values is not None:
            require_tensor(name, values, "a torch.Tensor or a Packed")
            require_integers(name, values)
            if values.dim() > 2 or (values is ids and values.dim() != 2):
                raise InputError(f"{name} must have 2 dimensions [batch, length], not shape {tuple(values.shape)}.")
    if embeds is not None:
        check_embeds(config, embeds)
    shape = (given.content().shape[0], given.content().shape[1])
    for name, values in (("token_type_ids", types), ("position_ids", positions)):
        # one row or one value for all texts is allowed, as in the reference
        if values is not None and any(
            size not in (1, own) for size, own in zip(values.shape[::-1], shape[::-1], strict=False)
        ):
            raise InputError(f"{name} has shape {tuple(values.shape)}, but the batch has shape {shape}.")
    return shape


def _check_mask(mask: Tensor, shape: tuple[int, ...], past_length: int, heads: int, encoder: bool = False) -> Tensor:
    """Return a checked mask: 2-D as given, any other as 4-D, broadcastable to the scores (decision 4)."""
    name = "encoder_attention_mask" if encoder else "attention_mask"
    keys = shape[1] + past_length
    require_tensor(name, mask)
    if mask.dim() == 2:
        if mask.shape != (shape[0], keys):
            past = f" ({past_length} of them in past_key_values)" if past_length else ""
            raise InputError(
                f"{name} has shape {tuple(mask.shape)}, but the batch has shape {(shape[0], keys)}{past}; "
                "give one entry per token."
            )
        return mask
    if mask.dim() not in (3, 4):
        raise InputError(f"{name} must have 2, 3 or 4 dimensions, not {mask.dim()}.")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise InputTypeError(
            f"A {mask.dim()}-D {name} must be bool (True: attend) or floats to add to the scores, "
            f"not {mask.dtype}; convert it with .bool() if it holds 0 and 1."
        )
    fits = mask.shape[-1] == keys and mask.shape[0] in (1, shape[0]) and (encoder or mask.shape[-2] in (1, shape[1]))
    if not fits or (mask.dim() == 4 and mask.shape[1] not in (1, heads)):
        raise InputError(
            f"{name} has shape {tuple(mask.shape)}, which does not fit {counted(shape[0], 'text')} of "
            f"{counted(shape[1], 'token')} attending to {counted(keys, 'key')} with {counted(heads, 'head')}."
        )
    return mask if mask.dim() == 4 else mask[:, None]


def _tables(limits: Limits, packed: Packed) -> tuple[tuple[str, Tensor | None, tuple[int, int], int | None], ...]:
    """Return each argument that indexes an embedding table: name, values, their range, and the table's size."""
    facts, positions, first = packed.host_stats, packed.position_ids, limits.first_position
    low, high = facts.position_range
    return (
        ("position_ids", positions + first if first else positions, (low + first, high + first), limits.positions),
        ("input_ids", packed.input_ids, facts.id_range, limits.vocabulary),
        ("token_type_ids", packed.token_type_ids, facts.type_range, limits.types),
    )


def _check_ranges(limits: Limits, packed: Packed, past_length: int) -> None:
    """Raise InputError if ids, types or positions exceed the embeddings, judged by the batch's host statistics."""
    for name, values, (low, high), size in _tables(limits, packed):
        if size is None or values is None or values.numel() == 0 or (low >= 0 and high < size):
            continue
        wrong = ((values < 0) | (values >= size)).nonzero()
        if not wrong.numel():  # only padding is out of range, and nothing depends on it
            continue
        token = int(wrong[0])
        if name == "position_ids":
            cached = f" and past_key_values holds {past_length} before it" if past_length else ""
            raise InputError(
                f"A text has position {int(values[token])} (the longest has {max(packed.lengths)} tokens{cached}), "
                f"but the model ends at max_position_embeddings = {size}; truncate the text (truncation=True, "
                f"max_length={size - limits.first_position}) or split it into windows."
            )
        row, column = _cell(packed, token)
        raise InputError(
            f"{name}[{row}, {column}] is {int(values[token])}, but {_FIELDS[name]} is {size}: allowed are 0 to "
            f"{size - 1}. "
            "Is this the tokenizer the model was trained with?"
        )


def _cell(packed: Packed, token: int) -> tuple[int, int]:
    cell = token if packed.flat_index is None else int(packed.flat_index[token])
    return divmod(cell, max(packed.shape[1], 1))


def _attention_mask(mask: Tensor, width: int, causal: bool) -> Tensor:
    """Return the attention mask, bool ``[B, 1, 1 or S, S_keys]``, from ``mask [B, S_keys]``, which covers the cache."""
    keys = _keys(mask)
    if not causal:
        return keys
    past = torch.ones(width, mask.shape[1], dtype=torch.bool, device=mask.device).tril(mask.shape[1] - width)
    return keys & past


def _keys(mask: Tensor) -> Tensor:
    return (mask != 0)[:, None, None, :]


def _pack_traced(given: Given, past_length: int, config: BertConfig) -> Packed:
    """Return the whole rectangle with its mask, as a captured graph's shapes cannot depend on values."""
    packed, mask = _whole_rectangle(given, past_length), given.attention_mask
    if mask is None:
        return packed
    if mask.dim() == 4:
        return packed.with_attention_mask(mask)
    width = packed.shape[1]
    real = (mask[:, past_length:] != 0).reshape(-1)
    return packed.with_attention_mask(_attention_mask(mask, width, config.is_decoder), token_mask=real)


def _whole_rectangle(given: Given, past_length: int) -> Packed:
    ids, _, types, positions, embeds = given
    (batch, width), device = given.content().shape[:2], given.content().device
    columns = torch.arange(past_length, past_length + width, device=device)
    positions = (columns if positions is None else positions.long()).expand(batch, width)
    types = torch.zeros_like(positions) if types is None else types.long().expand(batch, width)
    return Packed(
        input_ids=None if ids is None else ids.long().reshape(-1),
        inputs_embeds=None if embeds is None else embeds.reshape(batch * width, embeds.shape[2]),
        position_ids=positions.reshape(-1),
        token_type_ids=types.reshape(-1),
        cu_seqlens=torch.arange(batch + 1, device=device, dtype=torch.int32) * width,
        shape=(batch, width),
    )
