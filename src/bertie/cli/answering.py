"""The loop of the commands that answer text by text: read, answer in batches, write one JSON line each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

from bertie.cli.writing import answers_in, with_text, writer


def answer_all(
    pipe: Any,
    source: Iterator[Any],
    interactive: bool,
    form: Callable[[Any], dict[str, Any]],
    beside: Callable[[Any, dict[str, Any]], dict[str, Any]] = with_text,
    to: str = "jsonl",
    output: Path | None = None,
    read: Sequence[Path | None] = (),
) -> None:
    """Write the answer of each text of ``source`` after the text itself.

    Args:
        pipe: the pipeline.
        source: the texts, or what the task reads in their place, one by one.
        interactive: whether a person is typing them and each is to be answered at once.
        form: makes a JSON object of an answer.
        beside: puts that beside the text it belongs to.
        to: "jsonl" or "csv".
        output: the file to write; None: standard output.
        read: the files that the texts come from.

    Raises:
        InputError: ``to`` is something else, or the answers would replace what is read.
        CheckpointError: the file cannot be written.
    """
    with answers_in(output, *read):
        cut, total = _answer(pipe, source, interactive, form, beside, writer(to))
    if cut:
        limit = pipe.codec.limit
        print(f"bertie: {cut} of {total} texts were longer than {limit} tokens and were cut", file=sys.stderr)


def _answer(
    pipe: Any,
    source: Iterator[Any],
    interactive: bool,
    form: Callable[[Any], dict[str, Any]],
    beside: Callable[[Any, dict[str, Any]], dict[str, Any]],
    write: Callable[[dict[str, Any]], None],
) -> tuple[int, int]:
    """Write all answers; return how many of how many texts were cut."""
    asked, shown = tee(source)
    cut = total = 0
    for answered in pipe.stream(asked, **({"chunk": 1} if interactive else {})):
        marks: dict[str, Any] = {"truncated": answered.truncated} if answered.truncated else {}
        if answered.empty:
            marks["empty"] = True
        write(beside(next(shown), form(answered.answer) | marks))
        cut, total = cut + (answered.truncated > 0), total + 1
        if interactive:
            sys.stdout.flush()
    return cut, total
