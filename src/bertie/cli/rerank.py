"""``bertie rerank``: the passages of a file in the order in which they answer a query."""

from pathlib import Path
from typing import Annotated

import typer

from bertie.cli import options
from bertie.cli.reading import read_asked, read_texts
from bertie.cli.writing import answers_in
from bertie.data import Format, beside
from bertie.errors import InputError
from bertie.writing import form_of_output, writer


def rerank(
    file: Annotated[Path, typer.Argument(help="The passages: .jsonl, .csv, .tsv, or one a line.")],
    queries: Annotated[list[str] | None, typer.Argument(help="Queries; without any, standard input.")] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, help="Give this many passages; the default is all.")
    ] = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    windows: options.Windows = None,
    overlap: options.Overlap = None,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: Format,
    output: options.Output = None,
    to: options.To = None,
) -> None:
    """Put the passages of a file in the order in which a cross-encoder finds that they answer a query, best first."""
    out = writer(form_of_output(output, to), later=("truncated", "empty"))
    lines = enumerate(read_asked(None, file, form, column), 1)
    found = [(number, asked) for number, asked in lines if asked.text.strip()]
    if not found:
        raise InputError(f"The file {str(file)!r} has no passage to rank.")
    pipe = open_pipeline(
        "reranking",
        top_k=top_k,
        max_length=max_length,
        windows=windows,
        overlap=overlap,
        split_special_tokens=split_special_tokens,
    )
    passages = [asked.text for _, asked in found]
    with answers_in(output, file):
        for query in read_texts(queries):
            for rank, one in enumerate(pipe(query, passages), 1):
                number, asked = found[one.pop("index")]
                answer = {"query": query, "rank": rank, "score": round(one.pop("score"), 6), "line": number, **one}
                out.write(beside({name: value for name, value in asked.row.items() if value != asked.text}, answer))
