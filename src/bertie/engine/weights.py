"""A model's arrays by their names in checkpoints, read once while the engine packs them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints import Checkpoint, fit
from bertie.checkpoints.fitting import correct_classes, refuse_untrained, report, with_untied
from bertie.checkpoints.names import canonical
from bertie.checkpoints.parameters import PAIR, Parameters, parameters_of
from bertie.checkpoints.quantization import SCALES, input_bits, integers_in
from bertie.checkpoints.tensors import all_finite
from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.linear import ALL, Int8Weight, Kept, Linear, kept_part, side_by_side
from bertie.engine.normalization import Norm
from bertie.errors import CheckpointError, InputTypeError
from bertie.memory import LargePages, drop_pages
from bertie.threads import available_threads

Part = TypeVar("Part")
WORDS = "bert.embeddings.word_embeddings"
DECODER = "cls.predictions.decoder"
# where a tied parameter is stored, and the scale of a quantized one
TIED = {
    f"{DECODER}.weight": f"{WORDS}.weight",
    f"{DECODER}.weight_scale": f"{WORDS}.weight_scale",
    f"{DECODER}.bias": "cls.predictions.bias",
}


@dataclass(frozen=True, eq=False)
class Weights:
    """A model's parameters, in the forms that the engine computes with."""

    # returns the array of a name: float32, or int8 for a quantized layer; None if there is none
    read: Callable[[str], NDArray[Any] | None]
    stored: Collection[str]  # the names of all parameters
    # the names in a checkpoint that remains readable, as in the architecture's own files
    names: tuple[str, ...] = ()
    input_bits: Mapping[str, int] = field(default_factory=dict)  # of int8 layers by name, if not 8
    pages: LargePages = field(default_factory=LargePages)  # memory for packed layers

    def array(self, name: str) -> Array:
        found = self.read(name)
        assert found is not None, name
        return np.ascontiguousarray(found, np.float32)

    def table(self, name: str) -> Array | Int8Weight:
        """Return the weight ``[rows, D]`` of a layer or an embedding table, with its scales if it is quantized."""
        weight = self.read(f"{name}.weight")
        assert weight is not None, name
        if weight.dtype != np.int8:
            return np.ascontiguousarray(weight, np.float32)
        smooth = self.read(f"{name}.input_scale")
        return Int8Weight(
            weight,
            self.array(f"{name}.weight_scale"),
            None if smooth is None else np.ascontiguousarray(smooth, np.float32),
            self.input_bits.get(name, 8),
        )

    def linear(self, *names: str, outputs: Kept = ALL, inputs: Kept = ALL) -> Linear:
        """Return these layers, which have the same input, as one, with only the selected outputs and inputs of each."""
        weights = [kept_part(self.table(name), outputs, inputs) for name in names]
        biases = [self.array(f"{name}.bias")[outputs] for name in names]
        return side_by_side(weights, biases, self.pages.allocate, available_threads())

    def kept_heads(self, attention: str, count: int) -> NDArray[np.bool_]:
        """Return which of an attention's heads were not pruned, ``[H]``, at least one.

        Pruning sets a head's weights to zero, so that every program can read the file; the engine does not compute it.
        """
        kept: NDArray[np.bool_] = np.any(self.array(f"{attention}.self.query.bias").reshape(count, -1), axis=1)
        if not kept.all():  # never so in a trained model without pruning
            for name, axis in ((f"{attention}.self.query", 0), (f"{attention}.output.dense", 1)):
                weight: Any = self.read(f"{name}.weight")
                kept |= np.array([part.any() for part in np.split(weight, count, axis)])
            kept[0] |= not kept.any()
        return kept

    def part(self, name: str) -> "Weights":
        """Return an encoder-decoder's "encoder" or "decoder", by the names in a model of its own."""
        stored_prefix, own_prefix = ("bert.encoder.", "bert.") if name == "encoder" else ("decoder.", "")

        def own(names: Collection[str]) -> dict[str, str]:
            prefixed = (each for each in names if each.startswith(stored_prefix))
            return {f"{own_prefix}{each.removeprefix(stored_prefix)}": each for each in prefixed}

        bits = {each: self.input_bits[stored] for each, stored in own(self.input_bits).items()}
        return replace(
            self,
            read=lambda each: self.read(stored_prefix + each.removeprefix(own_prefix)),
            stored=own(self.stored),
            names=(),
            input_bits=bits,
        )

    def lazily(self, make: Callable[["Weights"], Part]) -> Callable[[], Part]:
        """Return a function that makes a part when first called; it is made now if there is no file to read later."""
        made = cache(partial(make, self))
        if self.names:
            return made
        part = made()
        return lambda: part

    def norm(self, name: str, eps: float) -> Norm:
        return Norm(self.array(f"{name}.weight"), self.array(f"{name}.bias"), eps)


def _tied(name: str) -> str:
    """Return the name under which a tied parameter is stored, also in an encoder-decoder's decoder."""
    place = "decoder." if name.startswith("decoder.") else ""
    return place + TIED.get(name.removeprefix(place), name.removeprefix(place))


def checkpoint_weights(
    checkpoint: Checkpoint, config: BertConfig, architecture: str, allow_nan: bool = False
) -> Weights:
    """Return a checkpoint's weights, after checking that it has all of the architecture's parameters.

    If the head's number of classes differs from that of a config without class names, the config is corrected.
    """
    checkpoint = checkpoint.unwrapped().in_bert_names(config.family, architecture)
    source = f"{architecture} from {str(checkpoint.path.parent)!r}"
    if architecture != PAIR:
        correct_classes(config, parameters_of(architecture, config).shapes, checkpoint, source)
    shapes, aliases = _required(checkpoint, config, architecture)
    integers = () if config.quantization_config is None else integers_in(checkpoint, shapes, aliases)
    found = fit(shapes, checkpoint, aliases, integers=integers, is_tied=config.tie_word_embeddings)
    refuse_untrained(str(checkpoint.path), found.missing, architecture, config)
    report(source, found)
    places = {canonical(name) or name: stored for name, stored in found.stored.items()}

    def read(name: str) -> NDArray[Any] | None:
        at = places.get(name) or places.get(_tied(name))
        return None if at is None else _checked(checkpoint, at, allow_nan)

    return Weights(read, places, tuple(found.stored), input_bits(config.quantization_config))


def _required(checkpoint: Checkpoint, config: BertConfig, architecture: str) -> Parameters:
    """Return an architecture's parameters, with a decoder that the file unties, without a pooler that it lacks."""
    shapes, aliases = with_untied(parameters_of(architecture, config), checkpoint)
    if architecture in ("BertModel", PAIR):
        stored = {canonical(name) for name in checkpoint.infos}
        pooler = [name for name in shapes if "pooler" in name]
        if any(canonical(name) not in stored for name in pooler):
            shapes = {name: shape for name, shape in shapes.items() if name not in pooler}
    return Parameters(shapes, aliases)


def model_weights(model: Any, config: BertConfig, architecture: str) -> Weights:
    """Return copies of the weights of a PyTorch model."""
    arrays = {canonical(name) or name: _copied(tensor) for name, tensor in model.state_dict().items()}
    bits = {canonical(name) or name: getattr(module, "input_bits", 8) for name, module in model.named_modules()}
    return array_weights(arrays, config, architecture, bits)


def array_weights(
    arrays: dict[str, NDArray[Any]], config: BertConfig, architecture: str, bits: Mapping[str, int] | None = None
) -> Weights:
    """Return arrays by canonical names as weights; tables, and whatever else is not packed, are not copied."""
    wanted = {canonical(name) or name: shape for name, shape in parameters_of(architecture, config).shapes.items()}
    if mismatch := _mismatch(arrays, wanted):
        raise InputTypeError(
            f"The engine computes only the standard {architecture}, which this model's {mismatch!r} does not fit; "
            "merge adapters into the weights first."
        )
    tied = [f"{place}{name}" for place in ("", "decoder.") for name in TIED]
    arrays |= {name: arrays[_tied(name)] for name in tied if name not in arrays and _tied(name) in arrays}
    return Weights(arrays.get, arrays, input_bits=bits or {})


def _mismatch(arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the name of a parameter that is missing (unless it is a pooler's), has another shape, or is unknown."""
    for name, shape in wanted.items():
        if "pooler" not in name and (name not in arrays or arrays[name].shape != shape):
            return name
    others = (name for name in arrays if name not in wanted and _tied(name) == name)
    return next((name for name in others if not name.endswith(SCALES)), None)


def _copied(tensor: Any) -> NDArray[Any]:
    """Return a copy of a tensor: int8 unchanged, else float32."""
    plain = tensor.detach().cpu()
    return np.array((plain if str(plain.dtype) == "torch.int8" else plain.float()).numpy())


def _checked(checkpoint: Checkpoint, name: str, allow_nan: bool) -> NDArray[Any]:
    info = checkpoint.infos[name]
    if info.dtype == "int8":
        return checkpoint.array(name)
    array = checkpoint.float32(name)
    if not allow_nan and not all_finite(array):
        raise CheckpointError(
            f"{str(info.file)!r}: the tensor {name!r} has NaN or infinite weights; fetch or train the model again, or "
            "pass allow_nan=True to inspect it"
        )
    # the check read every page, but a program may need few rows of a vocabulary
    drop_pages(array.ctypes.data, array.nbytes)
    return array
