"""What one training is told and what it took, as both pass between processes."""

from dataclasses import asdict, dataclass, field
from typing import Any

WARMUP, DECAY, CLIP = 0.1, 0.01, 1.0


@dataclass(frozen=True)
class Job:
    """What is trained; paths are strings, as JSON has them.

    Attributes:
        trainer: "bertie", "transformers" or "sentence-transformers".
        start: a folder with the head that training begins with, the same for all.
        train, dev: JSON lines; nothing is chosen by ``dev``.
        out: the folder of the trained model.
        options: of the system.
    """

    trainer: str
    task: str
    kind: str | None
    start: str
    train: str
    dev: str
    out: str
    seed: int
    epochs: int
    learning_rate: float
    batch_size: int
    max_length: int
    threads: int
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Effort:
    """What a training took.

    Attributes:
        seconds: of wall time from the first batch to the last update, without imports, loading and text → ids.
        steps: updates.
        others: the share of the processors' time that went to other programs meanwhile.
        padding: the share of tokens that were computed and are padding; None: not counted.
    """

    seconds: float
    steps: int
    others: float = 0.0
    padding: float | None = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)
