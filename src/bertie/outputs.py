"""Model outputs: ordered mappings without their None members, with attribute, key, index and tuple access."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

from bertie.extras import need_torch

need_torch(__name__)

from torch import Tensor
from torch.utils import _pytree as pytree

HiddenStates = tuple[Tensor, ...]


class ModelOutput(OrderedDict[str, Any]):
    """An ordered mapping of the members that are not ``None``, like ``transformers``' class of the same name.

    ``output.logits``, ``output["logits"]``, ``output[0]``, ``output[:2]`` and ``output.to_tuple()`` all work. It can
    be built from keyword or positional arguments in the order of its fields, from one mapping, or from pairs.
    """

    field_names: ClassVar[tuple[str, ...]] = ()
    # The fields with one row per token, and what fills the padding when they are unpacked to rectangles.
    token_fields: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls) -> None:
        # only for dataclasses.fields, replace and asdict: None values are not members, so the rest is our own
        dataclass(init=False, repr=False, eq=False)(cls)
        cls.field_names = tuple(field.name for field in fields(cast(Any, cls)))
        pytree.register_pytree_node(
            cls,
            lambda output: (list(output.values()), tuple(output)),
            lambda values, names: cls(**dict(zip(names, values, strict=True))),
            serialized_type_name=f"{cls.__module__}.{cls.__name__}",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        if len(args) == 1 and not kwargs and (members := _members(args[0])) is not None:
            kwargs, args = members, ()
        if len(args) > len(self.field_names):
            raise TypeError(f"{type(self).__name__} has {len(self.field_names)} fields, not {len(args)}.")
        kwargs.update(zip(self.field_names, args, strict=False))
        if unknown := [name for name in kwargs if name not in self.field_names]:
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}; its fields are {self.field_names}.")
        for name in self.field_names:
            if kwargs.get(name) is not None:
                super().__setitem__(name, kwargs[name])

    def __getattr__(self, name: str) -> Any:
        if name in type(self).field_names:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).field_names:
            self[name] = value
        else:
            super().__setattr__(name, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if value is None:
            super().pop(key, None)
        else:
            super().__setitem__(key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the members that are not ``None``, in the order of the fields."""
        return tuple(super(ModelOutput, self).__getitem__(name) for name in self)


def _members(source: Any) -> dict[str, Any] | None:
    """Return the members given as a mapping or as pairs; None if ``source`` is the first field's value."""
    if isinstance(source, Mapping):
        return dict(source.items())
    if isinstance(source, Tensor) or not isinstance(source, Iterable):
        return None
    pairs = list(source)
    are_pairs = all(isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
    return dict(pairs) if are_pairs else None


class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """``last_hidden_state [B, S, D]``, the cache of a decoder, and per layer hidden states and attentions."""

    last_hidden_state: Tensor
    past_key_values: Any
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    cross_attentions: HiddenStates | None
    token_fields: ClassVar = {"last_hidden_state": "zeros", "hidden_states": "zeros"}


class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """``last_hidden_state [B, S, D]``, ``pooler_output [B, D]``, and per layer hidden states and attentions."""

    last_hidden_state: Tensor
    pooler_output: Tensor | None
    # Before hidden_states, as in the reference's tuples; its class lists them the other way round.
    past_key_values: Any
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    cross_attentions: HiddenStates | None
    token_fields: ClassVar = {"last_hidden_state": "zeros", "hidden_states": "zeros"}


class BertForPreTrainingOutput(ModelOutput):
    """``prediction_logits [B, S, V]`` and ``seq_relationship_logits [B, 2]``; the loss sums those of both tasks."""

    loss: Tensor | None
    prediction_logits: Tensor | None
    seq_relationship_logits: Tensor
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    token_fields: ClassVar = {"prediction_logits": "zeros", "hidden_states": "zeros"}


class CausalLMOutputWithCrossAttentions(ModelOutput):
    """``logits [B, S, V]`` (or only of the positions kept) and the cache of the decoder."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: Any
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    cross_attentions: HiddenStates | None
    token_fields: ClassVar = {"logits": "zeros", "hidden_states": "zeros"}


class Seq2SeqLMOutput(ModelOutput):
    """``logits [B, S_target, V]``, the decoder's cache, and hidden states and attentions of both halves."""

    loss: Tensor | None
    logits: Tensor
    past_key_values: Any
    decoder_hidden_states: HiddenStates | None
    decoder_attentions: HiddenStates | None
    cross_attentions: HiddenStates | None
    encoder_last_hidden_state: Tensor | None
    encoder_hidden_states: HiddenStates | None
    encoder_attentions: HiddenStates | None


class _HeadOutput(ModelOutput):
    """The loss, the logits of a head, and per layer hidden states and attentions."""

    loss: Tensor | None
    logits: Tensor
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    token_fields: ClassVar = {"hidden_states": "zeros"}


class MaskedLMOutput(_HeadOutput):
    """``logits [B, S, V]``."""

    token_fields: ClassVar = {"logits": "zeros", "hidden_states": "zeros"}


class NextSentencePredictorOutput(_HeadOutput):
    """``logits [B, 2]``: column 0 scores "B follows A", column 1 "B is a random sentence"."""


class SequenceClassifierOutput(_HeadOutput):
    """``logits [B, C]``."""


class MultipleChoiceModelOutput(_HeadOutput):
    """``logits [B, N]``, one column per choice."""


class TokenClassifierOutput(_HeadOutput):
    """``logits [B, S, C]``."""

    token_fields: ClassVar = {"logits": "zeros", "hidden_states": "zeros"}


class QuestionAnsweringModelOutput(ModelOutput):
    """``start_logits [B, S]`` and ``end_logits [B, S]``; padding holds the dtype's lowest value (decision 1)."""

    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor
    hidden_states: HiddenStates | None
    attentions: HiddenStates | None
    token_fields: ClassVar = {"start_logits": "lowest", "end_logits": "lowest", "hidden_states": "zeros"}
