"""bertie.prune: a model without the layers, heads and feed-forward neurons that matter least to what it makes of texts.

Letters: T tokens, L layers, H heads, K head width, F neurons of a feed-forward network.
"""

import copy
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertie.checkpoints.new_folder import check_new
from bertie.compression.check import Comparison, compare, split_texts
from bertie.compression.folder import open_model
from bertie.compression.layer_choice import with_layers
from bertie.compression.observe import batches_on, cosines, inputs_noted, vectors
from bertie.compression.quantizing import encode
from bertie.errors import InputError, InputTypeError, spelled
from bertie.layers.linear import Linear
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tasks.features import Features
from bertie.tasks.text_encoder import check_count

# ridge regression: how much of the inputs' mean square is added to each, so that few texts are not fitted too closely
RIDGE = 0.1


def prune(
    model: str | os.PathLike[str],
    texts: Iterable[str | tuple[str, str]],
    out: str | os.PathLike[str],
    *,
    layers: int | None = None,
    heads: int | None = None,
    intermediate_size: int | None = None,
    check: Iterable[str | tuple[str, str]] | None = None,
    min_cosine: float = 0.9,
    min_agreement: float = 0.9,
    force: bool = False,
) -> Comparison:
    """Leave layers, heads and feed-forward neurons out of a model, compare the two, and write it into a new folder.

    Layers go first, one after the other that whose absence moves the vectors of the texts least; then attention heads,
    and of each layer's feed-forward neurons, those with the smallest squared product of gradient and activation
    (Michel et al. 2019, section 4.1). What they gave is predicted from those that stay (He et al. 2017, section 3.1).

    Every program opens the folder. All layers keep equally many neurons; of heads each keeps what matters, one at
    least. Those that go are zeros in the file, which training leaves as they are, and which the engine does not compute
    (of encoders with absolute positions, as BERT's are).

    Args:
        model: a folder, or a name in the hub.
        texts: a few hundred texts, or pairs, of the kind the model reads.
        out: the new folder: the model with everything that lies beside the weights.
        layers: how many to keep; None: all.
        heads: how many to keep of all layers that stay together; None: all.
        intermediate_size: how many neurons of each layer to keep; None: all.
        check: texts on which both are compared; None: every fifth of ``texts``, by which then nothing is chosen.
        min_cosine: the least mean cosine of the texts' vectors, before and after.
        min_agreement: the least share of equal predictions.
        force: write the model even if it is further off than that, or slower.

    Returns:
        how the two compare on this machine.

    Raises:
        InputError: nothing to leave out, or more than there is.
        InputTypeError: heads or neurons of an int8 model are to be left out.
        CheckpointError: the model's files are missing or damaged, or ``out`` is not new.
        BertieError: the model is too far off, or no faster; nothing is written then.
    """
    check_new(out)
    opened = open_model(os.fspath(model))
    whole, config = opened.model.eval(), opened.model.config
    _check_counts(config, {"layers": layers, "heads": heads, "intermediate_size": intermediate_size})
    chosen_by, compared = split_texts(texts, check, 5)
    features = encode(chosen_by, opened.tokenizer, whole)
    small = whole if layers is None else without_layers(whole, layers, features)
    small = small if heads is None else without_heads(small, heads, features)
    small = small if intermediate_size is None else narrowed(small, intermediate_size, features)
    found = compare(whole, small, encode(compared, opened.tokenizer, whole))
    found.refuse(force, min_mean=min_cosine, min_agreement=min_agreement)
    opened.write(out, small)
    return found


def _check_counts(config: Any, counts: dict[str, int | None]) -> None:
    """Refuse counts that leave out nothing, or too much."""
    layers = config.num_hidden_layers
    if counts["layers"] is not None:
        check_count("layers", counts["layers"], layers)
    kept = counts["layers"] or layers
    most = {"layers": layers, "heads": kept * config.num_attention_heads, "intermediate_size": config.intermediate_size}
    for name, value in counts.items():
        if value is not None:
            check_count(name, value, most[name])
    if counts["heads"] is not None and counts["heads"] < kept:
        raise InputError(f"{spelled('heads')} is {counts['heads']}; each of the {kept} layers keeps one at least.")
    if all(value in (None, most[name]) for name, value in counts.items()):
        raise InputError(f"Nothing is to be left out; give {', '.join(map(spelled, counts))}, or some of them.")
    if config.quantization_config is not None and (counts["heads"] or counts["intermediate_size"]):
        raise InputTypeError(
            "An int8 model keeps its heads and neurons; prune the floating-point model, then quantize it again."
        )


def without_layers(model: BertPreTrainedModel, count: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy with so many layers: those go whose absence moves the vectors least, one after the other."""
    kept, expected = list(range(model.config.num_hidden_layers)), vectors(model, texts)

    def nearness(layer: int) -> float:
        others = with_layers(model, [each for each in kept if each != layer])
        return float(cosines(vectors(others, texts), expected).mean())

    while len(kept) > count:
        kept.remove(max(kept, key=nearness))
    return with_layers(model, kept)


def without_heads(model: BertPreTrainedModel, count: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy whose ``count`` most important heads compute anything, one of each layer at least."""
    small: Any = copy.deepcopy(model)
    width = model.config.hidden_size // model.config.num_attention_heads
    found = observed(model, texts, "attention.output.dense", width)
    importance = torch.stack([each.importance for each in found])  # [L, H]
    first = importance.argmax(dim=1, keepdim=True)
    ranked = importance.scatter(1, first, torch.inf).flatten()
    chosen = _largest(ranked, count).view_as(importance)
    for layer, own, inputs in zip(small.base_model.encoder.layer, chosen, found, strict=True):
        kept = own.repeat_interleave(width)
        attention, output = layer.attention.self, layer.attention.output.dense
        with torch.no_grad():
            output.weight[:, kept], output.bias[:] = _without_inputs(output, kept, inputs)
            output.weight[:, ~kept] = 0
            for each in (attention.query, attention.key, attention.value):
                each.weight[~kept], each.bias[~kept] = 0, 0
    return small


def narrowed(model: BertPreTrainedModel, width: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy whose layers have the ``width`` most important neurons of each feed-forward network."""
    small: Any = copy.deepcopy(model)
    found = observed(model, texts, "output.dense")
    for layer, inputs in zip(small.base_model.encoder.layer, found, strict=True):
        kept = _largest(inputs.importance, width)
        first, last = layer.intermediate.dense, layer.output.dense
        layer.intermediate.dense = _linear(first.weight[kept], first.bias[kept])
        layer.output.dense = _linear(*_without_inputs(last, kept, inputs))
    small.config.intermediate_size = width
    return small


class Observed(NamedTuple):
    """What a layer reads."""

    mean: Tensor  # [in]
    spread: Tensor  # the summed products of distances from the mean, [in, in]
    importance: Tensor  # how much each part moves the last hidden states, [parts]


def observed(model: BertPreTrainedModel, texts: Features, name: str, size: int = 1) -> list[Observed]:
    """Return what the layers of this name, one of each block, read, in parts of ``size`` numbers.

    Importance is the squared product of the gradient and the distance from the mean, of the hidden states' sum with
    random signs: on average the squared distance by which the states move where the mean takes the part's place, to the
    first order.
    """
    base: Any = model.base_model
    layers = [block.get_submodule(name) for block in base.encoder.layer]
    read: list[Tensor] = [torch.empty(0)] * len(layers)
    signs = torch.Generator().manual_seed(0)
    sums = [torch.zeros(layer.in_features) for layer in layers]
    found = [torch.zeros(layer.in_features // size) for layer in layers]
    spreads = [torch.zeros(layer.in_features, layer.in_features) for layer in layers]
    with inputs_noted(dict(enumerate(layers)), read.__setitem__):
        for _, packed in batches_on(model, texts):
            with torch.no_grad():
                base(packed, return_dict=True)
            for total, inputs in zip(sums, read, strict=True):
                total += inputs.sum(dim=0)
        means = [total / sum(texts.lengths) for total in sums]
        for _, packed in batches_on(model, texts):
            with torch.enable_grad():
                hidden = base(packed, return_dict=True).last_hidden_state
                random = torch.randint(0, 2, hidden.shape, generator=signs) * 2.0 - 1
                gradients = torch.autograd.grad((hidden * random).sum(), read)
            for total, gradient, inputs, mean, spread in zip(found, gradients, read, means, spreads, strict=True):
                distance = inputs.detach() - mean
                spread.addmm_(distance.T, distance)
                total += (gradient * distance).unflatten(-1, (-1, size)).sum(dim=-1).square().sum(dim=0)
    return list(map(Observed, means, spreads, found))


def _largest(importance: Tensor, count: int) -> Tensor:
    """Return for each number whether it is of the ``count`` largest."""
    return torch.zeros_like(importance, dtype=torch.bool).scatter(0, importance.topk(count).indices, True)


def _without_inputs(layer: nn.Linear, kept: Tensor, inputs: Observed) -> tuple[Tensor, Tensor]:
    """Return a layer's weight for the ``kept`` inputs ``[in]`` alone, and its bias, which give what it gave.

    Those that go are predicted from the others, with the least squared error on what was observed.
    """
    gone, weight = ~kept, layer.weight.detach()
    own = inputs.spread[kept][:, kept]
    # tiny: what never changes has no spread, and predicts nothing
    own.diagonal().add_(RIDGE * own.diagonal().mean() + torch.finfo(own.dtype).tiny)
    predicted = torch.linalg.solve(own, inputs.spread[kept][:, gone])  # [kept, gone]
    bias = layer.bias.detach() + weight[:, gone] @ (inputs.mean[gone] - inputs.mean[kept] @ predicted)
    return weight[:, kept] + weight[:, gone] @ predicted.T, bias


def _linear(weight: Tensor, bias: Tensor) -> Linear:
    made = Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return made
