"""``bertie.compile``: everything between two attentions becomes one compiled function for any number of tokens.

Attention itself is not compiled: it is a flash kernel on CUDA, groups of equal length elsewhere. So no text length,
mask or backend enters a graph, no batch causes a recompilation, and all blocks share one compiled function.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from bertie.capture import has_hooks, is_tracing
from bertie.errors import BertieError, InputTypeError
from bertie.layers.block import BertLayer
from bertie.layers.embeddings import BertEmbeddings
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.models.bert import BertModel
from bertie.models.cuda_graphs import GraphedModel
from bertie.models.pretrained import BertPreTrainedModel
from bertie.packing import Packed

Model = TypeVar("Model", bound=BertPreTrainedModel)


def compile(model: Model, *, mode: str | None = None, backend: str = "inductor", graphs: bool = True) -> Model:
    """Make ``model`` run compiled from now on, in training and inference, and return it.

    The first batch compiles one block; later batches of any lengths need no compilation. Weights, names, saving, hooks
    and adapters are not affected. int8 layers on a CPU are not compiled: the compiler cannot see their integer products
    and makes the code between them slower.
    ``torch.compile(model)`` is PyTorch's own mechanism and independent of this one: it captures the whole model.

    Args:
        model: any bertie model; compiling it again applies the new arguments.
        mode: of ``torch.compile``: None, or ``"max-autotune-no-cudagraphs"``, which tries more kernels for minutes.
        backend: of ``torch.compile``.
        graphs: whether small packed batches replay CUDA graphs (half precision on CUDA, without gradients).

    Raises:
        InputTypeError: ``model`` is not a bertie model.
        BertieError: there is no compiler for this device.
    """
    if not isinstance(model, BertPreTrainedModel):
        raise InputTypeError(f"bertie.compile takes a bertie model, not {type(model).__name__}.")
    if backend == "inductor" and model.device.type == "cpu" and not _has_compiler():
        raise BertieError("torch.compile needs a C++ compiler on the CPU, and none was found; install g++.")
    options = _Options(mode, backend)
    for module in model.modules():
        kind = _FORWARDS.get(type(module))
        if kind is not None and not _is_int8_on_cpu(module):
            vars(module)["forward"] = kind(cast(Any, module), options)
        elif type(module) is BertModel:
            vars(module).pop("forward", None)
            if graphs:
                vars(module)["forward"] = GraphedModel(module)
    return model


@dataclass(frozen=True)
class _Options:
    mode: str | None
    backend: str


@dataclass(frozen=True)
class _Block:
    """The ``forward`` of a block: eager attention, then the compiled rest. It can be copied and pickled."""

    block: BertLayer
    options: _Options

    def __call__(self, hidden_states: Tensor, attention_mask: Any = None, *args: Any, **named: Any) -> Tensor:
        block = self.block
        if (
            is_tracing()
            or not isinstance(attention_mask, Packed)
            or any(each is not None for each in args)  # cross-attention
            or has_hooks(block.attention)
            or len(hidden_states) < 2
            or _is_int8_on_cpu(block)  # quantised meanwhile
        ):
            return BertLayer.forward(block, hidden_states, attention_mask, *args, **named)
        context, weights = block.attention.self(hidden_states, attention_mask=attention_mask, **named)
        if weights is not None:
            named["collected"].add_weights(weights, is_cross_attention=False)
        return _compiled(after_attention, self.options)(block, context, hidden_states)


@dataclass(frozen=True)
class _Embeddings:
    """The ``forward`` of the embeddings: compiled only for inference, as PyTorch's embedding gradient is faster."""

    embeddings: BertEmbeddings
    options: _Options

    def __call__(self, input_ids: Any = None, *args: Any, **named: Any) -> Tensor:
        if (
            is_tracing()
            or torch.is_grad_enabled()
            or not isinstance(input_ids, Packed)
            or input_ids.num_tokens < 2
            or _is_int8_on_cpu(self.embeddings)
        ):
            return BertEmbeddings.forward(self.embeddings, input_ids, *args, **named)
        return _compiled(BertEmbeddings.forward, self.options)(self.embeddings, input_ids)


_FORWARDS: dict[type[nn.Module], Any] = {BertLayer: _Block, BertEmbeddings: _Embeddings}


def after_attention(block: BertLayer, context: Tensor, hidden_states: Tensor) -> Tensor:
    """Return a block's output ``[T, D]`` from its attention's context ``[T, D]`` and the block's input."""
    attended = block.attention.output(context, hidden_states)
    return block.output(block.intermediate(attended), attended)


@cache
def _compiled(function: Any, options: _Options) -> Any:
    """Return ``function`` compiled for any number of tokens; all models share it and its compiled code."""
    return torch.compile(function, dynamic=True, mode=options.mode, backend=options.backend)


def _is_int8_on_cpu(part: Any) -> bool:
    """Whether a block or the embeddings are int8 on a CPU, for which a captured graph has no integer products."""
    layers: tuple[Any, ...]
    if isinstance(part, BertLayer):
        layers = (part.attention.output.dense, part.intermediate.dense, part.output.dense)
    else:
        layers = (part.word_embeddings,)
    return any(type(layer) in (Int8Linear, Int8Embedding) and layer.weight.is_cpu for layer in layers)


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++", "cl"))
