"""The loop of the commands that answer text by text: read, answer in batches, write one JSON line each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

from bertie.cli.reading import Asked
from bertie.cli.writing import answers_in
from bertie.data import beside
from bertie.errors import counted, plural
from bertie.writing import Lines, form_of_output, writer


def answer_all(
    pipe: Any,
    source: Iterator[Asked],
    interactive: bool,
    form: Callable[[Any, Any], dict[str, Any]],
    to: str | None = None,
    more: Sequence[str] = (),
    output: Path | None = None,
    read: Sequence[Path | None] = (),
) -> None:
    """Write the answer to each row of ``source`` after the row itself.

    Args:
        pipe: the pipeline.
        source: what is asked, one by one.
        interactive: whether a person is typing and each is to be answered at once.
        form: makes a JSON object of a text and its answer.
        to: "jsonl", "csv", "tsv", or one of ``more``; None: as the output's name ends.
        more: other forms of answers that the command has.
        output: the file to write; None: standard output.
        read: the files that the texts come from.

    Raises:
        InputError: ``to`` is something else, or the answers would replace what is read.
        CheckpointError: the file cannot be written.
    """
    out = writer(form_of_output(output, to, more), later=("truncated", "empty"))
    with answers_in(output, *read):
        cut, total = _answer(pipe, source, interactive, form, out)
        out.end()
    if cut:
        limit = pipe.codec.limit
        print(
            f"bertie: {cut} of {counted(total, 'text')} {plural(cut, 'was', 'were')} longer than {limit} tokens and "
            f"{plural(cut, 'was', 'were')} cut",
            file=sys.stderr,
        )


def _answer(
    pipe: Any, source: Iterator[Asked], interactive: bool, form: Callable[[Any, Any], dict[str, Any]], out: Lines
) -> tuple[int, int]:
    """Write all answers; return how many of how many texts were cut."""
    asked, shown = tee(source)
    cut = total = 0
    for answered in pipe.stream((one.text for one in asked), **({"chunk": 1} if interactive else {})):
        marks: dict[str, Any] = {"truncated": answered.truncated} if answered.truncated else {}
        if answered.empty:
            marks["empty"] = True
        text, row = next(shown)
        out.write(beside(row, form(text, answered.answer) | marks))
        cut, total = cut + (answered.truncated > 0), total + 1
        if interactive:
            sys.stdout.flush()
    return cut, total
