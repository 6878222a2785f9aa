"""Forms with one record a line: plain lines and JSON lines."""

import json
from collections.abc import Iterator

from bertie.reading.lines import Lines
from bertie.reading.record import BadRows, Record


def plain_lines(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield each line, blank ones too, as the field ``text``."""
    del bad
    for line in lines:
        if lines.forget():
            yield Record({"text": line.rstrip("\r\n")}, f"{lines.name}, line {lines.number}")


def json_lines(lines: Lines, bad: BadRows) -> Iterator[Record]:
    """Yield the JSON object of each line that is not blank."""
    for line in lines:
        if not lines.forget() or not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.add(f"Line {lines.number} of {lines.name} is no JSON: {str(error)[:100]}.")
            continue
        if not isinstance(fields, dict):
            bad.add(f'Line {lines.number} of {lines.name} is no JSON object with named fields, as in {{"text": …}}.')
            continue
        yield Record(fields, f"{lines.name}, line {lines.number}")
