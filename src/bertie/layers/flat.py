"""The blocks as one flat loop over prepared weights, for inference when no one looks in.

Between two products of a short text the modules' own Python takes as long as a product. Here all that they would look
at in every call is looked at once a batch, and only products, attention and normalisation are left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter, contains, is_, itemgetter
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bertie.attention.dispatch import choose
from bertie.attention.request import Inputs, Request
from bertie.capture import capturing, observed
from bertie.kernels import encoder as kernels
from bertie.kernels.gemm import PackedLinear
from bertie.layers.activations import Activation, NamedActivation
from bertie.layers.attention import BertAttention, BertSelfAttention
from bertie.layers.block import BertLayer
from bertie.layers.dropout import Dropout
from bertie.layers.feed_forward import BertIntermediate
from bertie.layers.int8 import Int8Linear
from bertie.layers.linear import HOOKS, Stamp, View, prepared_view, tensors_of
from bertie.layers.residual import BertOutput, BertSelfOutput
from bertie.packing import Packed

# what a module of any other type does is not known here
_KNOWN = {BertLayer, BertAttention, BertSelfAttention, BertSelfOutput, BertIntermediate, BertOutput, NamedActivation}
_LINEAR = {nn.Linear, Int8Linear}
_KNOWN |= {*_LINEAR, nn.LayerNorm, Dropout}
_HOOKS, _TRAINING, _RETIRED = itemgetter(*HOOKS), itemgetter("training"), attrgetter("is_retired")
_TOLD = ("is_causal", "distances", "num_attention_heads", "intermediate_act_fn")
# where a module hangs: its owner's modules, its name there, itself
Slot = tuple[dict[str, Any], str, nn.Module]


def flat(blocks: nn.ModuleList, hidden_states: Tensor, packed: Packed) -> "Flat | None":
    """Return the loop that does what calling ``blocks`` would, or None where it might do less.

    That is in training, with gradients, hooks, adapters, autocast or a capture, for masks of one's own, decoders and
    relative positions, and for weights that no kernel has prepared.
    """
    if (
        torch.is_grad_enabled()
        or capturing()
        or packed.attention_mask is not None
        or type(hidden_states) is not Tensor
        or observed()
        or not hidden_states.is_cpu  # weights are prepared for no other device
        or len(hidden_states) == 0
        or torch.is_autocast_enabled(hidden_states.device.type)
    ):
        return None
    known = _FLAT.get(blocks)
    if known is not None and len(known.blocks) == len(blocks) and known.holds(hidden_states):
        return known
    with _MAKING:  # threads that compute batches of their own need one loop, not one each
        if _FLAT.get(blocks) is not known:
            return flat(blocks, hidden_states, packed)
        _FLAT.pop(blocks, None)
        made = _flattened(blocks, hidden_states)
        if made is not None:
            _FLAT[blocks] = made
        return made


@dataclass(frozen=True, eq=False)
class _Block:
    """What is left of a block: four products, and the normalisations after the second and the last."""

    views: tuple[View, ...]
    norms: tuple[nn.LayerNorm, nn.LayerNorm]
    activation: Activation
    heads: tuple[int, int]  # how many, and how wide

    def __call__(self, x: Tensor, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        projections, output, intermediate, last = (view.prepared for view in self.views)
        q, k, v = projections(x).view(-1, 3, *self.heads).unbind(1)
        x = _normalised(output.added(attend(q, k, v).flatten(1), x), self.norms[0])
        return _normalised(last.added(intermediate.activated(x, self.activation), x), self.norms[1])

    def native(self) -> kernels.Block | None:
        """Return the block as our own kernels compute it, or None where they can't."""
        prepared = [getattr(view.prepared, "packed", None) for view in self.views]
        packed = tuple(each for each in prepared if isinstance(each, PackedLinear))  # PyTorch's engines pack, too
        hidden = self.views[1].depth
        norms = [(norm.weight.detach(), norm.bias.detach(), norm.eps) for norm in self.norms]
        able = self.activation is F.gelu and all(
            each is not None and each.dtype == torch.float32 and each.is_contiguous() and len(each) == hidden
            for norm in norms
            for each in norm[:2]
        )
        if not able or len(packed) < len(prepared):
            return None
        arrays = tuple((weight.numpy(), bias.numpy(), eps) for weight, bias, eps in norms)
        return kernels.Block(packed, arrays, self.heads)


@dataclass(frozen=True, eq=False)
class Flat:
    """The blocks' products in their order; ``native`` computes them all in one call, where our own kernels can."""

    blocks: list[_Block]
    views: list[View]
    native: kernels.PackedEncoder | None
    seen: "_Seen"

    def __call__(self, hidden_states: Tensor, packed: Packed, blocks: int | None = None) -> Tensor:
        """Return what the first ``blocks`` of them, or all, make of hidden states ``[T, D]``."""
        if self.native is not None:
            x, threads = hidden_states.detach().numpy(), torch.get_num_threads()
            return torch.from_numpy(self.native(x, packed.cu_seqlens.numpy(), blocks, threads=threads))
        width = self.blocks[0].heads[1]
        backend = choose(Request(hidden_states.device.type, hidden_states.dtype, width))

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return backend.attend(Inputs(q, k, v, packed, packed))[0]

        for block in self.blocks[:blocks]:
            hidden_states = block(hidden_states, attend)
        return hidden_states

    def holds(self, x: Tensor) -> bool:
        """Whether modules, weights and settings are as they were, and made for hidden states like ``x``."""
        view = self.views[0]
        return (
            x.shape[1] == view.depth
            and x.dtype is view.dtype
            and self.seen.is_unchanged()
            and not any(map(_RETIRED, self.views))
        )


class _Seen:
    """The modules that a loop was made of, as they were: looked at all together, for that is before every query.

    There are a hundred: what is looked at in each costs no line of Python for each.
    """

    def __init__(self, slots: list[Slot]) -> None:
        self.owners, self.names, self.modules = zip(*slots, strict=True)
        self.own = [vars(module) for module in self.modules]
        self.linears = [module for module in self.modules if type(module) in _LINEAR]
        self.norms = [module for module in self.modules if isinstance(module, nn.LayerNorm)]
        self.others = [module for module in self.modules if isinstance(module, BertSelfAttention | BertIntermediate)]
        self.configs = {id(config): config for each in self.others if (config := getattr(each, "config", None))}
        self.stamp, self.settings = Stamp(self.linears), self._settings()
        self.hooks_made = -1

    def is_unchanged(self) -> bool:
        """Whether no one has put another module in a place, asked for more than ``forward``, or changed numbers."""
        return (
            all(map(is_, map(dict.get, self.owners, self.names), self.modules))
            and not any(map(contains, self.own, repeat("forward")))
            and not any(map(_TRAINING, self.own))
            and not self._has_hooks()
            and self.stamp.holds(self.linears)
            and self.settings == self._settings()
        )

    def _has_hooks(self) -> bool:
        """Whether a module has hooks; none has a new one unless some module in this process has."""
        made = RemovableHandle.next_id
        if made != self.hooks_made:
            if any(map(any, map(_HOOKS, self.own))):
                return True
            self.hooks_made = made
        return False

    def _settings(self) -> list[Any]:
        """Return what blocks are told besides weights, and where the numbers of normalisations lie: they may change."""
        places = [each.data_ptr() for each in tensors_of(self.norms)]
        told = [vars(module).get(name) for module in self.others for name in _TOLD]
        implementations = [config._attn_implementation for config in self.configs.values()]
        return [*places, *implementations, *(norm.eps for norm in self.norms), *told]


_MAKING = RLock()
_FLAT: "WeakKeyDictionary[nn.Module, Flat]" = WeakKeyDictionary()


def _flattened(blocks: nn.ModuleList, x: Tensor) -> Flat | None:
    slots = _slots(blocks)
    if not slots or any(type(module) not in _KNOWN for _, _, module in slots):
        return None
    seen = _Seen(slots)
    if not seen.is_unchanged():  # before anything is prepared for it
        return None
    found = []
    for layer in blocks:
        block = _block(layer, x)
        if block is None:
            return None
        found.append(block)
    encoder = _packed(found) if x.dtype == torch.float32 else None
    made = Flat(found, [view for block in found for view in block.views], encoder, seen)
    return made if made.holds(x) else None


def _packed(blocks: list[_Block]) -> kernels.PackedEncoder | None:
    """Return the blocks as one call of our own kernels, or None where these can't compute them."""
    found = [native for block in blocks if (native := block.native()) is not None]
    shapes = {(block.heads, block.views[2].widths[0]) for block in blocks}
    return kernels.PackedEncoder(found) if len(found) == len(blocks) and len(shapes) == 1 else None


def _slots(module: nn.Module) -> list[Slot]:
    children = [(module._modules, name, child) for name, child in module._modules.items() if child is not None]
    return children + [slot for _, _, child in children for slot in _slots(child)]


def _block(layer: Any, x: Tensor) -> _Block | None:
    own = layer.attention.self
    if own.is_causal or own.distances is not None or own.backend is not None:
        return None
    views = (
        prepared_view(x, (own.query, own.key, own.value)),
        prepared_view(x, (layer.attention.output.dense,)),
        prepared_view(x, (layer.intermediate.dense,)),
        prepared_view(x, (layer.output.dense,)),
    )
    if None in views:
        return None
    activation = layer.intermediate.intermediate_act_fn
    depths, widths = [view.depth for view in views if view], [sum(view.widths) for view in views if view]
    hidden, wide = own.num_attention_heads * own.attention_head_size, widths[2]
    if (depths, widths) != ([hidden, hidden, hidden, wide], [3 * hidden, hidden, wide, hidden]):
        return None
    return _Block(
        tuple(view for view in views if view is not None),
        (layer.attention.output.LayerNorm, layer.output.LayerNorm),
        activation.function if isinstance(activation, NamedActivation) else activation,
        (own.num_attention_heads, own.attention_head_size),
    )


def _normalised(x: Tensor, norm: Any) -> Tensor:
    return torch.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
