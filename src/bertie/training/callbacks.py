"""What a training tells its caller while it runs: each log line, and the end of each epoch; the caller may end it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from bertie.training.history import History, Record


@dataclass(frozen=True)
class Event:
    """What a callback is called with.

    Attributes:
        kind: "steps" or "evaluation" for a log line of steps or of an evaluation, "epoch" for the end of an epoch.
        record: the log line as in ``metrics.jsonl``; of an epoch's end ``step``, ``epoch`` and ``seconds``.
        model: as it is at this moment, in eval mode; one that learns adapters is wrapped by peft.
        history: all that has happened so far, what came before a resume included.
    """

    kind: Literal["steps", "evaluation", "epoch"]
    record: Record
    model: nn.Module
    history: History


# One that returns True ends the training after this step, as if it were its last.
Callback = Callable[[Event], Any]
