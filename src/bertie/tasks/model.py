"""The interface of a model that tasks use: the engine, with NumPy arrays, or a PyTorch model, with tensors."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from bertie.config import BertConfig
from bertie.generation.generation_config import GenerationConfig
from bertie.tasks.arrays import Integers
from bertie.tasks.features import Features
from bertie.tasks.operations import Computed


class Model(Protocol):
    """Computes packed rows, never padded. R rows, T tokens in total, D hidden, C classes, V words, M positions.

    `bertie.engine.Engine` returns float32 NumPy arrays. `bertie.models.task_model.TaskModel` returns tensors on its
    module's device, in its dtype, and with gradients outside `inference`. Rows are in the order of
    ``features.lengths``, and every row has a token. Calling a head that the model does not have is an
    `InputTypeError`. A model keeps no reference to the features, and may be called from several threads at once.

    Attributes:
        config: of the model.
        device_type: where it computes, as PyTorch names it: "cpu", "cuda", …
        dtype: the name of the type it computes in, for messages: "float32", "bfloat16", …
        threads: the number of cores that one call may use.
    """

    @property
    def config(self) -> BertConfig: ...

    @property
    def device_type(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def threads(self) -> int: ...

    # what is computed

    def hidden_states(self, features: Features, /) -> Computed:
        """Return the last hidden states ``[T, D]``."""

    def first_tokens(self, features: Features, /) -> Computed:
        """Return the last hidden state of each row's first token ``[R, D]``, equal to those of `hidden_states`."""

    def logits(self, features: Features, /) -> Computed:
        """Return the logits of the model's own head.

        ``[R, C]`` for sequence classification, ``[R, 1]`` for multiple choice (each choice a row of its own),
        ``[T, C]`` for token classification, and ``[T, 2]`` for question answering (start and end).
        """

    def masked_lm(self, features: Features, places: Integers, /) -> Computed:
        """Return the logits ``[M, V]`` at ascending positions ``places``, int64 ``[M]``, among the T tokens."""

    def next_sentence(self, features: Features, /) -> Computed:
        """Return the logits ``[R, 2]``; column 0 is "B follows A"."""

    def pretraining(self, features: Features, places: Integers, /) -> Mapping[str, Any]:
        """Return what `hidden_states`, `masked_lm` and `next_sentence` do, by these names, from one forward pass.

        A model without a next-sentence head leaves that out.
        """

    def layers(self, features: Features, /) -> Iterable[Computed]:
        """Return or yield the hidden states ``[T, D]`` after the embeddings, then after each layer (L + 1 in total).

        Called only when an output has NaN, to name the layer where it arose.
        """

    # how it is computed

    def with_threads(self, threads: int, /) -> Self:
        """Return the same model, sharing its weights, whose calls use ``threads`` cores.

        With 1, several threads can each compute a batch. A PyTorch model returns itself: the calling thread limits it
        to one core.
        """

    def inference(self) -> AbstractContextManager[Any]:
        """Return a context without gradients; for the engine a `nullcontext`."""


class GenerativeModel(Model, Protocol):
    """A `Model` that is a decoder, or an encoder-decoder whose source texts are the R rows."""

    @property
    def generation_config(self) -> GenerationConfig: ...

    def generate(self, rows: Features, options: Mapping[str, Any], /) -> Integers:
        """Return the rows with their continuations, or the generated targets: int64 ``[R * N, S]`` on the host.

        Rows are padded on the left, their continuations on the right. ``options`` are fields of a generation config,
        functions as ``model.generate`` takes them, and ``seed``.
        """


class Seq2SeqModel(Model, Protocol):
    """A `Model` that is an encoder-decoder in training: R rows are sources, each with a target."""

    def target_logits(self, sources: Features, targets: Features, /) -> Computed:
        """Return the next-token logits ``[T, V]`` at each of the T tokens of R targets."""
