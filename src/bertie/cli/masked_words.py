"""``bertie fill-mask`` and ``bertie score``: which words fit behind masks, and how well the words of a text fit it."""

from typing import Annotated

from typer import Option

from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.cli.writing import OutputOptions


def fill_mask(
    source: InputOptions,
    top_k: options.TopK = 5,
    jointly: Annotated[
        str | None,
        Option(
            help="Fill the masks of a text one after the other, so that they fit each other: left-to-right, or "
            "confidence, the surest first."
        ),
    ] = None,
    targets: Annotated[list[str] | None, Option("--target", help="A word to choose from; may be repeated.")] = None,
    *,
    model: options.LengthOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Guess the word behind each [MASK] in a text.

    The default model is bertie-mini-uncased, which comes with bertie.
    """
    asked = source.read(form, column)
    pipe = model.pipeline("fill-mask", top_k=top_k, jointly=jointly, targets=targets)
    output.write(pipe, source, asked, "candidates")


def score(
    source: InputOptions,
    variant: Annotated[
        str, Option(help="original: mask each token alone; word-l2r: mask the rest of its word, too.")
    ] = "original",
    tokens: Annotated[bool, Option(help="Write the score of each token, too.")] = False,
    *,
    model: options.WindowOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Say how likely each text is: its pseudo-log-likelihood, the log-probabilities of its tokens, each masked in turn.

    The default model is bertie-mini-uncased, which comes with bertie.
    """
    asked = source.read(form, column)
    output.write(model.pipeline("pseudo-log-likelihood", variant=variant, return_tokens=tokens), source, asked, "score")
