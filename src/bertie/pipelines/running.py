"""Pipeline: texts in, answers out, in batches without padding; truncated texts are reported."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from bertie.engine import Engine
from bertie.errors import InputTypeError
from bertie.extras import missing, need
from bertie.frames import columns_in, is_frame, texts_of, values_in
from bertie.hub import usual_name
from bertie.markdown import as_html, plain, table
from bertie.progress import logger, progress
from bertie.tasks.features import Features
from bertie.tasks.inference import compute_rows
from bertie.tasks.model import Model
from bertie.tasks.registry import name_of
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import check_count, is_pair
from bertie.threads import computed_ahead

if TYPE_CHECKING:
    import torch

# The number of texts encoded and sorted at a time, so that memory does not grow with the length of a file.
CHUNK = 8_192


class Answered(NamedTuple):
    """A text's answer, how many of its tokens were cut off, and whether it has only special tokens."""

    answer: Any
    truncated: int
    empty: bool

    @property
    def marks(self) -> dict[str, Any]:
        """What is added to the answer: ``truncated`` and ``empty``, if they apply."""
        marks: dict[str, Any] = {"truncated": self.truncated} if self.truncated else {}
        return {**marks, "empty": True} if self.empty else marks


class Pipeline:
    """A model, its tokenizer and a task. Calls do not change it, so threads may share one.

    Args:
        task: the task with its options, which becomes the attribute ``codec``.
        model: a model in eval mode with the task's head.
        batch_tokens: tokens per batch; None: what suits the device.
        batch_size: the most texts in a batch; None sets no limit.
        show_progress: True always shows a progress bar, False never, None only on a terminal and for long work.
        why_not_engine: why a PyTorch model runs instead of the engine, for `explain`.
        name: the attribute ``task``, the name by which the task was requested; empty: its main name.
    """

    def __init__(
        self,
        task: Task,
        model: Any,
        *,
        batch_tokens: int | None = None,
        batch_size: int | None = None,
        show_progress: bool | None = None,
        name: str = "",
        why_not_engine: str = "a PyTorch model was given",
    ) -> None:
        for limit, value in (("batch_tokens", batch_tokens), ("batch_size", batch_size)):
            if value is not None:
                check_count(limit, value)
        self.codec = task
        self.task = name or name_of(type(task))
        self.model = model
        self.why_not_engine = why_not_engine
        self.batch_tokens = batch_tokens
        self.batch_size = batch_size
        self.show_progress = show_progress

    @property
    def tokenizer(self) -> Any:
        return self.codec.tokenizer

    @property
    def device(self) -> "str | torch.device":
        """The model's ``torch.device``; "cpu" without PyTorch."""
        if not isinstance(self.model, Engine):
            return next(self.model.parameters()).device
        return "cpu" if missing("torch", "torch") else need("torch", "torch").device("cpu")

    @property
    def computing(self) -> Model:
        """The model with the interface that tasks use."""
        if isinstance(self.model, Engine):
            return self.model
        from bertie.models.task_model import TaskModel

        return TaskModel(self.model)

    @property
    def model_name(self) -> str:
        """The model's folder or name; empty if unknown."""
        return usual_name(getattr(self.model, "name_or_path", ""))

    def _repr_html_(self) -> str:
        facts = {"task": self.task, "model": self.model_name, "computed by": self.explain()}
        return as_html("\n".join(table(["pipeline", ""], [[name, plain(fact)] for name, fact in facts.items()])))

    def explain(self) -> str:
        """Return what runs the model: the engine with its kernels, or PyTorch and why not the engine."""
        if isinstance(self.model, Engine):
            return self.model.explain()
        model = self.computing
        return f"{type(self.model).__name__} on PyTorch, {model.device_type}, {model.dtype}: {self.why_not_engine}"

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """Answer one text, a list of texts, or an iterator of them (then an iterator comes back).

        A text is a str, a pair of them as a tuple, or a mapping with ``text`` and ``text_pair``; several may be a
        column, or a table with columns of these names, of pandas, polars or PyArrow. Answers that are mappings have
        ``truncated`` (tokens cut off) if it is above 0, and ``empty: True`` for a text without tokens.

        Args:
            inputs: the text or texts.
            batch_size: the most texts in a batch, in this call.
            **options: the task's options, for this call.

        Raises:
            InputTypeError: an input is not a text, or an option does not exist.
            InputError: an option is out of range, or the task cannot take a text.
            BertieError: the model gives NaN or infinite numbers, or a single text exhausts the memory.
        """
        if isinstance(inputs, Iterator):
            return (marked(answered) for answered in self.stream(inputs, batch_size=batch_size, **options))
        inputs = self.rows_of(inputs)
        single = is_single(inputs)
        texts = [inputs] if single else as_list(inputs)
        answered = self.answered(texts, batch_size, options)
        task = self.task_with(options)
        return task.format_output([marked(one) for one in answered], inputs, single, list(options))

    def stream(
        self, texts: Iterable[Any], *, batch_size: int | None = None, chunk: int = CHUNK, **options: Any
    ) -> Iterator[Answered]:
        """Yield the answer of each text in order, reading ``chunk`` texts at a time.

        While a GPU computes, the next ``chunk`` texts are read and encoded.

        Args:
            texts: the texts.
            batch_size: the most texts in a batch.
            chunk: how many texts to read before any is answered; more make better batches, and with 1 each text is
                answered before the next is read.
            **options: the task's options.

        Raises:
            InputError, InputTypeError: as for `__call__`.
        """
        if batch_size is not None:
            check_count("batch_size", batch_size)
        task, rows = self.task_with(options), self.rows_of(texts)
        return self._stream(task, rows, batch_size or self.batch_size, chunk)

    def task_with(self, options: Mapping[str, Any]) -> Task:
        """Return the task with the options of one call."""
        if options:
            self.codec.check_names(self.task or "The pipeline", options, ("batch_size",))
        return self.codec.with_options(**options)

    def rows_of(self, inputs: Any) -> Any:
        """Return the rows of a table, from the columns that the task reads; other inputs as they are."""
        return texts_of(inputs, self.codec.columns)

    def answered(self, texts: Iterable[Any], batch_size: int | None, options: Mapping[str, Any]) -> list[Answered]:
        """Return the answers to all texts of a call, and warn once if any were truncated (decision 29)."""
        answered = list(self.stream(texts, batch_size=batch_size, **options))
        cut = sum(one.truncated > 0 for one in answered)
        if cut:
            logger.warning(
                "%d of %d texts %s longer than the %d tokens the model reads; the rest was left out.",
                cut,
                len(answered),
                "is" if cut == 1 else "are",
                self.codec.limit,
            )
        return answered

    def _stream(self, task: Task, texts: Iterable[Any], size: int | None, chunk: int) -> Iterator[Answered]:
        total = len(texts) if isinstance(texts, Sequence) else None
        source = iter(texts)
        parts = enumerate(iter(lambda: list(islice(source, chunk)), []))

        def encoded(numbered: tuple[int, list[Any]]) -> tuple[int, Features]:
            first = numbered[0] * chunk
            return first, task.encode(numbered[1], first)

        model = self.computing
        # on a CPU, encoding would compete with the model
        ahead = chunk > 1 and model.device_type != "cpu"
        with progress("texts", total, self.show_progress) as advance:
            for first, features in computed_ahead(encoded, parts) if ahead else map(encoded, parts):
                rows = compute_rows(
                    task,
                    model,
                    features,
                    batch_tokens=self.batch_tokens,
                    batch_size=size,
                    first=first,
                    advance=advance,
                )
                answers = task.decode(task.outputs(rows, features))
                yield from map(Answered, answers, features.truncated, features.empty)


class FeatureExtractionPipeline(Pipeline):
    """A `Pipeline`: texts in, the vectors of their tokens out."""


class GenerationPipeline(Pipeline):
    """A `Pipeline`: texts in, generated texts out."""

    def _stream(self, task: Any, texts: Iterable[Any], size: int | None, chunk: int) -> Iterator[Answered]:
        max_rows = task.max_rows(self.model.generation_config)
        return super()._stream(task, texts, min(size or max_rows, max_rows), chunk)


class FillMaskPipeline(Pipeline):
    """A `Pipeline`: texts with ``[MASK]`` in, the words that fit there out."""


class TextClassificationPipeline(Pipeline):
    """A `Pipeline`: texts or pairs in, their classes out."""


class TokenClassificationPipeline(Pipeline):
    """A `Pipeline` whose inputs may be lists of words."""

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return the entities of a text, or of each of several.

        Args:
            inputs: one text, or a list (or iterator) of them; a text may be a list of its words. With
                ``is_split_into_words=True`` a list of strings is one text; as in the reference, it is answered with a
                list of one answer.
            batch_size: the most texts in a batch, in this call.
            **options: ``aggregation_strategy``, ``ignore_labels``, ``scheme``, ``windows`` and the task's others.

        Raises:
            BertieError: as for `Pipeline.__call__`.
        """
        task: Any = self.task_with(options)
        if isinstance(inputs, list | tuple) and all(isinstance(part, str) for part in inputs):
            # two strings are two texts or words, not a pair
            inputs = [list(inputs)] if task.is_split_into_words and inputs else list(inputs)
        return super().__call__(inputs, batch_size=batch_size, **options)


def is_single(inputs: Any) -> bool:
    """Whether ``inputs`` is one text or pair, not several."""
    return isinstance(inputs, str | Mapping) or (isinstance(inputs, tuple) and is_pair(inputs))


def as_list(inputs: Any) -> list[Any]:
    """Return several texts as a list, from any iterable, or a column of NumPy, pandas, polars or datasets."""
    if is_frame(inputs):
        names = list(columns_in(inputs))
        raise InputTypeError(f"The input is a table with the columns {', '.join(map(repr, names))}; give one of them.")
    if isinstance(inputs, Iterable) and not isinstance(inputs, str | bytes | bytearray):
        return values_in(inputs)
    raise InputTypeError(f"The input is {inputs!r:.60} ({type(inputs).__name__}); give a text or a list of texts.")


def marked(answered: Answered) -> Any:
    """Return the answer with its marks added to its mappings."""
    return _mark(answered.answer, answered.marks) if answered.marks else answered.answer


def _mark(answer: Any, marks: dict[str, Any]) -> Any:
    if isinstance(answer, dict):
        return answer | marks
    if isinstance(answer, list) and answer and isinstance(answer[0], dict | list):
        return [_mark(one, marks) for one in answer]
    return answer
