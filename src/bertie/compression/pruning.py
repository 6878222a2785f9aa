"""bertie.prune: a model without the layers, heads and feed-forward neurons that matter least to its outputs on texts.

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
from bertie.compression.observe import batches_on, cosines, inputs_recorded, vectors
from bertie.compression.quantizing import encode
from bertie.errors import InputError, InputTypeError, spelled
from bertie.layers.linear import Linear
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tasks.features import Features
from bertie.tasks.text_encoder import check_count

# the ridge penalty, as a share of the inputs' mean variance, which prevents overfitting to few texts
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
    """Remove layers, heads and feed-forward neurons of a model, compare the two, and write it to a new folder.

    Layers are removed first, one at a time, always the one whose removal changes the texts' vectors least. Then
    attention heads, and the neurons of each layer, are removed by the smallest squared product of gradient and
    activation (Michel et al. 2019, section 4.1). The remaining weights are refitted to predict the outputs of the
    removed parts (He et al. 2017, section 3.1).

    Any program can open the folder. All layers keep equally many neurons; the number of heads differs by layer, with at
    least one in each. Removed heads are zeros in the file, which training leaves at zero, and which the engine does not
    compute (for encoders with absolute positions, such as BERT).

    Args:
        model: a folder or hub name.
        texts: a few hundred texts, or pairs, of the kind the model reads.
        out: the new folder for the model and the other files of the original.
        layers: how many to keep; None: all.
        heads: how many to keep, counted over all remaining layers; None: all.
        intermediate_size: how many neurons of each layer to keep; None: all.
        check: texts on which both are compared; None: every fifth of ``texts``, held out of the selection.
        min_cosine: the lowest mean cosine allowed between the texts' vectors before and after.
        min_agreement: the lowest share of equal predictions allowed.
        force: write the model even if it does not reach these, or is slower.

    Returns:
        The comparison of the two on this machine.

    Raises:
        InputError: nothing is to be removed, or more than there is.
        InputTypeError: heads or neurons of an int8 model are to be removed.
        CheckpointError: the model's files are missing or damaged, or ``out`` is not new.
        BertieError: the model is not similar enough, or not faster; nothing is written then.
    """
    check_new(out)
    opened = open_model(os.fspath(model))
    whole, config = opened.model.eval(), opened.model.config
    _check_counts(config, {"layers": layers, "heads": heads, "intermediate_size": intermediate_size})
    observed, compared = split_texts(texts, check, 5)
    features = encode(observed, opened.tokenizer, whole)
    small = whole if layers is None else without_layers(whole, layers, features)
    small = small if heads is None else without_heads(small, heads, features)
    small = small if intermediate_size is None else without_neurons(small, intermediate_size, features)
    found = compare(whole, small, encode(compared, opened.tokenizer, whole))
    found.refuse(force, min_mean=min_cosine, min_agreement=min_agreement)
    opened.write(out, small)
    return found


def _check_counts(config: Any, counts: dict[str, int | None]) -> None:
    """Refuse counts that remove nothing, or too much."""
    layers = config.num_hidden_layers
    if counts["layers"] is not None:
        check_count("layers", counts["layers"], layers)
    kept = counts["layers"] or layers
    all_of = {
        "layers": layers,
        "heads": kept * config.num_attention_heads,
        "intermediate_size": config.intermediate_size,
    }
    for name, value in counts.items():
        if value is not None:
            check_count(name, value, all_of[name])
    if counts["heads"] is not None and counts["heads"] < kept:
        raise InputError(f"{spelled('heads')} is {counts['heads']}; each of the {kept} layers keeps at least one.")
    if all(value in (None, all_of[name]) for name, value in counts.items()):
        raise InputError(f"Nothing would be removed; give {', '.join(map(spelled, counts))}, or some of them.")
    if config.quantization_config is not None and (counts["heads"] or counts["intermediate_size"]):
        raise InputTypeError(
            "An int8 model keeps its heads and neurons; prune the floating-point model, then quantize it again."
        )


def without_layers(model: BertPreTrainedModel, count: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy with ``count`` layers, removing one at a time the one that changes the vectors least."""
    kept, expected = list(range(model.config.num_hidden_layers)), vectors(model, texts)

    def similarity_without(layer: int) -> float:
        others = with_layers(model, [each for each in kept if each != layer])
        return float(cosines(vectors(others, texts), expected).mean())

    while len(kept) > count:
        kept.remove(max(kept, key=similarity_without))
    return with_layers(model, kept)


def without_heads(model: BertPreTrainedModel, count: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy with all but the ``count`` most important heads zeroed; each layer keeps at least one."""
    small: Any = copy.deepcopy(model)
    width = model.config.hidden_size // model.config.num_attention_heads
    found = input_statistics(model, texts, "attention.output.dense", width)
    importance = torch.stack([each.importance for each in found])  # [L, H]
    first = importance.argmax(dim=1, keepdim=True)
    ranked = importance.scatter(1, first, torch.inf).flatten()  # the best head of each layer is always kept
    chosen = _largest(ranked, count).view_as(importance)
    for layer, own, inputs in zip(small.base_model.encoder.layer, chosen, found, strict=True):
        kept = own.repeat_interleave(width)
        attention, output = layer.attention.self, layer.attention.output.dense
        with torch.no_grad():
            output.weight[:, kept], output.bias[:] = _refit(output, kept, inputs)
            output.weight[:, ~kept] = 0
            for each in (attention.query, attention.key, attention.value):
                each.weight[~kept], each.bias[~kept] = 0, 0
    return small


def without_neurons(model: BertPreTrainedModel, width: int, texts: Features) -> BertPreTrainedModel:
    """Return a copy with only the ``width`` most important neurons of each feed-forward network."""
    small: Any = copy.deepcopy(model)
    found = input_statistics(model, texts, "output.dense")
    for layer, inputs in zip(small.base_model.encoder.layer, found, strict=True):
        kept = _largest(inputs.importance, width)
        first, last = layer.intermediate.dense, layer.output.dense
        layer.intermediate.dense = _linear(first.weight[kept], first.bias[kept])
        layer.output.dense = _linear(*_refit(last, kept, inputs))
    small.config.intermediate_size = width
    return small


class InputStatistics(NamedTuple):
    """Statistics of a layer's inputs."""

    mean: Tensor  # [in]
    scatter: Tensor  # the scatter matrix (unnormalised covariance), [in, in]
    importance: Tensor  # the effect of each part on the last hidden states, [parts]


def input_statistics(model: BertPreTrainedModel, texts: Features, name: str, size: int = 1) -> list[InputStatistics]:
    """Return the input statistics of the layers of this name, one of each block, in parts of ``size`` numbers.

    Importance is the squared product of gradient and deviation from the mean, where the gradient is that of the sum of
    hidden states with random signs. To first order, its expectation is the squared distance by which the hidden states
    change if the part is replaced by its mean.
    """
    base: Any = model.base_model
    layers = [block.get_submodule(name) for block in base.encoder.layer]
    recorded: list[Tensor] = [torch.empty(0)] * len(layers)
    generator = torch.Generator().manual_seed(0)
    sums = [torch.zeros(layer.in_features) for layer in layers]
    importance = [torch.zeros(layer.in_features // size) for layer in layers]
    scatters = [torch.zeros(layer.in_features, layer.in_features) for layer in layers]
    with inputs_recorded(dict(enumerate(layers)), recorded.__setitem__):
        for _, packed in batches_on(model, texts):
            with torch.no_grad():
                base(packed, return_dict=True)
            for total, inputs in zip(sums, recorded, strict=True):
                total += inputs.sum(dim=0)
        means = [total / sum(texts.lengths) for total in sums]
        for _, packed in batches_on(model, texts):
            with torch.enable_grad():
                hidden = base(packed, return_dict=True).last_hidden_state
                signs = torch.randint(0, 2, hidden.shape, generator=generator) * 2.0 - 1
                gradients = torch.autograd.grad((hidden * signs).sum(), recorded)
            statistics = zip(importance, gradients, recorded, means, scatters, strict=True)
            for total, gradient, inputs, mean, scatter in statistics:
                deviation = inputs.detach() - mean
                scatter.addmm_(deviation.T, deviation)
                total += (gradient * deviation).unflatten(-1, (-1, size)).sum(dim=-1).square().sum(dim=0)
    return list(map(InputStatistics, means, scatters, importance))


def _largest(importance: Tensor, count: int) -> Tensor:
    """Return a mask of the ``count`` largest numbers."""
    return torch.zeros_like(importance, dtype=torch.bool).scatter(0, importance.topk(count).indices, True)


def _refit(layer: nn.Linear, kept: Tensor, inputs: InputStatistics) -> tuple[Tensor, Tensor]:
    """Return a layer's weight for the ``kept`` inputs (a mask ``[in]``) and its bias, refitted to its old outputs.

    The removed inputs are predicted from the kept ones by ridge regression on the observed inputs.
    """
    removed, weight = ~kept, layer.weight.detach()
    own = inputs.scatter[kept][:, kept]
    # plus a tiny number, in case no input varies
    own.diagonal().add_(RIDGE * own.diagonal().mean() + torch.finfo(own.dtype).tiny)
    coefficients = torch.linalg.solve(own, inputs.scatter[kept][:, removed])  # [kept, removed]
    bias = layer.bias.detach() + weight[:, removed] @ (inputs.mean[removed] - inputs.mean[kept] @ coefficients)
    return weight[:, kept] + weight[:, removed] @ coefficients.T, bias


def _linear(weight: Tensor, bias: Tensor) -> Linear:
    linear = Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return linear
