"""CSV and TSV: the first line names the columns, a row may span lines, and a broken row costs no other."""

import csv
from collections.abc import Iterator

from bertie.errors import InputError
from bertie.reading.lines import LIMIT, Lines
from bertie.reading.record import BadRows, Record


def csv_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield the rows of comma-separated values; semicolons or tabs if the header has these and no comma."""
    return _records(lines, ",", bad)


def tsv_records(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield the rows of tab-separated values, quoted as in CSV."""
    return _records(lines, "\t", bad)


def _records(lines: Lines, delimiter: str, bad: BadRows) -> Iterator[Record]:
    header, delimiter = _header(lines, delimiter)
    for first, cells in _rows(lines, delimiter, bad):
        if len(cells) != len(header):
            bad.add(_ragged(lines.name, first, cells, header))
            continue
        fields = dict(zip(header, cells, strict=True))
        fields.pop("", None)
        yield Record(fields, f"{lines.name}, line {first}")


def _rows(lines: Lines, delimiter: str, bad: BadRows) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row with the number of its first line; blank lines are none."""
    # the limit is the process's: it is only ever raised
    csv.field_size_limit(max(csv.field_size_limit(), LIMIT))
    # strict: a quotation mark that is never closed must not swallow the rest of the file in silence
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    lines.forget()
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            bad.add(_broken(lines.name, lines.first, error))
            lines.put_back(1)
            continue
        first = lines.first
        if lines.forget() and cells:
            yield first, cells


def _header(lines: Lines, delimiter: str) -> tuple[list[str], str]:
    """Return the names of the columns, and the delimiter."""
    line = next((line for line in lines if line.strip()), "")
    if lines.is_damaged:
        raise InputError(f"The header of {lines.name} is not UTF-8 text; save the file as UTF-8.")
    if "\x00" in line:
        raise InputError(f"The header of {lines.name} holds NUL characters; save the file as UTF-8, not UTF-16.")
    if delimiter == "," and "," not in line:
        delimiter = next((other for other in ";\t" if other in line), ",")
    try:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise InputError(_broken(lines.name, lines.number, error)) from error
    _check(header, lines.name)
    return header, delimiter


def _check(header: list[str], name: str) -> None:
    if not any(header):
        raise InputError(f"{name} has no header: its first line must name the columns, as in text,label.")
    # pandas writes its index as a first column without a name, which nobody asks for
    unnamed = [number for number, column in enumerate(header, 1) if not column and number > 1]
    if unnamed:
        raise InputError(f"Column {unnamed[0]} of {name} has no name in the header; its first line must name each.")
    doubled = next((column for column in header if header.count(column) > 1), None)
    if doubled is not None:
        raise InputError(f"Two columns of {name} are called {doubled!r}; give each a name of its own.")


def _ragged(name: str, line: int, cells: list[str], header: list[str]) -> str:
    found = f"{len(cells)} cell{'' if len(cells) == 1 else 's'}"
    columns = ", ".join(repr(column) for column in header)
    hint = " (a text with the delimiter in it stands in quotation marks)" if len(cells) > len(header) else ""
    return f"Line {line} of {name} has {found} where the header names {len(header)}: {columns}{hint}."


def _broken(name: str, line: int, error: csv.Error) -> str:
    if "new-line" in str(error):
        return f"Line {line} of {name} has a carriage return within a row; save the file with line feeds."
    return (
        f"Line {line} of {name} begins no row of a table: {error}. A text with quotation marks stands in quotation "
        'marks, and its own are doubled: "say ""hi""".'
    )
