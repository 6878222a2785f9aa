"""Tables: CSV and TSV, whose first line names the columns, read so that a broken row spoils no other; and Parquet."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bertie.data.conll import conll_records
from bertie.data.lines import LIMIT, Lines, remedy
from bertie.data.record import Record
from bertie.errors import InputError, counted, spelled
from bertie.extras import need

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
# the number of rows from which the delimiter is guessed, and of lines from which the quoting is
_SAMPLE, _QUOTING_SAMPLE = 20, 10_000
# the number of lines that show whether a file is a table or has one word per line
_WORDS_SAMPLE = 200
# the names of columns are shorter
_LONG = 60


def csv_records(lines: Lines) -> Iterator[Record]:
    """Yield the rows of a table with commas, or with tabs, semicolons or bars if these fit its header better."""
    return _records(lines, ",")


def tsv_records(lines: Lines) -> Iterator[Record]:
    """Yield the rows of tab-separated values, or of CoNLL, one word per line, unless the user says tsv."""
    if lines.format.name is None and _are_words(lines.peek(_WORDS_SAMPLE)):
        lines.notes.append(
            f"{lines.name} is read as CoNLL, one word per line ({spelled('format', 'tsv')} reads a table)."
        )
        return conll_records(lines)
    return _records(lines, "\t")


def _are_words(lines: Sequence[str]) -> bool:
    """Whether blank lines separate blocks of lines that, except comments, have equally many cells without spaces."""
    blocks = "".join(line.rstrip(" \r\n") + "\n" for line in lines).strip("\n").split("\n\n")
    rows = [[line for line in block.split("\n") if not line.startswith("#")] for block in blocks]
    cells = [line.split("\t") for block in rows for line in block]
    are_even = len({len(row) for row in cells}) == 1 and not any(" " in cell for row in cells for cell in row)
    return len(blocks) > 1 and are_even and any(len(block) > 1 for block in rows)


def _records(lines: Lines, usual: str) -> Iterator[Record]:
    header, delimiter = _header(lines, usual)
    for first, cells in _rows(lines, delimiter, len(header)):
        if len(cells) == len(header):
            fields = dict(zip(header, cells, strict=True))
            fields.pop("", None)
            yield lines.record(fields, first)
            continue
        found, columns = counted(len(cells), "cell"), ", ".join(map(repr, header))
        hint = " (a text that contains the delimiter must be quoted)" if len(cells) > len(header) else ""
        lines.refuse(f"has {found} where the header names {len(header)}: {columns}{hint}.", first)


class _Unquoted(Exception):
    """Raised within csv's reader at the line that shows that quotation marks are text."""


def _rows(lines: Lines, delimiter: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row with the number of its first line, skipping blank lines."""
    lines.forget()
    if lines.format.quoting != "none":
        try:
            yield from _quoted_rows(lines, delimiter, columns)
            return
        except _Unquoted:
            how = spelled("quoting", "csv")
            lines.notes.append(f"{lines.name} is read with quotation marks as text ({how} reads them as CSV).")
            lines.put_back(0)
    for line in filter(str.strip, lines.rows()):
        yield lines.number, line.rstrip("\r\n").split(delimiter)


def _quoted_rows(lines: Lines, delimiter: str, columns: int) -> Iterator[tuple[int, list[str]]]:
    # the limit is global to the process, so it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), LIMIT))
    is_sure = lines.format.quoting == "csv" or delimiter != "\t"
    source = lines if is_sure else _watched(lines, delimiter, columns)
    # strict: an unclosed quotation mark must not silently swallow the rest of the file
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.refuse(_broken(error), lines.first)
            lines.put_back(1)
            continue
        first, is_blank = lines.first, not cells or (columns > 1 and not "".join(cells).strip() and len(cells) == 1)
        if lines.forget() and not is_blank:
            yield first, cells


def _watched(lines: Lines, delimiter: str, columns: int) -> Iterator[str]:
    """Yield the lines. The first one with a cell that begins with a quotation mark, and those after it, decide whether
    quotation marks are text.
    """
    begins_quoted = re.compile(f'(?:^|{re.escape(delimiter)})"')
    for line in lines:
        if begins_quoted.search(line):
            if _are_plain([line, *lines.peek(_QUOTING_SAMPLE)], delimiter, columns):
                raise _Unquoted
            yield line
            break
        yield line
    yield from lines


def _are_plain(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Whether each line is a complete row if quotation marks are text, and CSV's rows are broken or span lines."""
    lines = [line for line in lines if line.strip()]
    if any(line.count(delimiter) + 1 != columns for line in lines):
        return False
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, strict=True))) != len(lines)
    except csv.Error:
        return True


def _broken(error: csv.Error) -> str:
    if "new-line" in str(error):
        return "has a carriage return within a row; save the file with line feeds."
    return (
        f"does not begin a row of a table: {error}. A text with quotation marks must be quoted, and its own marks "
        f'doubled: "say ""hi"""; if they are plain text, say {spelled("quoting", "none")}.'
    )


def _header(lines: Lines, usual: str) -> tuple[list[str], str]:
    line = next(filled := filter(str.strip, lines), "")
    if named := re.fullmatch(r"sep=(.)\s*", line):  # Excel's declaration of the delimiter, before the header
        line = next(filled, "")
    if not lines.is_whole:
        raise InputError(f"The header of {lines.name} is not UTF-8 text; {remedy()}.")
    if "\x00" in line:
        raise InputError(f"The header of {lines.name} holds NUL characters; {remedy('utf-16-le')}.")
    delimiter = lines.format.delimiter or (named[1] if named else _delimiter(line, lines, usual))
    if names := _names_of_ms_marco(line.rstrip("\r\n").split("\t") if delimiter == "\t" else []):
        lines.notes.append(f"{lines.name} has no header; its columns are read as MS MARCO's: {', '.join(names)}.")
        lines.put_back(0)
        return names, delimiter
    try:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise InputError(f"Line {lines.number} of {lines.name} {_broken(error)}") from None
    _check(header, lines)
    return header, delimiter


def _names_of_ms_marco(cells: Sequence[str]) -> list[str]:
    """Return the names of the columns of MS MARCO's files, if a first line is a row of theirs rather than a header."""
    if len(cells) == 4 and all(cell.isdecimal() for cell in cells[:2]):
        return ["qid", "pid", "query", "passage"]
    are_passages = len(cells) == 3 and all(len(cell) > _LONG for cell in cells[1:])
    return ["query", "positive", "negative"] if are_passages else []


def _delimiter(header: str, lines: Lines, usual: str) -> str:
    """Return the delimiter: the usual one, unless another is in the header and splits all rows alike."""
    present = [one for one in (usual, *_DELIMITERS) if one in header]
    if not present or set(present) == {usual}:
        return usual
    rows = lines.peek(_SAMPLE)
    fitting = [one for one in present if _splits_evenly(one, [header, *rows], is_cut=len(rows) == _SAMPLE)]
    if usual in fitting or (usual in present and not fitting):
        return usual
    if not fitting and present == ["|"]:
        raise InputError(
            f"The header of {lines.name} is {header.strip()!r:.60}, and bars do not split all rows alike: name the "
            f"delimiter, such as {spelled('delimiter', '|')}."
        )
    found = (fitting or present)[0]
    lines.notes.append(
        f"The columns of {lines.name} are separated by {_DELIMITERS[found]} ({spelled('delimiter')} names others)."
    )
    return found


def _splits_evenly(delimiter: str, lines: Sequence[str], is_cut: bool) -> bool:
    """Whether a delimiter splits all rows into equally many cells, except the last if ``lines`` may cut it off."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return False
    return len({len(row) for row in (rows[:-1] if is_cut else rows)}) == 1


def _check(header: list[str], lines: Lines) -> None:
    name = lines.name
    if not any(header):
        raise InputError(f"{name} has no header: its first line must name the columns, as in text,label.")
    # pandas writes its index as a first column without a name
    unnamed = [number for number, column in enumerate(header, 1) if not column and number > 1]
    if unnamed and not any(header[unnamed[0] :]):
        # Excel writes commas up to the last column that was ever used
        numbers = ", ".join(map(str, unnamed))
        lines.notes.append(f"Columns of {name} without a name in the header are not read: {numbers}.")
    elif unnamed:
        raise InputError(f"Column {unnamed[0]} of {name} has no name in the header; the first line must name each.")
    doubled = next((column for column in header if column and header.count(column) > 1), None)
    if doubled is not None:
        raise InputError(f"Two columns of {name} are called {doubled!r}; give each a name of its own.")


def parquet_records(path: Path) -> Iterator[Record]:
    parquet = need("pyarrow.parquet", "parquet", "Reading Parquet files")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    yield Record(fields, f"{path}, row {number}")
                    number += 1
    # pyarrow's errors are ValueErrors and OSErrors
    except (OSError, ValueError) as error:
        reason = (str(error) or "?").splitlines()[0].rstrip(".")
        raise InputError(f"The file {str(path)!r} cannot be read as Parquet: {reason}.") from error
