"""A model without memory is given its weights: each stored tensor once, new numbers only where nothing is stored."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bertie.checkpoints import Checkpoint, Fit, fit
from bertie.checkpoints.names import canonical
from bertie.checkpoints.pages import drop_pages
from bertie.checkpoints.tensors import all_finite
from bertie.config import BertConfig
from bertie.errors import CheckpointError
from bertie.models.quantized import int8_names
from bertie.models.tying import tied_aliases
from bertie.report import say_once

_DRAWING = (
    "normal_",
    "uniform_",
    "trunc_normal_",
    "kaiming_uniform_",
    "xavier_uniform_",
    "zero_",
    "zeros_",
    "fill_",
    "ones_",
)


# the modules whose first numbers are `_init_weights`' alone
_DRAWN_HERE = (nn.Linear, nn.Embedding, nn.LayerNorm)


class _Undrawn(TorchFunctionMode):
    """Skip drawing weights that have no memory: PyTorch would import its whole compiler for it, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_model(cls: type[Any], config: BertConfig, model_args: Mapping[str, Any]) -> Any:
    """Return a model whose parameters have no memory; one whose buffers have none either is built in full."""
    with torch.device("meta"), _Undrawn():
        model = cls(config, **model_args)
    return cls(config, **model_args) if any(buffer.is_meta for buffer in model.buffers()) else model


@torch.no_grad()
def fill_model(
    model: Any,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    ignore_mismatched_sizes: bool,
    allow_nan: bool,
    build: Callable[[], Any],
) -> Fit:
    """Give every parameter of a model its stored tensor, or a new one where the file has none; say what did not fit.

    ``build`` makes such a model in full, for parts of someone's own, whose first numbers only their ``__init__`` knows.

    Raises:
        CheckpointError: the file does not fit the model (see `bertie.checkpoints.fit`) or holds NaN or infinity.
    """
    model.tie_weights()
    _untie_what_differs(model, checkpoint)
    names = _names_of_parameters(model)
    shapes = {name: tuple(parameter.shape) for name, (parameter, _) in names.items()}
    aliases = {name: others for name, (_, others) in names.items()}
    found = fit(shapes, checkpoint, aliases, ignore_mismatched_sizes, int8_names(model))
    for name, stored in found.stored.items():
        integers = names[name][0].dtype == torch.int8
        tensor = _read(checkpoint, stored, device, torch.int8 if integers else dtype, allow_nan or integers)
        _place(model, (name, *aliases[name]), nn.Parameter(tensor, names[name][0].requires_grad))
    new = {name: (name, *aliases[name]) for name in (*found.missing, *(name for name, _, _ in found.mismatched))}
    if all(isinstance(model.get_submodule(name.rpartition(".")[0]), _DRAWN_HERE) for name in new):
        _start_anew(model, new, device, dtype)
    else:
        _take_from(build(), model, new, device, dtype)
    _fill_buffers(model, checkpoint, found, device, dtype)
    return found


def _untie_what_differs(model: Any, checkpoint: Checkpoint) -> None:
    """Part tied parameters that the file holds both of, with other numbers: their model had no tie."""
    stored = {canonical(name): name for name in checkpoint.infos}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for alias, source in tied_aliases(model).items():
        one, two = (stored.get(canonical(name)) for name in (alias, source))
        if one is None or two is None or checkpoint.infos[one][:2] != checkpoint.infos[two][:2]:  # shape and type
            continue
        if not torch.equal(checkpoint.tensor(one), checkpoint.tensor(two)):
            say_once(f"{str(checkpoint.path)!r} holds other numbers in {one!r} than in {two!r}: they are not tied")
            part = torch.empty_like(parameters[source])
            _place(model, (alias,), nn.Parameter(part, parameters[source].requires_grad))


def _names_of_parameters(model: nn.Module) -> dict[str, tuple[nn.Parameter, list[str]]]:
    """Return each parameter once, with its other names; its own is the one that is no tied alias."""
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
            "fetch or train the model again, or pass allow_nan=True to look into it"
        )
    drop_pages(tensor)  # looked at from end to end, while of a vocabulary's rows a program may need few
    return tensor


def _place(model: nn.Module, names: tuple[str, ...], parameter: nn.Parameter) -> None:
    for name in names:
        owner, _, leaf = name.rpartition(".")
        model.get_submodule(owner)._parameters[leaf] = parameter


def _start_anew(model: Any, names: dict[str, tuple[str, ...]], device: torch.device, dtype: torch.dtype) -> None:
    """Give the named parameters memory and draw them as the model's initialiser does, and only them."""
    owners: dict[str, list[str]] = {}
    for name in names:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    for owner, missing in owners.items():
        module = model.get_submodule(owner)
        loaded = dict(module._parameters)
        for leaf, parameter in loaded.items():
            if parameter is not None:
                # drawn in float32 on the CPU, so that a seed gives one result on every device
                empty = torch.zeros(parameter.shape, dtype=torch.float32, device="cpu")
                module._parameters[leaf] = nn.Parameter(empty, parameter.requires_grad)
        model._init_weights(module)
        drawn = dict(module._parameters)
        module._parameters.update(loaded)
        for name in missing:
            new = drawn[name.rpartition(".")[2]]
            _place(model, names[name], nn.Parameter(new.to(device=device, dtype=dtype), new.requires_grad))


def _take_from(
    built: Any, model: nn.Module, names: dict[str, tuple[str, ...]], device: torch.device, dtype: torch.dtype
) -> None:
    """Give the named parameters the numbers that they have in a model built in full."""
    drawn = dict(built.named_parameters(remove_duplicate=False))
    for name, places in names.items():
        value = drawn[name].detach().to(device=device, dtype=dtype)
        _place(model, places, nn.Parameter(value, drawn[name].requires_grad))


def _fill_buffers(
    model: nn.Module, checkpoint: Checkpoint, found: Fit, device: torch.device, dtype: torch.dtype
) -> None:
    """Put buffers where the parameters are; BERT saves none, but a head of one's own may."""
    stored = {canonical(name): name for name in found.unexpected}
    saved = set(model.state_dict())
    for name, buffer in model.named_buffers():
        owner, _, leaf = name.rpartition(".")
        value = buffer
        if name in saved and (source := stored.get(canonical(name))):
            value = checkpoint.tensor(source).clone()
            found.unexpected.remove(source)
            if value.shape != buffer.shape:
                raise CheckpointError(
                    f"{str(checkpoint.path)!r}: the buffer {name!r} is {list(value.shape)} in the file and "
                    f"{list(buffer.shape)} in the model; correct the config"
                )
        kind = dtype if value.is_floating_point() else value.dtype
        model.get_submodule(owner)._buffers[leaf] = value.to(device=device, dtype=kind)
