"""Which attention backend a model would use, and why not the others, and how its linear layers are computed."""

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
    """Return one line a backend for self-attention over ``batch``: chosen, able, or every objection it has.

    Where someone looks into the model (a hook, another module in a part's place), padding is kept, and the first lines
    say who that is.

    Args:
        model: any bertie model, in the mode (train or eval, dtype, device) that is meant.
        batch: a ``Packed``, a tokenizer's answer, or ``input_ids [B, S]``.
        output_attentions: whether the call would ask for attention weights.

    Raises:
        InputTypeError: ``batch`` is none of these, or ``model`` no PyTorch model.
    """
    check_module(model, "explain_attention")
    packed, device, looking = _packed(model, batch), model.device.type, list(observers(model))
    kept = "".join(f"padding is kept for {each}\n" for each in looking)
    attention = next((module for module in model.modules() if isinstance(module, BertSelfAttention)), None)
    if attention is None:
        return f"{kept}attention is computed by other modules than bertie's"
    request = Request(
        device=device,
        dtype=torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype,
        head_width=attention.attention_head_size,
        dropout_p=attention.dropout_p,
        causal=attention.is_causal,
        mask=packed.attention_mask is not None or bool(looking),
        score_bias=attention.distances is not None,
        weights=output_attentions,
    )
    return kept + explain(request, candidates(attention.backend))


def explain_linear(model: nn.Module) -> str:
    """Return one line for each kind of linear layers in ``model``: how many there are, and how they are computed.

    This is for inference; under autocast and while a graph is captured it is always PyTorch's product. Training in
    float32 multiplies as many rows with bertie's kernels as inference packs weights for, and with PyTorch's else.

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
