"""Which attention backend a model would use and why not the others, and how its linear layers are computed."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertie.attention import Request, explain
from bertie.attention.dispatch import candidates
from bertie.errors import InputTypeError
from bertie.layers.attention import BertSelfAttention
from bertie.layers.int8 import Int8Linear
from bertie.layers.linear import check_module, explain_product
from bertie.layers.rectangle import Given
from bertie.models.hooks import observers
from bertie.models.pretrained import BertPreTrainedModel
from bertie.packing import Packed


def explain_attention(
    model: BertPreTrainedModel, batch: Packed | Mapping[str, Any] | Tensor, *, output_attentions: bool = False
) -> str:
    """Return one line per backend for self-attention over ``batch``: chosen, able, or why it cannot be used.

    If the model has observers (hooks, or modules that replace its parts), padding is kept, and the first lines name
    them.

    Args:
        model: any bertie model, in the mode, dtype and on the device in question.
        batch: a ``Packed``, a tokenizer's output, or ``input_ids [B, S]``.
        output_attentions: whether the call would request attention weights.

    Raises:
        InputTypeError: ``batch`` is none of these, or ``model`` is not a PyTorch model.
    """
    check_module(model, "explain_attention")
    packed, device, watching = _packed(model, batch), model.device.type, list(observers(model))
    kept = "".join(f"padding is kept for {each}\n" for each in watching)
    attention = next((module for module in model.modules() if isinstance(module, BertSelfAttention)), None)
    if attention is None:
        return f"{kept}attention is not computed by bertie's modules"
    request = Request(
        device=device,
        dtype=torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype,
        head_width=attention.attention_head_size,
        dropout_p=attention.dropout_p,
        causal=attention.is_causal,
        mask=packed.attention_mask is not None or bool(watching),
        score_bias=attention.distances is not None,
        weights=output_attentions,
    )
    return kept + explain(request, candidates(attention.backend))


def explain_linear(model: nn.Module) -> str:
    """Return one line per kind of linear layer in ``model``: their number, and how they are computed.

    This is for inference; under autocast and in captured graphs it is always PyTorch's product. Training in float32
    uses bertie's kernels for as many rows as inference packs weights for, and otherwise PyTorch's.

    Raises:
        InputTypeError: ``model`` is not a PyTorch model.
    """
    check_module(model, "explain_linear")
    counts = Counter(
        (layer.weight.dtype, layer.weight.device.type, explain_product(layer))
        for layer in model.modules()
        if isinstance(layer, nn.Linear | Int8Linear)
    )
    return "\n".join(
        f"{count} linear layers of {dtype} on {device}: {how}" for (dtype, device, how), count in counts.items()
    )


def _packed(model: BertPreTrainedModel, batch: Packed | Mapping[str, Any] | Tensor) -> Packed:
    if isinstance(batch, Packed):
        return batch
    if isinstance(batch, Tensor):
        return model.pack_inputs(batch)
    if not isinstance(batch, Mapping):
        raise InputTypeError(f"batch must be a Packed, a mapping or a tensor of ids, not {type(batch).__name__}.")
    return model.pack_inputs(*Given(*map(batch.get, Given._fields)))
