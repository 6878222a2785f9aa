"""A model's weights: tied parameters, state dicts, and loading a checkpoint into a meta model."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertie.checkpoints import Checkpoint, Fit, fit, untied
from bertie.checkpoints.names import canonical
from bertie.checkpoints.tensors import all_finite
from bertie.errors import CheckpointError, ShapeError
from bertie.memory import drop_pages
from bertie.models.initialization import Protected, initialize, mark_initialized
from bertie.models.quantized import int8_names

# the modules that `_init_weights` alone initialises
_INITIALIZED_HERE = (nn.Linear, nn.Embedding, nn.LayerNorm)


class Pair(NamedTuple):
    """A tied alias and its source, by name and as parameters."""

    alias: str
    source: str
    alias_parameter: nn.Parameter
    source_parameter: nn.Parameter


def tied_pairs(model: Any) -> Iterator[Pair]:
    """Yield the pairs to tie of which the model has both parameters (an adapter may wrap one)."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for alias, source in model.tied_weights().items():
        if alias in parameters and source in parameters:
            yield Pair(alias, source, parameters[alias], parameters[source])


def tied_aliases(model: Any) -> dict[str, str]:
    """Return alias → source of the pairs that share one parameter, and will again when the model is loaded."""
    return {pair.alias: pair.source for pair in tied_pairs(model) if pair.alias_parameter is pair.source_parameter}


def leave_out_tied(module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Leave tied aliases out of a state dict, as shared memory cannot be saved twice (decision 21)."""
    for alias, source in tied_aliases(module).items():
        if prefix + source in state:
            state.pop(prefix + alias, None)


def fill_in_tied(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Restore the aliases before a state dict is loaded, so that strict loading finds nothing missing."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for alias, source in module.tied_weights().items():
        for given, absent in ((source, alias), (alias, source)):
            if prefix + given in state and absent in parameters:
                state.setdefault(prefix + absent, state[prefix + given])


def finish_loading(module: Any, incompatible: Any) -> None:
    # missing_keys are names in the outermost model, which may contain this one
    missing: list[str] = incompatible.missing_keys
    mark_initialized(module, {name for name in module.state_dict() if any(key.endswith(name) for key in missing)})
    # load_state_dict(assign=True) replaces every parameter, tied or not; what was untied by hand stays untied
    for pair in tied_pairs(module):
        if pair.alias_parameter.data_ptr() == pair.source_parameter.data_ptr():
            module._tie(pair.alias, pair.source_parameter)


def meta_model(build: Callable[[], Any]) -> Any:
    """Return a model with its parameters on the meta device; built normally if it has buffers there too."""
    with torch.device("meta"), Protected():
        model = build()
    return build() if any(buffer.is_meta for buffer in model.buffers()) else model


@torch.no_grad()
def materialize(
    model: Any,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    ignore_mismatched_sizes: bool,
    allow_nan: bool,
    build: Callable[[], Any],  # builds the model: only their own __init__ initialises user-defined parts
) -> Fit:
    """Load every parameter from the checkpoint, or initialise those it lacks; return what did not fit."""
    model.tie_weights()
    _untie_what_differs(model, checkpoint)
    names = _names_of_parameters(model)
    shapes = {name: tuple(parameter.shape) for name, (parameter, _) in names.items()}
    aliases = {name: others for name, (_, others) in names.items()}
    found = fit(
        shapes, checkpoint, aliases, ignore_mismatched_sizes, int8_names(model), model.config.tie_word_embeddings
    )
    if any(parameter.is_meta for parameter, _ in names.values()):  # the others were loaded by a part of the model
        found.missing = [name for name in found.missing if names[name][0].is_meta]
    for name, stored in found.stored.items():
        integers = names[name][0].dtype == torch.int8
        tensor = _read(checkpoint, stored, device, torch.int8 if integers else dtype, allow_nan or integers)
        _assign(model, (name, *aliases[name]), nn.Parameter(tensor, names[name][0].requires_grad))
    new = {name: (name, *aliases[name]) for name in (*found.missing, *(name for name, _, _ in found.mismatched))}
    _initialize_new(model, new, device, dtype, build)
    _fill_buffers(model, checkpoint, found, device, dtype)
    return found


def _untie_what_differs(model: Any, checkpoint: Checkpoint) -> None:
    """Untie parameters that the file stores with different values: the saved model did not tie them."""
    ties, parameters = tied_aliases(model), dict(model.named_parameters(remove_duplicate=False))
    for alias in untied(ties, checkpoint):
        source = parameters[ties[alias]]
        _assign(model, (alias,), nn.Parameter(torch.empty_like(source), source.requires_grad))


def _names_of_parameters(model: nn.Module) -> dict[str, tuple[nn.Parameter, list[str]]]:
    """Return each parameter once, under the name that is not a tied alias, with its other names."""
    groups: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), (parameter, []))[1].append(name)
    tied: Mapping[str, str] = model._tied_weights_keys  # type: ignore[assignment]
    named = {}
    for parameter, group in groups.values():
        group.sort(key=lambda name: name in tied)
        named[group[0]] = (parameter, group[1:])
    return named


def _read(checkpoint: Checkpoint, name: str, device: torch.device, dtype: torch.dtype, allow_nan: bool) -> Tensor:
    tensor = checkpoint.tensor(name).to(device=device, dtype=dtype)
    if not allow_nan and not all_finite(tensor):
        raise CheckpointError(
            f"{str(checkpoint.infos[name].file)!r}: the tensor {name!r} has NaN or infinite weights in {dtype}; "
            "fetch or train the model again, or pass allow_nan=True to inspect it"
        )
    if tensor.is_cpu:
        # the check touched every page, but of a large vocabulary a program may need few
        drop_pages(tensor.data_ptr(), tensor.nbytes)
    return tensor


def _assign(model: nn.Module, names: tuple[str, ...], parameter: nn.Parameter) -> None:
    for name in names:
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner)._parameters[leaf] = parameter


def _initialize_new(
    model: Any,
    names: dict[str, tuple[str, ...]],
    device: torch.device,
    dtype: torch.dtype,
    build: Callable[[], Any],
) -> None:
    """Initialise only the named parameters; those not on the meta device keep their values."""
    without = {name for name in names if model.get_parameter(name).is_meta}
    if without and not all(
        isinstance(model.get_submodule(name.rpartition(".")[0]), _INITIALIZED_HERE) for name in without
    ):
        initialized = dict(build().named_parameters(remove_duplicate=False))
    else:
        # in float32 on the CPU, so that a seed gives the same result on every device
        for name in without:
            shape, is_trained = model.get_parameter(name).shape, model.get_parameter(name).requires_grad
            _assign(model, names[name], nn.Parameter(torch.zeros(shape, dtype=torch.float32, device="cpu"), is_trained))
        mark_initialized(model, {each for name in without for each in names[name]})
        initialize(model)
        initialized = dict(model.named_parameters(remove_duplicate=False))
    for name, all_names in names.items():
        value = initialized[name].detach().to(device=device, dtype=dtype)
        _assign(model, all_names, nn.Parameter(value, initialized[name].requires_grad))
    mark_initialized(model)


def _fill_buffers(
    model: nn.Module, checkpoint: Checkpoint, found: Fit, device: torch.device, dtype: torch.dtype
) -> None:
    """Load buffers and move them to the device; BERT saves none, but a user-defined head may."""
    stored = {canonical(name): name for name in found.unexpected}
    saved = set(model.state_dict())
    for name, buffer in model.named_buffers():
        owner, _, leaf = name.rpartition(".")
        value = buffer
        if name in saved and (source := stored.get(canonical(name))):
            value = checkpoint.tensor(source).clone()
            found.unexpected.remove(source)
            if value.shape != buffer.shape:
                raise ShapeError(
                    f"{str(checkpoint.path)!r}: the buffer {name!r} is {list(value.shape)} in the file and "
                    f"{list(buffer.shape)} in the model; correct the config"
                )
        kind = dtype if value.is_floating_point() else value.dtype
        model.get_submodule(owner)._buffers[leaf] = value.to(device=device, dtype=kind)
