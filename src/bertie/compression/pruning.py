"""bertie.prune: a model without the layers and the feed-forward neurons that matter least to what it makes of texts."""

import copy
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from bertie.checkpoints.beside_weights import check_new
from bertie.compression.check import Comparison, compare, held_out
from bertie.compression.folder import open_model, write_folder
from bertie.compression.layer_choice import with_layers
from bertie.compression.observe import batches_on, cosines, vectors
from bertie.compression.quantizing import encode
from bertie.errors import InputError, InputTypeError, spelled
from bertie.frames import listed_texts
from bertie.layers.linear import Linear
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tasks.features import Features
from bertie.tasks.text_encoder import check_count


def prune(
    model: str | os.PathLike[str],
    texts: Iterable[str | tuple[str, str]],
    out: str | os.PathLike[str],
    *,
    layers: int | None = None,
    intermediate_size: int | None = None,
    check: Iterable[str | tuple[str, str]] | None = None,
    min_cosine: float = 0.9,
    min_agreement: float = 0.9,
    force: bool = False,
) -> Comparison:
    """Leave layers and feed-forward neurons out of a model, compare the two, and write it into a new folder.

    Layers go first, one after the other that whose absence moves the vectors of the texts least; then of each layer's
    feed-forward neurons those with the smallest squared product of gradient and activation (Michel et al. 2019,
    section 4.1, of neurons in place of heads). All layers keep equally many, so that every program opens the folder.

    Args:
        model: a folder, or a name in the hub.
        texts: a few hundred texts, or pairs, of the kind the model reads.
        out: the new folder: the model with everything that lies beside the weights.
        layers: how many to keep; None: all.
        intermediate_size: how many neurons of each layer to keep; None: all.
        check: texts on which both are compared; None: every fifth of ``texts``, by which then nothing is chosen.
        min_cosine: the least mean cosine of the texts' vectors, before and after.
        min_agreement: the least share of equal predictions.
        force: write the model even if it is further off than that, or slower.

    Returns:
        how the two compare on this machine.

    Raises:
        InputError: nothing to leave out, or more than there is.
        InputTypeError: neurons of an int8 model are to be left out.
        CheckpointError: the model's files are missing or damaged, or ``out`` is not new.
        BertieError: the model is too far off, or no faster; nothing is written then.
    """
    check_new(out)
    opened = open_model(os.fspath(model))
    whole, config = opened.model.eval(), opened.model.config
    for name, value, most in (
        ("layers", layers, config.num_hidden_layers),
        ("intermediate_size", intermediate_size, config.intermediate_size),
    ):
        if value is not None:
            check_count(name, value, most)
    if layers in (None, config.num_hidden_layers) and intermediate_size in (None, config.intermediate_size):
        raise InputError(f"Nothing is to be left out; give {spelled('layers')} or {spelled('intermediate_size')}.")
    if intermediate_size is not None and config.quantization_config is not None:
        raise InputTypeError("An int8 model keeps its neurons; prune the floating-point model, then quantize it again.")
    given = listed_texts(texts)
    chosen_by, compared = held_out(given, 5) if check is None else (given, listed_texts(check))
    features = encode(chosen_by, opened.tokenizer, whole)
    small = whole if layers is None else without_layers(whole, layers, features)
    small = small if intermediate_size is None else narrowed(small, intermediate_size, features)
    found = compare(whole, small, encode(compared, opened.tokenizer, whole))
    found.refuse(force, min_mean=min_cosine, min_agreement=min_agreement)
    write_folder(out, small, opened.folder, opened.subfolder)
    return found


def without_layers(model: BertPreTrainedModel, count: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy with so many layers: those go whose absence moves the vectors least, one after the other."""
    kept, expected = list(range(model.config.num_hidden_layers)), vectors(model, texts)

    def nearness(layer: int) -> float:
        others = with_layers(model, [each for each in kept if each != layer])
        return float(cosines(vectors(others, texts), expected).mean())

    while len(kept) > count:
        kept.remove(max(kept, key=nearness))
    return with_layers(model, kept)


def narrowed(model: BertPreTrainedModel, width: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy whose layers have the ``width`` most important neurons of each feed-forward network."""
    small: Any = copy.deepcopy(model)
    for layer, importance in zip(small.base_model.encoder.layer, importances(model, texts), strict=True):
        kept = importance.topk(width).indices.sort().values
        layer.intermediate.dense = _part(layer.intermediate.dense, kept, 0)
        layer.output.dense = _part(layer.output.dense, kept, 1)
    small.config.intermediate_size = width
    return small


def importances(model: BertPreTrainedModel, texts: Features) -> list[Tensor]:
    """Return for each layer how much each of its neurons moves the last hidden states, ``[F]``.

    It is the squared product of activation and gradient, of the hidden states' sum with random signs: on average the
    squared distance by which the states move where the neuron is silent, to the first order.
    """
    base: Any = model.base_model
    found = [torch.zeros(base.config.intermediate_size) for _ in base.encoder.layer]
    read: dict[int, Tensor] = {}

    def watch(number: int) -> Any:
        def note(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            inputs[0].retain_grad()
            read[number] = inputs[0]

        return note

    layers = enumerate(base.encoder.layer)
    hooks = [layer.output.dense.register_forward_pre_hook(watch(number)) for number, layer in layers]
    signs = torch.Generator().manual_seed(0)
    try:
        with torch.enable_grad():
            for _, packed in batches_on(model, texts):
                hidden = base(packed, return_dict=True).last_hidden_state
                random = torch.randint(0, 2, hidden.shape, generator=signs) * 2.0 - 1
                (hidden * random).sum().backward()
                for number, activation in read.items():
                    found[number] += (activation.grad * activation.detach()).square().flatten(0, -2).sum(dim=0)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
    return found


def _part(layer: nn.Linear, kept: Tensor, dim: int) -> Linear:
    """Return a linear layer with these of its outputs (``dim`` 0) or inputs (1)."""
    weight = layer.weight.detach().index_select(dim, kept)
    made = Linear(weight.shape[1], weight.shape[0])
    bias = layer.bias.detach()
    made.load_state_dict({"weight": weight, "bias": bias[kept] if dim == 0 else bias})
    return made
