"""``bertie search`` and ``bertie rerank``: the passages of a file that answer a question, best first."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.reading import Asked, InputOptions
from bertie.cli.writing import OutputOptions, answers_in
from bertie.data.sentences import sentences
from bertie.errors import CheckpointError, InputError
from bertie.messages import listed
from bertie.progress import say_once
from bertie.writing import with_answer


class Questions(InputOptions):
    """Texts of arguments or of standard input."""

    of_file = "standard input may be the file of that name, with '<' before it"


def search(
    file: Annotated[Path, Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[
        str, Option(help="What is found: each 'line' (of a table, row), or each 'sentence' in them.")
    ] = "line",
    where: Annotated[
        list[str] | None, Option(help="Search rows with this value alone: COLUMN=VALUE; may be repeated.")
    ] = None,
    index: Annotated[
        Path | None, Option(help="Where vectors are kept; the default is .FILE.index beside the file.")
    ] = None,
    no_index: Annotated[bool, Option("--no-index", help="Compute all vectors anew, and keep none.")] = False,
    approximate: Annotated[
        bool, Option("--approximate", help="Do not look at all texts, of more than a million (needs usearch).")
    ] = False,
    precision: Annotated[
        str, Option(help="binary: look at a bit of each number first, and compare the best texts exactly.")
    ] = "float32",
    rescore_multiplier: Annotated[
        int, Option(min=1, help="With binary: compare so many times --top-k texts exactly.")
    ] = 10,
    *,
    model: options.ModelOptions,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question.

    The texts' vectors are kept; at the next search only those of new and changed texts are computed.
    """
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    if index is not None and no_index:
        raise InputError("--no-index keeps no vectors, and --index says where; give one of them.")
    out = output.writer()
    read = InputOptions(None, file).read(form, column)
    if by == "sentence":
        from bertie.data import form_of

        read = _sentences(read, form_of(file, form.format) == "lines")
    found = _found(read, file, "text to search")
    among = _with_values(found, where or [])
    pipe = model.pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    kept = None if no_index else index or _beside(file, by)
    texts = [one.text for one in found]
    try:
        searched = SearchIndex(
            texts, pipe, kept, approximate, precision=precision, rescore_multiplier=rescore_multiplier
        )
    except CheckpointError as error:
        if kept is None:
            raise
        raise CheckpointError(f"{error}. With --no-index, no vectors are kept.") from None
    asked = [one.text for one in Questions(questions).read()]
    with answers_in(output.output, file):
        for question, hits in zip(asked, searched.search(asked, top_k, among), strict=True):
            for rank, hit in enumerate(hits, 1):
                one = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), **_place(one, file)}
                out.write(with_answer(_rest(one), {**answer, "text": one.text}))
        out.end()


def rerank(
    file: Annotated[Path, Argument(help="The passages: .jsonl, .csv, .tsv, or one a line.")],
    queries: Annotated[list[str] | None, Argument(help="Queries; without any, standard input.")] = None,
    top_k: Annotated[
        int | None, Option("--top-k", "-k", min=1, help="Give this many passages; the default is all.")
    ] = None,
    *,
    model: options.WindowOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Put the passages of a file in the order in which a cross-encoder finds that they answer a query, best first."""
    out = output.writer()
    found = _found(InputOptions(None, file).read(form, column), file, "passage to rank")
    pipe = model.pipeline("reranking", top_k=top_k)
    passages = [asked.text for asked in found]
    with answers_in(output.output, file):
        for query in Questions(queries).read():
            for rank, one in enumerate(pipe(query.text, passages), 1):
                asked = found[one.pop("index")]
                answer = {"query": query.text, "rank": rank, "score": round(one.pop("score"), 6), **_place(asked, file)}
                out.write(with_answer(_rest(asked), answer | one))
        out.end()


def _sentences(rows: Iterator[Asked], are_lines: bool) -> Iterator[Asked]:
    """Yield the sentences of each row; lines of plain text are joined up to a blank one, and give a sentence its line.

    A sentence has the row in which it begins.
    """
    parts = (list(some) for _, some in groupby(rows, lambda one: not one.text.strip()))
    for part in parts if are_lines else ([one] for one in rows):
        begins = [one for one in part for _ in one.text.split()]  # the row of each word
        read = 0
        for sentence in sentences("\n".join(one.text for one in part)):
            yield Asked(sentence, _rest(begins[read]), begins[read].where)
            read += len(sentence.split())


def _beside(file: Path, by: str) -> Path | None:
    """Return where the vectors of a file's texts are kept; None where nothing can be written beside it."""
    place = file.resolve()
    folder = place.with_name(f".{place.name}.index") / by
    if folder.is_dir() or os.access(place.parent, os.W_OK):
        return folder
    say_once(f"{str(place.parent)!r} is read-only: vectors are not kept; --index says where to keep them")
    return None


def _with_values(rows: list[Asked], where: list[str]) -> list[int] | None:
    """Return the numbers of the rows that have the values asked for, or None if none are."""
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
    return [at for at, row in enumerate(rows) if all(_written(row.row.get(each)) == wanted[each] for each in wanted)]


def _written(value: object) -> str | None:
    """Return a value as it is typed: true, 3, a text; None has none."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _found(rows: Iterable[Asked], file: Path, wanted: str) -> list[Asked]:
    """Return the texts that are not empty."""
    if not (found := [row for row in rows if row.text.strip()]):
        raise InputError(f"The file {str(file)!r} has no {wanted}.")
    return found


def _place(asked: Asked, file: Path) -> dict[str, Any]:
    """Return the line of a file that a text stands in, or the row of one without lines, and of a folder the file."""
    name, _, place = asked.where.rpartition(", ")
    kind, _, number = place.partition(" ")
    found: dict[str, Any] = {kind: int(number)} if number.isdigit() else {"where": place}
    return found if name == str(file) else {"file": name, **found}


def _rest(asked: Asked) -> Mapping[str, Any]:
    """Return the row without the text, which stands in the answer."""
    return {name: value for name, value in asked.row.items() if value != asked.text}
