"""What published models reach on text they have not seen, by the size of their data: is a loss what it should be?"""

import math
from itertools import pairwise
from typing import NamedTuple


class Published(NamedTuple):
    """Models of ``parameters`` that read ``tokens`` again and again, and the range of their losses, in nats a token."""

    parameters: float
    tokens: float
    lowest: float
    highest: float


# Perplexities on held-out text of the three best of 25 runs (of the last size: of 10), from the model cards of
# huggingface.co/nyu-mll/roberta-base-1B-1 and its siblings. English Wikipedia and books, in byte-level pieces; their
# data was read many times.
MINIBERTAS = (
    Published(45e6, 1e6, math.log(134.18), math.log(153.38)),
    Published(125e6, 1e7, math.log(10.78), math.log(11.58)),
    Published(125e6, 1e8, math.log(4.61), math.log(5.02)),
    Published(125e6, 1e9, math.log(3.84), math.log(4.25)),
)
SOURCE = (
    "RoBERTa models of 45 and 125 million parameters (nyu-mll, model cards), other text and vocabulary, many epochs"
)


def usual_losses(tokens: float) -> tuple[float, float] | None:
    """Return the lowest and highest loss that published models reach with so many tokens of data.

    Between two sizes it is a line over the logarithm of the tokens; None beyond the smallest and the largest.
    """
    for less, more in pairwise(MINIBERTAS):
        if less.tokens <= tokens <= more.tokens:
            share = math.log(tokens / less.tokens) / math.log(more.tokens / less.tokens)
            lowest = less.lowest + share * (more.lowest - less.lowest)
            return lowest, less.highest + share * (more.highest - less.highest)
    return None


def compare(loss: float, tokens: float) -> str:
    """Return a sentence on a held-out loss after ``tokens`` different tokens; empty where nothing is published."""
    if (usual := usual_losses(tokens)) is None:
        return ""
    lowest, highest = usual
    place = "above" if loss > highest else "below" if loss < lowest else "within"
    return (
        f"The loss on documents held out, {loss:.3f}, is {place} the {lowest:.2f} to {highest:.2f} that {tokens:,.0f} "
        f"tokens of data have given {SOURCE}."
    )
