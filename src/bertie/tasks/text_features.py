"""Features that know the texts they came from, for tasks whose answers are slices of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from bertie.tasks.features import Features
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.pieces import Pieces


@dataclass(frozen=True, eq=False)
class TextFeatures(Features):
    """As `Features`, with encodings and texts.

    Attributes:
        texts: each of the N inputs, as the task read it.
    """

    texts: Sequence[Any] = ()

    @classmethod
    def of(cls, features: Features, texts: Sequence[Any]) -> "TextFeatures":
        """Return features that have encodings, with the texts of their inputs."""
        return cls(**{field.name: getattr(features, field.name) for field in fields(Features)}, texts=texts)

    def rows_of(self, rows: range) -> list[Encoding]:
        """Return some rows with the places their tokens come from."""
        assert self.encodings is not None
        return [self.encodings[row] for row in rows]

    def _of(self, inputs: Sequence[int]) -> dict[str, Any]:
        return super()._of(inputs) | {"texts": [self.texts[number] for number in inputs]}


def pieces_read(group: Sequence[Encoding]) -> tuple[Pieces, range]:
    """Return the pieces of an input's last text, and which of them stand in a row or window of it."""
    windows = [row.windows[-1] for row in group]
    return windows[0].pieces, range(windows[0].start, windows[-1].stop)
