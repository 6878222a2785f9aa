"""`bertie.accelerate`, `bertie.install` and `bertie.uninstall`: replace the forward of encoders, and restore it."""

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
# versions of transformers whose encoders are tested against the engine
KNOWN_VERSIONS = ("4.57", "5")


class PackedForward:
    """The forward of one encoder; it survives copying and pickling of the encoder."""

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder, self.__wrapped__ = encoder, _original(encoder)
        _ACCELERATED.add(encoder)

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        if self.encoder not in _ACCELERATED:  # uninstalled, but another library's wrapper still calls this
            return self.__wrapped__(*args, **arguments)
        return forward(self.encoder, self.__wrapped__, *args, **arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.encoder,)


_ACCELERATED: "WeakSet[nn.Module]" = WeakSet()
_INSTALLED: dict[type[nn.Module], Callable[..., Any]] = {}  # class → its own forward


def accelerate(model: Program) -> Program:
    """Run the encoders within a `transformers` model on bertie's engine, and return the same model.

    The model may be inside a ``SentenceTransformer``, ``CrossEncoder`` or ``SparseEncoder``, a `transformers` pipeline,
    or another object that has it as an attribute. Answers stay equal to 1e-5, with zeros at padding. Training,
    gradients, hooks inside the encoder, attentions, hidden states of all layers, and devices or dtypes other than
    float32 on the CPU are computed by the model's own forward, as before. The engine has its own copies of the weights.
    Before each call they are compared with the model's; if those were changed in any way, they are copied again.

    Raises:
        InputError: the engine can't compute one of the encoders.
        InputTypeError: the model has no `transformers` encoder of BERT or its siblings.
    """
    new = [each for each in _encoders(model) if not isinstance(vars(each).get("forward"), PackedForward)]
    for encoder, state in [(each, _state_of(each)) for each in new]:  # none of them, if one is refused
        STATES[encoder] = state
        encoder.forward = PackedForward(encoder)
    return model


def install() -> None:
    """Do for all present and future `transformers` models of this program what `accelerate` does for one.

    Encoders that the engine doesn't compute are left alone. Processes that are not forked must call it themselves.

    Raises:
        InputError: the program hasn't imported `transformers`, or has a version that bertie doesn't know.
    """
    transformers = _check_version()
    for kind in [getattr(transformers, name) for name in ENCODERS]:
        if kind not in _INSTALLED:
            _INSTALLED[kind] = kind.forward
            kind.forward = _packed(kind, kind.forward)


def uninstall() -> None:
    """Undo `install`, and `accelerate` for every model: classes and models get their own forwards back.

    Wrappers that other libraries have put around them in the meantime stay, and call the original forwards.
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
    """Return the state of an encoder, with its engine; refuse an encoder that the engine can't compute."""
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
    """Return the forward that replaces a class's own."""

    @functools.wraps(own)
    def packed(self: nn.Module, *args: Any, **arguments: Any) -> Any:
        original = MethodType(own, self)
        if kind not in _INSTALLED:  # uninstalled, but another library's wrapper still calls this
            return original(*args, **arguments)
        return forward(self, original, *args, **arguments)

    return packed


def _wraps(outer: Callable[..., Any], own: Callable[..., Any]) -> bool:
    """Whether a forward is the one that `_packed` made from a class's own."""
    return getattr(outer, "__wrapped__", None) is own


def _original(encoder: nn.Module) -> Callable[..., Any]:
    """Return an encoder's own bound forward."""
    owner: Any = next(kind for kind in type(encoder).__mro__ if "forward" in vars(kind))
    own = _INSTALLED.get(owner)
    return MethodType(own if own is not None and _wraps(owner.forward, own) else owner.forward, encoder)


def _check_version() -> Any:
    """Return `transformers` if the program has imported a known version; else raise an error."""
    transformers = loaded("transformers")
    if transformers is None:
        raise InputError("This program hasn't imported transformers; call bertie.install() after its imports.")
    version = transformers.__version__
    if not any(version == known or version.startswith(f"{known}.") for known in KNOWN_VERSIONS):
        raise InputError(
            f"This is transformers {version}, but bertie knows how to accelerate versions {', '.join(KNOWN_VERSIONS)}; "
            "install one of these, or leave it out."
        )
    return transformers


def _encoders(model: Any) -> Iterator[nn.Module]:
    """Yield the encoders in a model, or in the attributes of an object."""
    parts = [model] if isinstance(model, nn.Module) else list(getattr(model, "__dict__", {}).values())
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    if any(isinstance(module, BertPreTrainedModel) for module in modules):
        raise InputTypeError("accelerate is not for bertie's own models; use bertie.optimize.")
    found = [module for module in modules if is_encoder(module)]
    if not found:
        raise InputTypeError(
            f"This {type(model).__name__} has no encoder that can be accelerated; these are {', '.join(ENCODERS)} of "
            "transformers."
        )
    yield from found
