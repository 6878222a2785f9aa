"""``bertie next-sentence``: does the second text of a pair follow the first?"""

from typing import Any

from bertie.cli import options
from bertie.cli.reading import is_interactive, read_asked
from bertie.cli.writing import answer_all
from bertie.data import Format


def next_sentence(
    texts: options.Texts = None,
    input: options.Input = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    column: options.Column = "text",
    pair_column: options.PairColumn = "text_pair",
    form: Format,
    output: options.Output = None,
    to: options.To = None,
) -> None:
    """Say whether one text follows another: two arguments, fields 'text' and 'text_pair', or lines with a tab."""
    pipe = open_pipeline("next-sentence", max_length=max_length)
    source = read_asked(texts, input, form, column, pair=pair_column)
    answer_all(pipe, source, is_interactive(texts, input), _form, to, output=output, read=[input])


def _form(text: Any, answer: Any) -> dict[str, Any]:
    del text
    return dict(answer)
