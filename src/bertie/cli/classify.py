"""``bertie classify``: the label of each text."""

from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import is_interactive, read_asked
from bertie.cli.writing import answer_all
from bertie.data import Format


def classify(
    texts: options.Texts = None,
    input: options.Input = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Give this many labels a text.")] = None,
    pair_column: Annotated[
        str | None, typer.Option("--pair-column", help="The column of the second text, for models of pairs.")
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
    """Give each text its most likely label, with a score."""
    pipe = open_pipeline(
        "text-classification",
        top_k=top_k,
        max_length=max_length,
        windows=windows,
        overlap=overlap,
        split_special_tokens=split_special_tokens,
    )
    source = read_asked(texts, input, form, column, pair=pair_column)
    answer_all(pipe, source, is_interactive(texts, input), _form, to, output=output, read=[input])


def _form(text: Any, answer: Any) -> dict[str, Any]:
    del text
    return answer if isinstance(answer, dict) else {"labels": answer}
