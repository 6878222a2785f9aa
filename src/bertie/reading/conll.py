"""CoNLL: a word and its tag a line, a blank line after each sentence."""

import re
from collections.abc import Iterator

from bertie.reading.lines import Lines
from bertie.reading.record import BadRows, Record

# not str.split(): a word may hold a no-break space or any other of Unicode's
_GAP = re.compile("[ \t]+")
_DOCUMENT = "-DOCSTART-"


def conll_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield each sentence: ``words`` from the first column, ``tags`` from the last; a tab or blanks between them.

    A sentence with a bad line is bad as a whole, so that no tag is ever shifted to another word.
    """
    sentence = _Sentence(lines, bad)
    for line in lines:
        text = line.rstrip("\r\n")
        whole = lines.forget()
        if not text.strip(" \t") or text.startswith(_DOCUMENT):
            yield from sentence.finished()
        elif whole:
            sentence.add(text)
        else:
            sentence.is_good = False
    yield from sentence.finished()


class _Sentence:
    """The sentence being read; ``columns`` is the number that the first line of the file has."""

    def __init__(self, lines: Lines, bad: BadRows) -> None:
        self.lines, self.bad, self.columns = lines, bad, 0
        self._begin()

    def _begin(self) -> None:
        self.words: list[str] = []
        self.tags: list[str] = []
        self.is_good, self.first = True, 0

    def add(self, text: str) -> None:
        self.first = self.first or self.lines.number
        if not self.is_good:
            return
        cells = text.split("\t") if "\t" in text else _GAP.split(text.strip(" "))
        self.columns = self.columns or len(cells)
        if len(cells) != self.columns or len(cells) < 2:
            self.is_good = False
            self.bad.add(self._ragged(len(cells)))
            return
        self.words.append(cells[0])
        self.tags.append(cells[-1].strip())

    def finished(self) -> Iterator[Record]:
        if self.is_good and self.words:
            yield Record({"words": self.words, "tags": self.tags}, f"{self.lines.name}, line {self.first}")
        self._begin()

    def _ragged(self, found: int) -> str:
        expected = "two or more, a word and its tag" if self.columns < 2 else f"{self.columns} as in the lines above it"
        columns = "column" if found == 1 else "columns"
        return f"Line {self.lines.number} of {self.lines.name} has {found} {columns} where {expected} belong."
