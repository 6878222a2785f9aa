"""``bertie search``: the lines or sentences of a file that answer a question, by meaning."""

from pathlib import Path
from typing import Annotated

import typer

from bertie.cli import options
from bertie.cli.opening import open_pipeline
from bertie.cli.reading import Text, read_texts
from bertie.cli.sentences import sentences
from bertie.cli.writing import answers_in, write_line
from bertie.errors import InputError


def search(
    file: Annotated[Path, typer.Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, typer.Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[str, typer.Option("--by", help="Search single 'sentence's of a text file, or its 'line's.")] = "line",
    model: options.Model = None,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
    seed: options.Seed = None,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question."""
    found = list(_texts(file, by, format, column))
    if not found:
        raise InputError(f"The file {str(file)!r} has no text to search.")
    pipe = open_pipeline("embed", model, device, batch_tokens, seed, split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    index = SearchIndex([text for _, text in found], pipe)
    asked = [str(question) for question in read_texts(questions)]
    with answers_in(output, file):
        for question, hits in zip(asked, index.search(asked, top_k), strict=True):
            for rank, hit in enumerate(hits, 1):
                score = {"score": round(hit.score, 6), by: found[hit.number][0]}
                write_line({"question": question, "rank": rank, **score, "text": hit.text})


def _texts(file: Path, by: str, form: str | None, column: str) -> list[tuple[int, str]]:
    """Return what is to be searched, with its number in the file, counted from 1; empty lines are left out."""
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    lines: list[Text] = list(read_texts(None, file, form, column))
    parts = (str(line) for line in lines)
    units = parts if by == "line" else sentences("\n".join(parts))
    return [(number, unit) for number, unit in enumerate(units, 1) if unit.strip()]
