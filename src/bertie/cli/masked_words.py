"""``bertie fill-mask`` and ``bertie score``: candidates for masked words, and pseudo-log-likelihoods of texts."""

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
            help="Fill the masks of a text one after another, so that they fit together: left-to-right, or by "
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
    """Predict the word behind each [MASK] in a text.

    The default model is bertie-mini-uncased, which comes with bertie.
    """
    rows = source.read(form, column)
    pipe = model.pipeline("fill-mask", top_k=top_k, jointly=jointly, targets=targets)
    output.write(pipe, source, rows, "candidates")


def score(
    source: InputOptions,
    variant: Annotated[
        str, Option(help="original: mask each token alone; word-l2r: mask the rest of its word too.")
    ] = "original",
    tokens: Annotated[bool, Option(help="Write the score of each token too.")] = False,
    *,
    model: options.WindowOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Score how likely each text is: its pseudo-log-likelihood, the sum of its tokens' log-probabilities, each masked.

    The default model is bertie-mini-uncased, which comes with bertie.
    """
    rows = source.read(form, column)
    output.write(model.pipeline("pseudo-log-likelihood", variant=variant, return_tokens=tokens), source, rows, "score")
