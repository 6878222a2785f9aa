"""``bertie search`` and ``bertie rerank``: the passages of a file that answer a question, best first."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import Asked, InputOptions
from bertie.cli.writing import OutputOptions, answers_in
from bertie.data.sentences import sentences
from bertie.errors import InputError
from bertie.writing import beside


def search(
    file: Annotated[Path, typer.Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, typer.Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[str, typer.Option(help="Search single 'sentence's of a text file, or its 'line's.")] = "line",
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
    out = output.writer(marks=())  # hits have none
    lines: Iterable[Asked] = InputOptions(None, file).read(form, column)
    if by == "sentence":
        lines = (Asked(sentence, {}) for sentence in sentences("\n".join(line.text for line in lines)))
    found = _numbered(lines, file, "text to search")
    pipe = model.pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    index = SearchIndex([one.text for _, one in found], pipe)
    asked = [one.text for one in InputOptions(questions).read()]
    with answers_in(output.output, file):
        for question, hits in zip(asked, index.search(asked, top_k), strict=True):
            for rank, hit in enumerate(hits, 1):
                number, one = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), by: number}
                out.write(beside(_rest(one), {**answer, "text": one.text}))


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
    found = _numbered(InputOptions(None, file).read(form, column), file, "passage to rank")
    pipe = model.pipeline("reranking", top_k=top_k)
    passages = [asked.text for _, asked in found]
    with answers_in(output.output, file):
        for query in InputOptions(queries).read():
            for rank, one in enumerate(pipe(query.text, passages), 1):
                number, asked = found[one.pop("index")]
                answer = {"query": query.text, "rank": rank, "score": round(one.pop("score"), 6), "line": number, **one}
                out.write(beside(_rest(asked), answer))


def _numbered(lines: Iterable[Asked], file: Path, wanted: str) -> list[tuple[int, Asked]]:
    """Return the texts that are not empty, each with its number from 1."""
    found = [(number, line) for number, line in enumerate(lines, 1) if line.text.strip()]
    if not found:
        raise InputError(f"The file {str(file)!r} has no {wanted}.")
    return found


def _rest(asked: Asked) -> Mapping[str, Any]:
    """Return the row without the text, which stands in the answer."""
    return {name: value for name, value in asked.row.items() if value != asked.text}
