"""The base of `bertie.SentenceTransformer` and `bertie.CrossEncoder`: refusing arguments and converting answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from bertie.errors import InputError, InputTypeError
from bertie.extras import need
from bertie.pipelines.running import Pipeline

# arguments of sentence-transformers → the values with which they change nothing; for all others that is None
_ACCEPTED = {"backend": "torch", "output_value": "sentence_embedding"}
_INSTEAD = "keep sentence-transformers' own class for it, which bertie.accelerate makes faster"


class DropIn:
    """A drop-in for a class of sentence-transformers, on a pipeline of bertie."""

    _pipeline: Pipeline

    @property
    def tokenizer(self) -> Any:
        return self._pipeline.tokenizer

    @property
    def device(self) -> Any:
        """The model's ``torch.device``; "cpu" without PyTorch."""
        return self._pipeline.device

    def refuse_others(self, others: Mapping[str, Any]) -> None:
        """Refuse arguments that bertie does not have, unless their values change nothing."""
        for name, value in others.items():
            if value != _ACCEPTED.get(name):
                raise InputTypeError(f"bertie's {type(self).__name__} has no {name}={value!r:.60}; {_INSTEAD}.")

    def check_device(self, asked: Any) -> None:
        """Refuse to move the model for one call."""
        own = str(self.device)
        if asked is not None and str(asked) not in (own, own.partition(":")[0]):
            raise InputError(f"device is {asked!r:.60}, but the model is on {own!r}; name the device when you make it.")

    def converted(self, array: Any, single: bool, to_numpy: bool, to_tensor: bool) -> Any:
        """Return an array as it is, as a tensor on the model's device, or for several answers as a list of tensors."""
        if to_numpy and not to_tensor:
            return array
        tensor = need("torch", "torch", "A tensor").as_tensor(array).to(self.device)
        return tensor if single or to_tensor else list(tensor)

    if not TYPE_CHECKING:  # type checkers know the existing names

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"bertie's {type(self).__name__} has no {name!r}; {_INSTEAD}")
