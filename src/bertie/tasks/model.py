"""What a task asks of whatever computes: the engine, with NumPy arrays, or a PyTorch model, with tensors."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from bertie.config import BertConfig
from bertie.generation.generation_config import GenerationConfig
from bertie.tasks.arrays import Integers
from bertie.tasks.features import Features
from bertie.tasks.operations import Computed


class Model(Protocol):
    """Computes packed rows, never a rectangle. R rows, T tokens in all, D hidden, C classes, V words, M places.

    `bertie.engine.Engine` gives float32 NumPy arrays. `bertie.models.task_model.TaskModel` gives tensors on its
    module's device, in its dtype, and with gradients outside `inference`. Rows come in the order of
    ``features.lengths``, and every row has a token. A head that the model does not have is an `InputTypeError` when it
    is asked for. Whoever computes keeps nothing of the features, and may be called from several threads at once.

    Attributes:
        config: of the model.
        device_type: where it computes, as PyTorch calls it: "cpu", "cuda", …
        dtype: the name of the numbers it computes with, for messages: "float32", "bfloat16", …
        threads: the cores that one call may take.
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
        """Return what the model's own head gives.

        ``[R, C]`` for sequence classification, ``[R, 1]`` for multiple choice (each choice a row of its own),
        ``[T, C]`` for token classification, and ``[T, 2]`` for question answering (start and end).
        """

    def masked_lm(self, features: Features, places: Integers, /) -> Computed:
        """Return the logits ``[M, V]`` of the words at rising ``places``, int64 ``[M]``, of the T tokens."""

    def next_sentence(self, features: Features, /) -> Computed:
        """Return the logits ``[R, 2]``; column 0 speaks for "B follows A"."""

    def pretraining(self, features: Features, places: Integers, /) -> Mapping[str, Any]:
        """Return what `hidden_states`, `masked_lm` and `next_sentence` do, by these names, of one pass.

        A model without a next-sentence head leaves it out.
        """

    def layers(self, features: Features, /) -> Iterable[Computed]:
        """Return or yield the hidden states ``[T, D]`` behind the embeddings, then behind each layer (L + 1 in all).

        Asked for only when an answer holds NaN, to name where it came from.
        """

    # how it is computed

    def with_threads(self, threads: int, /) -> Self:
        """Return the same model, its weights shared, whose calls take so many cores.

        With 1, several threads each compute a batch of their own. A PyTorch model is held to a core by the thread that
        calls it, and returns itself.
        """

    def inference(self) -> AbstractContextManager[Any]:
        """Return the context in which answers are computed, without gradients; for the engine a `nullcontext`."""


class GenerativeModel(Model, Protocol):
    """As `Model`, of a decoder, or of an encoder-decoder whose sources the R rows are."""

    @property
    def generation_config(self) -> GenerationConfig: ...

    def generate(self, rows: Features, options: Mapping[str, Any], /) -> Integers:
        """Return how rows go on, or the targets that are written for them: int64 ``[R * N, S]`` on the host.

        Rows are padded before their beginning, and behind their end. ``options`` are fields of a generation config,
        functions as ``model.generate`` takes them, and ``seed``.
        """


class Seq2SeqModel(Model, Protocol):
    """As `Model`, of an encoder-decoder that learns: R rows are sources, each with a target of its own."""

    def target_logits(self, sources: Features, targets: Features, /) -> Computed:
        """Return the logits ``[T, V]`` of what comes next at each of the T tokens of R targets."""
