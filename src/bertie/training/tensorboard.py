"""The log of a training as TensorBoard reads it: ``tensorboard --logdir FOLDER`` draws it while it grows."""

import time
from pathlib import Path
from typing import Any

from bertie.extras import need
from bertie.training.history import Record

_EVENTS = "events.out.tfevents.*"


def check_tensorboard() -> None:
    """Refuse to log for TensorBoard where its package is not installed."""
    need("tensorboard", extra="tensorboard", what="A log for TensorBoard")


class TensorBoard:
    """A log in ``folder``, as `JsonLines`: metrics of steps as ``train/…``, of evaluations as ``dev/…``."""

    def __init__(self, folder: Path) -> None:
        check_tensorboard()
        self._folder = folder
        self._writer: Any = None
        self._began = 0.0

    def __call__(self, record: Record) -> None:
        if self._writer is None:
            self._open(record)
        metrics, room = (record["metrics"], "dev") if "metrics" in record else (record, "train")
        for name, value in metrics.items():
            if value is not None and name not in ("step", "epoch", "seconds"):
                self._writer.add_scalar(f"{room}/{name}", value, record["step"], self._began + record["seconds"])
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, first: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for path in self._folder.glob(_EVENTS):
            path.unlink()
        self._writer = SummaryWriter(str(self._folder))
        # a resumed run writes its earlier lines again: their times, too, are counted from its beginning
        self._began = time.time() - first["seconds"]
