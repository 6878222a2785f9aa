"""CoNLL: one word and its tags per line, blank lines between sentences; also CoNLL-U's comments and word numbers."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bertie.data.lines import Lines
from bertie.data.record import Record
from bertie.errors import counted, spelled

# not str.split(): a word may contain a no-break space or another of Unicode's spaces
_GAP = re.compile("[ \t]+")
_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#(\s|$)")
# the ids 1-2 and 8.1 of CoNLL-U: a multiword token, and an empty node, which is not in the text
_NO_WORD = re.compile(r"\d+[-.]\d+")
# names in a header for the columns of words and tags
_WORDS_NAME = re.compile(r"words?|tokens?|form", re.IGNORECASE)
_TAGS_NAME = re.compile(r"((ner|pos|chunk|bio|iob)[_ -]?)?(tags?|labels?)|ner|pos|upos|entity|entities", re.IGNORECASE)
# lines from which the columns are guessed
_SAMPLE = 200


def conll_records(lines: Lines) -> Iterator[Record]:
    """Yield each sentence, column by column: ``words`` and ``tags``, and every other column under its number from 1.

    Columns are separated by tabs or spaces. A first line such as ``token label`` names those of words and tags.
    Otherwise words are the first column and tags the last; if the first numbers the words, words are the second and
    tags those of CoNLL-U (part of speech) or GermEval (outer entities). A file of one column has only ``words``. A
    sentence with a bad line is bad as a whole, so that no tag is ever shifted to another word.
    """
    layout = _find_layout(lines)
    skipped: Counter[str] = Counter()
    for sentence in _sentences(lines, layout.header):
        yield from _record(sentence, layout, lines, skipped)
    lines.notes.extend(f"{lines.name}: {what}: {count:,}." for what, count in skipped.items())


@dataclass(frozen=True)
class _Layout:
    """The columns of a file: their separator, those of words and tags (from 0), and whether the first numbers words."""

    columns: int
    is_tabbed: bool = False
    words: int = 0
    tags: int | None = None
    is_numbered: bool = False
    header: str | None = None  # the line that names the columns, if there is one

    def cells(self, text: str) -> list[str]:
        return text.split("\t") if self.is_tabbed else _GAP.split(text.strip(" "))

    def names(self) -> list[str]:
        found = [str(number) for number in range(1, self.columns + 1)]
        if self.tags is not None:
            found[self.tags] = "tags"
        found[self.words] = "words"
        return found

    def skips(self, text: str, cells: Sequence[str], is_first: bool) -> str | None:
        """Return why a line is not a word: it is a comment (the word # would have tags), or not a word in CoNLL-U."""
        is_comment = is_first and len(cells) != self.columns and _COMMENT.match(text)
        if is_comment or (self.is_numbered and text.startswith("#")):
            return "lines that begin with # are comments"
        if self.is_numbered and _NO_WORD.fullmatch(cells[0]):
            return "lines such as 1-2 and 8.1, which are not single words of the text, are left out"
        return None


def _find_layout(lines: Lines) -> _Layout:
    """Guess the layout from the first lines, and note it if there are more than two columns."""
    sample = [line.rstrip("\r\n") for line in lines.peek(_SAMPLE)]
    rows = [line for line in sample if line.strip(" \t") and not line.startswith(_DOCUMENT)]
    # all lines may begin with #, where it is a word
    rows = [line for line in rows if not line.startswith("#")] or rows
    is_tabbed = bool(rows) and "\t" in rows[0]
    cells = _Layout(1, is_tabbed).cells
    first = cells(rows[0]) if rows else []
    columns = len(first) or 1
    if columns == 1:
        return _Layout(1, is_tabbed)
    named = [
        [at for at, cell in enumerate(first) if name.fullmatch(cell.strip())] for name in (_WORDS_NAME, _TAGS_NAME)
    ]
    if all(named):
        lines.notes.append(
            f"{lines.name}: the first line, {rows[0].strip()!r:.60}, names the columns and is not a word."
        )
        return _Layout(columns, is_tabbed, named[0][0], named[1][-1], header=rows[0])
    is_numbered = columns > 2 and _are_word_numbers([cells(line)[0] for line in sample if not line.startswith("#")])
    tags = _numbered_tags([cells(line) for line in rows], columns) if is_numbered else columns - 1
    if columns > 2:
        first_numbers = ", column 1 numbers them" if is_numbered else ""
        how = spelled("columns", {"words": "…", "tags": "…"})
        lines.notes.append(
            f"{lines.name}: words are column {1 + is_numbered} of {columns}{first_numbers}, tags column {tags + 1} "
            f"({how})."
        )
    return _Layout(columns, is_tabbed, int(is_numbered), tags, is_numbered)


def _numbered_tags(rows: Sequence[Sequence[str]], columns: int) -> int:
    """Return the column of the tags, from 0, in a file whose first column numbers the words."""
    if columns == 10:
        return 3  # CoNLL-U: the part of speech
    if columns == 4 and any(row[2:3] == ["O"] for row in rows):
        return 2  # GermEval: the outer entities, followed by the nested ones
    return columns - 1


def _are_word_numbers(cells: Sequence[str]) -> bool:
    """Whether the first cells of lines number the words of each sentence from 1; a blank line starts a new sentence."""
    numbers = [cell for cell in cells if not _NO_WORD.fullmatch(cell) and cell != _DOCUMENT]
    before, words = 0, 0
    for cell in numbers:
        if cell and cell != str(before + 1):
            return False
        before, words = (before + 1 if cell else 0), words + bool(cell)
    return words > 1


def _sentences(lines: Lines, header: str | None) -> Iterator[list[tuple[int, str | None]]]:
    """Yield the numbered lines of each sentence; None stands for a line that could not be decoded."""
    sentence: list[tuple[int, str | None]] = []
    for line in lines:
        text, is_whole = line.rstrip("\r\n"), lines.forget()
        if text == header:
            header = None
        elif text.strip(" \t") and not text.startswith(_DOCUMENT):
            sentence.append((lines.number, text if is_whole else None))
        else:
            yield sentence
            sentence = []
    yield sentence


def _record(
    sentence: list[tuple[int, str | None]], layout: _Layout, lines: Lines, skipped: Counter[str]
) -> Iterator[Record]:
    """Yield the record of a sentence, unless it is empty or a line of it is bad."""
    rows: list[list[str]] = []
    first = 0
    for number, text in sentence:
        if text is None:
            return
        cells = layout.cells(text)
        if (why := layout.skips(text, cells, is_first=not rows)) is not None:
            skipped[why] += 1
            continue
        first = first or number
        if len(cells) != layout.columns:
            found = counted(len(cells), "column")
            lines.refuse(f"has {found}, but the first line has {layout.columns}.", number)
            return
        rows.append(cells)
    if rows:
        fields = dict(zip(layout.names(), map(list, zip(*rows, strict=True)), strict=True))
        if "tags" in fields:
            fields["tags"] = [tag.strip() for tag in fields["tags"]]
        yield lines.record(fields, first)
