"""``bertie search``: the lines or sentences of a file that answer a question, by meaning."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import read_asked, read_texts
from bertie.data.sentences import sentences
from bertie.cli.writing import answers_in
from bertie.data import Format, beside
from bertie.errors import InputError
from bertie.writing import form_of_output, writer


def search(
    file: Annotated[Path, typer.Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, typer.Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[str, typer.Option("--by", help="Search single 'sentence's of a text file, or its 'line's.")] = "line",
    *,
    open_pipeline: options.OpenPipeline,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: Format,
    output: options.Output = None,
    to: options.To = None,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question."""
    out = writer(form_of_output(output, to))
    found = list(_texts(file, by, form, column))
    if not found:
        raise InputError(f"The file {str(file)!r} has no text to search.")
    pipe = open_pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    index = SearchIndex([text for _, text, _ in found], pipe)
    asked = list(read_texts(questions))
    with answers_in(output, file):
        for question, hits in zip(asked, index.search(asked, top_k), strict=True):
            for rank, hit in enumerate(hits, 1):
                number, text, row = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), by: number, "text": text}
                out.write(beside({name: value for name, value in row.items() if value != text}, answer))


def _texts(file: Path, by: str, form: Format, column: str) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Return what is to be searched: its number in the file, from 1, its text and its row; empty ones are left out."""
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    lines = list(read_asked(None, file, form, column))
    units: Iterable[tuple[str, Mapping[str, Any]]] = lines
    if by == "sentence":
        units = ((sentence, {}) for sentence in sentences("\n".join(line.text for line in lines)))
    return [(number, unit, row) for number, (unit, row) in enumerate(units, 1) if unit.strip()]
