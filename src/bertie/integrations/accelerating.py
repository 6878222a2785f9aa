"""`bertie.accelerate`, `bertie.install` and `bertie.uninstall`: where the forward of an encoder is put in, and out."""

import functools
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, TypeVar
from weakref import WeakSet

from torch import nn

from bertie.capture import has_hooks
from bertie.errors import BertieError, InputError, InputTypeError
from bertie.extras import loaded
from bertie.integrations.foreign_encoder import ENCODERS, is_encoder
from bertie.integrations.packed_forward import STATES, State, forward
from bertie.models.pretrained import BertPreTrainedModel

Program = TypeVar("Program")
# versions of transformers whose encoders were compared with the engine
KNOWN_VERSIONS = ("4.57", "5")


class PackedForward:
    """The forward of one encoder; it goes with the encoder into copies and other processes."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder, self.__wrapped__ = encoder, _original(encoder)
        _ACCELERATED.add(encoder)

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        if self.encoder not in _ACCELERATED:  # a wrapper of another's has kept it
            return self.__wrapped__(*args, **arguments)
        return forward(self.encoder, self.__wrapped__, *args, **arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.encoder,)


_ACCELERATED: "WeakSet[nn.Module]" = WeakSet()
_INSTALLED: dict[type[nn.Module], Callable[..., Any]] = {}  # class → its own forward


def accelerate(model: Program) -> Program:
    """Let the encoders within a model of `transformers` answer on bertie's engine, and return the same model.

    The model may be within another: a ``SentenceTransformer``, ``CrossEncoder`` or ``SparseEncoder``, a pipeline of
    `transformers`, or another object that has it as an attribute. Answers stay equal to 1e-5, with zeros at padding.
    Training, gradients, hooks inside the encoder, attentions, hidden states of all layers, other devices and dtypes
    than the CPU's float32 are computed by the model's own forward, as before. The engine has copies of the weights
    beside the model's. Before each call they are compared: where they were changed, however that was done, new copies
    are made.

    Raises:
        InputError: one of its encoders can't be computed by the engine.
        InputTypeError: there is none of `transformers`' encoders of BERT and its siblings in it.
    """
    new = [each for each in _encoders(model) if not isinstance(vars(each).get("forward"), PackedForward)]
    for encoder, state in [(each, _state_of(each)) for each in new]:  # none of them, if one is refused
        STATES[encoder] = state
        encoder.forward = PackedForward(encoder)
    return model


def install() -> None:
    """Do for all models of `transformers` in this program, those to come too, what `accelerate` does for one.

    Encoders that the engine doesn't compute stay as they are. Processes that are started by others than a fork have to
    call it, too.

    Raises:
        InputError: the program hasn't imported `transformers`, or a version that bertie doesn't know.
    """
    transformers = _check_version()
    for kind in [getattr(transformers, name) for name in ENCODERS]:
        if kind not in _INSTALLED:
            _INSTALLED[kind] = kind.forward
            kind.forward = _packed(kind, kind.forward)


def uninstall() -> None:
    """Undo `install`, and `accelerate` for every model: classes and models have their own forwards again.

    A wrapper that another library has put around them since stays, and calls them.
    """
    for kind, own in _INSTALLED.items():
        if _wraps(kind.forward, own):
            kind.forward = own
    _INSTALLED.clear()
    for encoder in list(_ACCELERATED):
        if isinstance(vars(encoder).get("forward"), PackedForward):
            del encoder.forward
    _ACCELERATED.clear()
    STATES.clear()


def _state_of(encoder: nn.Module) -> State:
    """Return the state of an encoder that is to be accelerated, with its engine."""
    _check_version()
    name = type(encoder).__name__
    if has_hooks(encoder):
        raise InputError(f"accelerate cannot take this {name}: it has hooks, or another forward; remove them first.")
    state = State()
    try:
        state.update(encoder, _original(encoder))
    except BertieError as error:
        raise InputError(f"accelerate cannot take this {name}: {str(error).removesuffix('.')}.") from error
    return state


def _packed(kind: type[nn.Module], own: Callable[..., Any]) -> Callable[..., Any]:
    """Return the forward that takes the place of a class's own."""

    @functools.wraps(own)
    def packed(self: nn.Module, *args: Any, **arguments: Any) -> Any:
        original = MethodType(own, self)
        if kind not in _INSTALLED:  # a wrapper of another's has kept it
            return original(*args, **arguments)
        return forward(self, original, *args, **arguments)

    return packed


def _wraps(outer: Callable[..., Any], own: Callable[..., Any]) -> bool:
    """Whether a forward is what `_packed` has made of a class's own."""
    return getattr(outer, "__wrapped__", None) is own


def _original(encoder: nn.Module) -> Callable[..., Any]:
    """Return an encoder's own forward, bound."""
    owner: Any = next(kind for kind in type(encoder).__mro__ if "forward" in vars(kind))
    own = _INSTALLED.get(owner)
    return MethodType(own if own is not None and _wraps(owner.forward, own) else owner.forward, encoder)


def _check_version() -> Any:
    """Return `transformers`, if the program has imported a version that is known."""
    transformers = loaded("transformers")
    if transformers is None:
        raise InputError("This program hasn't imported transformers; call bertie.install() after its imports.")
    version = transformers.__version__
    if not any(version == known or version.startswith(f"{known}.") for known in KNOWN_VERSIONS):
        raise InputError(
            f"This is transformers {version}, and bertie knows how to accelerate versions {', '.join(KNOWN_VERSIONS)}; "
            "install one of these, or go on without."
        )
    return transformers


def _encoders(model: Any) -> Iterator[nn.Module]:
    """Yield the encoders in a model, or in what an object has as attributes."""
    parts = [model] if isinstance(model, nn.Module) else list(getattr(model, "__dict__", {}).values())
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    if any(isinstance(module, BertPreTrainedModel) for module in modules):
        raise InputTypeError("bertie's own models need no accelerate; bertie.optimize makes an engine of one.")
    found = [module for module in modules if is_encoder(module)]
    if not found:
        raise InputTypeError(
            f"This {type(model).__name__} has no encoder that accelerate takes; these are {', '.join(ENCODERS)} of "
            "transformers."
        )
    yield from found
