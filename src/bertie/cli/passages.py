"""``bertie search`` and ``bertie rerank``: the passages of a file that match a question, best first."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.reading import InputOptions, InputRow
from bertie.cli.writing import OutputOptions, redirect_answers
from bertie.data.sentences import sentences
from bertie.errors import CheckpointError, InputError
from bertie.messages import listed
from bertie.progress import say_once
from bertie.writing import with_answer


class Questions(InputOptions):
    """Texts from arguments or standard input."""

    file_hint = "to read the file of that name, redirect it to standard input with '<'"


def search(
    file: Annotated[Path, Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, Argument(help="Questions; by default, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[
        str, Option(help="What to search: each 'line' (or row of a table), or each 'sentence' in them.")
    ] = "line",
    where: Annotated[
        list[str] | None, Option(help="Search only rows with this value: COLUMN=VALUE; may be repeated.")
    ] = None,
    index: Annotated[
        Path | None, Option(help="Where to keep the vectors; the default is .FILE.index beside the file.")
    ] = None,
    no_index: Annotated[bool, Option("--no-index", help="Compute all vectors again, and keep none.")] = False,
    approximate: Annotated[
        bool, Option("--approximate", help="Search more than a million texts approximately (needs usearch).")
    ] = False,
    precision: Annotated[
        str, Option(help="binary: compare the vectors' sign bits first, and rescore the best texts exactly.")
    ] = "float32",
    rescore_multiplier: Annotated[int, Option(min=1, help="With binary: rescore this many times --top-k texts.")] = 10,
    *,
    model: options.ModelOptions,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question.

    The texts' vectors are kept; the next search only computes those of new and changed texts.
    """
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    if index is not None and no_index:
        raise InputError("--no-index keeps no vectors, but --index says where to keep them; give one of them.")
    out = output.writer()
    read = InputOptions(None, file).read(form, column)
    if by == "sentence":
        from bertie.data import form_of

        read = _sentences(read, form_of(file, form.format) == "lines")
    found = _non_empty(read, file, "text to search")
    among = _matching_rows(found, where or [])
    pipe = model.pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    folder = None if no_index else index or _default_index(file, by)
    texts = [one.text for one in found]
    try:
        searched = SearchIndex(
            texts, pipe, folder, approximate, precision=precision, rescore_multiplier=rescore_multiplier
        )
    except CheckpointError as error:
        if folder is None:
            raise
        raise CheckpointError(f"{error}. With --no-index, no vectors are kept.") from None
    asked = [one.text for one in Questions(questions).read()]
    with redirect_answers(output.output, file):
        for question, hits in zip(asked, searched.search(asked, top_k, among), strict=True):
            for rank, hit in enumerate(hits, 1):
                one = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), **_location(one, file)}
                out.write(with_answer(_other_fields(one), {**answer, "text": one.text}))
        out.end()


def rerank(
    file: Annotated[Path, Argument(help="The passages: .jsonl, .csv, .tsv, or one per line.")],
    queries: Annotated[list[str] | None, Argument(help="Queries; by default, standard input.")] = None,
    top_k: Annotated[
        int | None, Option("--top-k", "-k", min=1, help="Give this many passages; the default is all.")
    ] = None,
    *,
    model: options.WindowOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Rank the passages of a file by how well they answer a query, with a cross-encoder, best first."""
    out = output.writer()
    found = _non_empty(InputOptions(None, file).read(form, column), file, "passage to rank")
    pipe = model.pipeline("reranking", top_k=top_k)
    passages = [row.text for row in found]
    with redirect_answers(output.output, file):
        for query in Questions(queries).read():
            for rank, one in enumerate(pipe(query.text, passages), 1):
                row = found[one.pop("index")]
                answer = {
                    "query": query.text,
                    "rank": rank,
                    "score": round(one.pop("score"), 6),
                    **_location(row, file),
                }
                out.write(with_answer(_other_fields(row), answer | one))
        out.end()


def _sentences(rows: Iterator[InputRow], are_lines: bool) -> Iterator[InputRow]:
    """Yield the sentences of each row, or of each paragraph of plain text, with the row in which they begin."""
    parts = (list(some) for _, some in groupby(rows, lambda one: not one.text.strip()))
    for part in parts if are_lines else ([one] for one in rows):
        begins = [one for one in part for _ in one.text.split()]  # the row of each word
        read = 0
        for sentence in sentences("\n".join(one.text for one in part)):
            yield InputRow(sentence, _other_fields(begins[read]), begins[read].where)
            read += len(sentence.split())


def _default_index(file: Path, by: str) -> Path | None:
    """Return where to keep the vectors of a file's texts; None if its folder is read-only."""
    path = file.resolve()
    folder = path.with_name(f".{path.name}.index") / by
    if folder.is_dir() or os.access(path.parent, os.W_OK):
        return folder
    say_once(f"{str(path.parent)!r} is read-only: vectors are not kept; name a folder for them with --index")
    return None


def _matching_rows(rows: list[InputRow], where: list[str]) -> list[int] | None:
    """Return the numbers of the rows that have the values of ``where``; None without ``where``."""
    wanted = {}
    for one in where:
        name, sign, value = one.partition("=")
        if not sign:
            raise InputError(f"--where is {one!r}; it is COLUMN=VALUE, such as source=mail.")
        if not any(name in row.row for row in rows):
            names = sorted({each for row in rows for each in row.row})
            raise InputError(f"--where names the column {name!r}, which no row has; there are {listed(names)}.")
        wanted[name] = value
    if not wanted:
        return None
    return [
        number
        for number, row in enumerate(rows)
        if all(_as_typed(row.row.get(name)) == value for name, value in wanted.items())
    ]


def _as_typed(value: object) -> str | None:
    """Return a value as the user would type it: true, 3, a text; None stays None."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _non_empty(rows: Iterable[InputRow], file: Path, wanted: str) -> list[InputRow]:
    """Return the rows whose texts are not empty; an error if there are none."""
    if not (found := [row for row in rows if row.text.strip()]):
        raise InputError(f"The file {str(file)!r} has no {wanted}.")
    return found


def _location(asked: InputRow, file: Path) -> dict[str, Any]:
    """Return the line or row of a text, and its file if ``file`` is a folder."""
    name, _, place = asked.where.rpartition(", ")
    kind, _, number = place.partition(" ")
    found: dict[str, Any] = {kind: int(number)} if number.isdigit() else {"where": place}
    return found if name == str(file) else {"file": name, **found}


def _other_fields(asked: InputRow) -> Mapping[str, Any]:
    """Return the row without its text, which is in the answer."""
    return {name: value for name, value in asked.row.items() if value != asked.text}
