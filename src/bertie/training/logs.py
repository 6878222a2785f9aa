"""Where the log lines of a training run go: a file in its folder, TensorBoard, functions of the caller."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from bertie.extras import need
from bertie.files import explained, write_text
from bertie.run_files import LOG, TENSORBOARD
from bertie.training.distributed import is_first
from bertie.training.history import Log, Record

_EVENTS = "events.out.tfevents.*"


@contextmanager
def logs(folder: Path | None, report_to: Sequence[str | Log] = ()) -> Iterator[Log | None]:
    """Return a log that writes to the folder, to TensorBoard and to functions; None if there is nowhere to write."""
    with ExitStack() as stack:
        found: list[Log] = [] if folder is None else [JsonLines(folder / LOG)]
        for one in report_to if is_first() else ():
            if callable(one):
                found.append(one)
            elif folder is not None:
                found.append(stack.enter_context(closing(TensorBoard(folder / TENSORBOARD))))

        def write(record: Record) -> None:
            for log in found:
                log(dict(record))

        yield write if found else None


class JsonLines:
    """A log that writes every record as a line of a file, whose old content is replaced at the first record."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path, self._is_new = Path(path), True

    def __call__(self, record: Record) -> None:
        line = json.dumps(record) + "\n"
        if self._is_new:
            write_text(self._path, line)
            self._is_new = False
            return
        with explained(self._path), self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)


def check_tensorboard() -> None:
    """Raise an error if the package for TensorBoard logs is not installed."""
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
        metrics, group = (record["metrics"], "dev") if "metrics" in record else (record, "train")
        for name, value in metrics.items():
            if value is not None and name not in ("step", "epoch", "seconds"):
                self._writer.add_scalar(f"{group}/{name}", value, record["step"], self._began + record["seconds"])
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, first: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for path in self._folder.glob(_EVENTS):
            path.unlink()
        self._writer = SummaryWriter(str(self._folder))
        # a resumed run writes its earlier lines again, with times counted from its beginning too
        self._began = time.time() - first["seconds"]
