"""Texts too long for the model, read in overlapping windows; the window where a token has the most context owns it.

The windows of a pair are cut from its second text by default, and each has the first text before it.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.tasks.features import Features
from bertie.tasks.operations import Computed, operations_on
from bertie.tokenization.encoding import Encoding

# how the scores of a text's windows are combined
WINDOW_REDUCTIONS = ("mean", "max")


def in_windows(row: Encoding, limit: int, overlap: int, windowed: int = -1) -> list[Encoding]:
    """Return the windows of at most ``limit`` tokens that cover a row, or the row itself if it is short enough.

    Neighbours share ``overlap`` tokens; the last window begins early enough to be full, so it may share more. Windows
    are cut from the text with the number ``windowed``; the other text of a pair is cut if it needs more than half of
    the room and more than the windowed text leaves free (`tokens_left_out` counts those tokens).
    """
    if len(row) <= limit:
        return [row]
    others = list(row.windows)
    text = others.pop(windowed)
    room = limit - (len(row) - sum(len(window.ids) for window in row.windows))
    total = len(text.ids)
    others = [other.cut(0, min(len(other.ids), max(room // 2, room - total, 0))) for other in others]
    room -= sum(len(other.ids) for other in others)
    place = windowed % len(row.windows)
    if total > room and overlap >= room:
        raise InputError(
            f"A window of {limit} tokens has room for {max(room, 0)} tokens of a text, so windows that overlap by "
            f"{overlap} would not advance; give a smaller overlap or a larger max_length."
        )
    last = max(total - room, 0)
    starts = [*range(0, last, max(room - overlap, 1)), last]
    return [
        Encoding((*others[:place], window, *others[place:]), row.template)
        for window in (text.cut(start, min(start + room, total)) for start in starts)
    ]


def tokens_left_out(row: Encoding, group: Sequence[Encoding], windowed: int = -1) -> int:
    """Return how many tokens of a row's texts are in none of its windows, which are cut from text ``windowed``."""
    kept, last = [len(window.ids) for window in group[0].windows], group[-1].windows[windowed]
    kept[windowed] = last.stop
    return sum(len(whole.ids) - count for whole, count in zip(row.windows, kept, strict=True))


def owned_pieces(group: Sequence[Encoding]) -> list[range]:
    """Return the pieces of a text that each of its windows owns; each piece has one owner.

    A piece belongs to the window with the nearest middle, where the smaller of its left and right context is largest
    (the "maximum context" of BERT's question answering).
    """
    spans = [(row.windows[-1].start, row.windows[-1].stop) for row in group]
    if len(spans) == 1:
        return [range(*spans[0])]
    between = [(stop + start + 1) // 2 for (_, stop), (start, _) in itertools.pairwise(spans)]
    return [range(*span) for span in zip([spans[0][0], *between], [*between, spans[-1][1]], strict=True)]


def first_piece(row: Encoding) -> int:
    """Return the position in a row of the first token of its last text."""
    return row.tokens_of(len(row.windows) - 1).start


def owned_tokens(group: Sequence[Encoding]) -> NDArray[np.bool_]:
    """Return which tokens of a text's concatenated windows their window owns; each token of the row has one owner.

    The tokens before the text belong to the first window, those after it to the last.
    """
    masks = []
    for number, (row, pieces) in enumerate(zip(group, owned_pieces(group), strict=True)):
        mask, window, first = np.zeros(len(row), dtype=bool), row.windows[-1], first_piece(row)
        mask[first + pieces.start - window.start : first + pieces.stop - window.start] = True
        mask[:first] |= number == 0
        mask[first + len(window.ids) :] |= number == len(group) - 1
        masks.append(mask)
    return np.concatenate(masks)


def reduce_windows(values: Computed, features: Features, reduction: str) -> Any:
    """Return the mean or maximum ``[N, C]`` over each input's windows, from an array or tensor ``[R, C]``."""
    if features.owners is None:
        return values
    do, counts = operations_on(values), np.diff(features.first_rows)
    return (do.segment_max if reduction == "max" else do.segment_mean)(do.to_float32(values), counts)
