"""``bertie search`` and ``bertie rerank``: the passages of a file that answer a question, best first."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import Asked, InputOptions
from bertie.cli.writing import OutputOptions, answers_in
from bertie.data.sentences import sentences
from bertie.errors import InputError
from bertie.writing import beside


class Questions(InputOptions):
    """Texts of arguments or of standard input."""

    of_file = "standard input may be the file of that name, with '<' before it"


def search(
    file: Annotated[Path, typer.Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, typer.Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[
        str, typer.Option(help="What is found: each 'line' (of a table, row), or each 'sentence' in them.")
    ] = "line",
    *,
    model: options.ModelOptions,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question."""
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    out = output.writer()
    read = InputOptions(None, file).read(form, column)
    if by == "sentence":
        from bertie.data import form_of

        read = _sentences(read, form_of(file, form.format) == "lines")
    found = _found(read, file, "text to search")
    pipe = model.pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    index = SearchIndex([one.text for one in found], pipe)
    asked = [one.text for one in Questions(questions).read()]
    with answers_in(output.output, file):
        for question, hits in zip(asked, index.search(asked, top_k), strict=True):
            for rank, hit in enumerate(hits, 1):
                one = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), **_place(one, file)}
                out.write(beside(_rest(one), {**answer, "text": one.text}))
        out.end()


def rerank(
    file: Annotated[Path, typer.Argument(help="The passages: .jsonl, .csv, .tsv, or one a line.")],
    queries: Annotated[list[str] | None, typer.Argument(help="Queries; without any, standard input.")] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, help="Give this many passages; the default is all.")
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
                out.write(beside(_rest(asked), answer | one))
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
