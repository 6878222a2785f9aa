"""Workload: what is run, by every engine alike: texts, a model, what is made of them and what is measured."""

from dataclasses import dataclass

from bertie.errors import InputError

# what an engine makes of texts
TASKS = ("embed", "classify", "train", "tokenize")
# what is timed: a pass over all texts, each text alone, or a process's way to its first answer
MEASURES = ("throughput", "latency", "start")


@dataclass(frozen=True)
class Workload:
    """One piece of work.

    Attributes:
        name: one word, for tables and file names.
        title: what is run, in words.
        task: "embed" (a vector a text), "classify" (logits), "train" (masked-LM steps), "tokenize" (ids).
        measure: "throughput", "latency" or "start".
        model: the folder of the model.
        texts: the texts, in the order in which their user has them.
        max_length: tokens read of a text, special ones included.
        tokens: how many tokens of the texts are read, special ones included; no padding.
        batch_size: texts in a peer's batch, and in every engine's training step.
        rounds: how often each engine is timed.
        pooling: "mean" or "cls", how a text's vector is made of its tokens'; anything else only bertie and
            sentence-transformers know.
        normalize: whether vectors get length 1.
        one_thread: whether the work is timed on one thread, however many the others get.
    """

    name: str
    title: str
    task: str
    measure: str
    model: str
    texts: tuple[str, ...]
    max_length: int
    tokens: int
    batch_size: int = 32
    rounds: int = 3
    pooling: str = "mean"
    normalize: bool = True
    one_thread: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("task", TASKS), ("measure", MEASURES)):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"A workload's {name} is {value!r}; allowed are {', '.join(allowed)}.")
        for name in ("max_length", "batch_size", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"A workload's {name} is {getattr(self, name)}; it must be at least 1.")
        if not self.texts:
            raise InputError(f"The workload {self.name!r} has no texts; give at least one.")

    @property
    def bytes(self) -> int:
        """How many bytes the texts have in UTF-8."""
        return sum(len(text.encode()) for text in self.texts)
