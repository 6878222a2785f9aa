"""``bertie fill-mask``: which words fit at the [MASK] of a text."""

from typing import Any

from bertie.cli import options
from bertie.cli.reading import is_interactive, read_asked
from bertie.cli.writing import answer_all
from bertie.data import Format


def fill_mask(
    texts: options.Texts = None,
    input: options.Input = None,
    top_k: options.TopK = 5,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    column: options.Column = "text",
    form: Format,
    output: options.Output = None,
    to: options.To = None,
) -> None:
    """Guess the word behind each \\[MASK] in a text."""
    pipe = open_pipeline("fill-mask", top_k=top_k, max_length=max_length)
    source = read_asked(texts, input, form, column)
    answer_all(pipe, source, is_interactive(texts, input), _form, to, output=output, read=[input])


def _form(text: Any, candidates: Any) -> dict[str, Any]:
    del text
    return {"candidates": candidates}
