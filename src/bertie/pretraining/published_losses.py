"""Held-out losses of published models by the size of their data, to judge a loss by."""

import math
from itertools import pairwise
from typing import NamedTuple


class Published(NamedTuple):
    """Models of ``parameters`` trained on ``tokens`` for many epochs, and their range of losses, in nats per token."""

    parameters: float
    tokens: float
    lowest: float
    highest: float


# Perplexities on held-out text of the three best of 25 runs (for the last size, of 10), from the model cards of
# huggingface.co/nyu-mll/roberta-base-1B-1 and its siblings: English Wikipedia and books, byte-level BPE, many epochs.
MINIBERTAS = (
    Published(45e6, 1e6, math.log(134.18), math.log(153.38)),
    Published(125e6, 1e7, math.log(10.78), math.log(11.58)),
    Published(125e6, 1e8, math.log(4.61), math.log(5.02)),
    Published(125e6, 1e9, math.log(3.84), math.log(4.25)),
)
SOURCE = (
    "RoBERTa models of 45 and 125 million parameters (nyu-mll, model cards), other text and vocabulary, many epochs"
)


def published_range(tokens: float) -> tuple[float, float] | None:
    """Return the lowest and highest loss of published models trained on ``tokens`` tokens.

    It is interpolated linearly in the logarithm of the tokens; None below the smallest and above the largest size.
    """
    for less, more in pairwise(MINIBERTAS):
        if less.tokens <= tokens <= more.tokens:
            share = math.log(tokens / less.tokens) / math.log(more.tokens / less.tokens)
            lowest = less.lowest + share * (more.lowest - less.lowest)
            return lowest, less.highest + share * (more.highest - less.highest)
    return None


def compare(loss: float, tokens: float) -> str:
    """Return a sentence on a held-out loss after ``tokens`` different tokens; empty outside the published sizes."""
    if (published := published_range(tokens)) is None:
        return ""
    lowest, highest = published
    position = "above" if loss > highest else "below" if loss < lowest else "within"
    return (
        f"The loss on documents held out, {loss:.3f}, is {position} the range {lowest:.2f} to {highest:.2f} that is "
        f"published for {tokens:,.0f} tokens of data: {SOURCE}."
    )
