"""CoNLL: a word and its tags a line, a blank line after each sentence; with CoNLL-U's comments and numbered words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bertie.data.lines import Lines
from bertie.data.record import BadRows, Record
from bertie.errors import counted, spelled

# not str.split(): a word may hold a no-break space or any other of Unicode's
_GAP = re.compile("[ \t]+")
_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#(\s|$)")
# lines 1-2 and 8.1 of CoNLL-U: a form that covers two words, and a word that is not in the text
_NO_WORD = re.compile(r"\d+[-.]\d+")
# what a header may call the columns of words and tags
_WORDS_NAME = re.compile(r"words?|tokens?|form", re.IGNORECASE)
_TAGS_NAME = re.compile(r"((ner|pos|chunk|bio|iob)[_ -]?)?(tags?|labels?)|ner|pos|upos|entity|entities", re.IGNORECASE)
# lines by which columns are guessed
_FEW = 200


def conll_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield each sentence, column by column: ``words`` and ``tags``, and each other column under its number from 1.

    A tab or blanks part the columns. A first line such as ``token label`` names those of words and tags. Without it,
    words are the first column and tags the last; where the first counts the words, words are the second and tags as
    CoNLL-U (part of speech) and GermEval (outer entities) have them. A file of one column has ``words`` alone. A
    sentence with a bad line is bad as a whole, so that no tag is ever shifted to another word.
    """
    layout = _layout(lines)
    sentence = _Sentence(lines, bad, layout)
    header = layout.header
    for line in lines:
        text = line.rstrip("\r\n")
        whole = lines.forget()
        if text == header:
            header = None
        elif not text.strip(" \t") or text.startswith(_DOCUMENT):
            yield from sentence.finished()
        elif whole:
            sentence.add(text)
        else:
            sentence.is_good = False
    yield from sentence.finished()
    lines.notes.extend(f"{lines.name}: {what}: {count:,}." for what, count in sentence.skipped.items())


@dataclass(frozen=True)
class _Layout:
    """The columns of a file: what parts them, those of words and tags (from 0), and whether the first counts words.

    ``header`` is the line that names them, if there is one.
    """

    columns: int
    is_tabbed: bool = False
    words: int = 0
    tags: int | None = None
    is_counted: bool = False
    header: str | None = None

    def cells(self, text: str) -> list[str]:
        return text.split("\t") if self.is_tabbed else _GAP.split(text.strip(" "))

    def names(self) -> list[str]:
        found = [str(number) for number in range(1, self.columns + 1)]
        if self.tags is not None:
            found[self.tags] = "tags"
        found[self.words] = "words"
        return found

    def describe(self, name: str) -> str:
        counted = ", column 1 counts them" if self.is_counted else ""
        how = spelled("columns", {"words": "…", "tags": "…"})
        tags = (self.tags or 0) + 1
        return f"{name}: words are column {self.words + 1} of {self.columns}{counted}, tags column {tags} ({how})."


def _layout(lines: Lines) -> _Layout:
    """Return how the columns look by the first lines, and note it where there are more than two."""
    sample = [line.rstrip("\r\n") for line in lines.peek(_FEW)]
    rows = [line for line in sample if line.strip(" \t") and not line.startswith(_DOCUMENT)]
    # a word may begin with that sign too, and a file begin with it
    rows = [line for line in rows if not line.startswith("#")] or rows
    one = _Layout(1, is_tabbed="\t" in rows[0] if rows else False)
    columns = len(one.cells(rows[0])) if rows else 1
    if columns == 1:
        return one
    if named := _named(rows[0], one, columns):
        lines.notes.append(f"{lines.name}: the first line, {rows[0].strip()!r:.60}, names the columns and is no word.")
        return named
    is_counted = columns > 2 and _counts([one.cells(line)[0] for line in sample if not line.startswith("#")])
    tags = _tags_of_counted([one.cells(line) for line in rows], columns) if is_counted else columns - 1
    layout = _Layout(columns, one.is_tabbed, int(is_counted), tags, is_counted)
    if columns > 2:
        lines.notes.append(layout.describe(lines.name))
    return layout


def _named(line: str, one: _Layout, columns: int) -> _Layout | None:
    """Return how the columns are named by a first line, if it is a header."""
    cells = one.cells(line)
    words = next((place for place, cell in enumerate(cells) if _WORDS_NAME.fullmatch(cell.strip())), None)
    tags = [place for place, cell in enumerate(cells) if _TAGS_NAME.fullmatch(cell.strip())]
    if words is None or not tags:
        return None
    return replace(one, columns=columns, words=words, tags=tags[-1], header=line)


def _tags_of_counted(rows: Sequence[Sequence[str]], columns: int) -> int:
    """Return the column of the tags, from 0, in a file whose first column counts the words."""
    if columns == 10:
        return 3  # CoNLL-U: the part of speech
    if columns == 4 and any(row[2:3] == ["O"] for row in rows):
        return 2  # GermEval: the outer entities, before those within them
    return columns - 1


def _counts(cells: Sequence[str]) -> bool:
    """Whether the first cells of lines count the words of each sentence from 1; a blank line begins anew."""
    numbers = [cell for cell in cells if not _NO_WORD.fullmatch(cell) and cell != _DOCUMENT]
    before, words = 0, 0
    for cell in numbers:
        if cell and cell != str(before + 1):
            return False
        before, words = (before + 1 if cell else 0), words + bool(cell)
    return words > 1


@dataclass
class _Sentence:
    """The sentence being read."""

    lines: Lines
    bad: BadRows
    layout: _Layout
    skipped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.rows: list[list[str]] = []
        self.is_good, self.first = True, 0

    def add(self, text: str) -> None:
        cells, columns = self.layout.cells(text), self.layout.columns
        if self._is_no_word(text, cells):
            return
        self.first = self.first or self.lines.number
        if not self.is_good:
            return
        if len(cells) != columns:
            self.is_good = False
            where, found = f"Line {self.lines.number} of {self.lines.name}", counted(len(cells), "column")
            self.bad.add(f"{where} has {found} where {columns} as in the first line belong.")
            return
        self.rows.append(cells)

    def finished(self) -> Iterator[Record]:
        if self.is_good and self.rows:
            columns = map(list, zip(*self.rows, strict=True))
            fields = dict(zip(self.layout.names(), columns, strict=True))
            if "tags" in fields:
                fields["tags"] = [tag.strip() for tag in fields["tags"]]
            yield Record(fields, f"{self.lines.name}, line {self.first}")
        self._begin()

    def _is_no_word(self, text: str, cells: list[str]) -> bool:
        """Whether a line is a comment, or one of CoNLL-U's that is no word; a word # has its tags beside it."""
        counted = self.layout.is_counted
        begins = not self.rows and len(cells) != self.layout.columns and _COMMENT.match(text)
        if begins or (counted and text.startswith("#")):
            what = "lines that begin with # are comments"
        elif counted and _NO_WORD.fullmatch(cells[0]):
            what = "lines such as 1-2 and 8.1, which are no words of their own, are left out"
        else:
            return False
        self.skipped[what] = self.skipped.get(what, 0) + 1
        return True
