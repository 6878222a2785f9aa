"""Texts longer than the model: read in windows that overlap, each token owned by the window where it has most context.

The windows of a pair are cut from its second text, unless asked otherwise; the first stands before each of them.
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

# how the scores of a text's windows become the text's
WAYS = ("mean", "max")


def in_windows(row: Encoding, limit: int, overlap: int, moving: int = -1) -> list[Encoding]:
    """Return the windows of at most ``limit`` tokens that cover a row, or the row itself if it is not longer.

    Neighbours share ``overlap`` tokens; the last begins early enough to be full, so it may share more. They are cut
    from the text of number ``moving``; the other one of a pair is cut if it needs more than half of the room, and more
    than the windows' text leaves of it (`tokens_left_out` counts that).
    """
    if len(row) <= limit:
        return [row]
    others = list(row.windows)
    text = others.pop(moving)
    room = limit - (len(row) - sum(len(window.ids) for window in row.windows))
    total = len(text.ids)
    others = [other.cut(0, min(len(other.ids), max(room // 2, room - total, 0))) for other in others]
    room -= sum(len(other.ids) for other in others)
    place = moving % len(row.windows)
    if total > room and overlap >= room:
        raise InputError(
            f"A window of {limit} tokens has room for {max(room, 0)} tokens of a text, and an overlap of {overlap} "
            "leaves none to go on; give a smaller overlap or a larger max_length."
        )
    last = max(total - room, 0)
    starts = [*range(0, last, max(room - overlap, 1)), last]
    return [
        Encoding((*others[:place], window, *others[place:]), row.template)
        for window in (text.cut(start, min(start + room, total)) for start in starts)
    ]


def tokens_left_out(row: Encoding, group: Sequence[Encoding], moving: int = -1) -> int:
    """Return how many tokens of a row's texts stand in none of its windows, which are cut from text ``moving``."""
    firsts, last = [len(window.ids) for window in group[0].windows], group[-1].windows[moving]
    firsts[moving] = last.stop
    return sum(len(whole.ids) - kept for whole, kept in zip(row.windows, firsts, strict=True))


def owned_pieces(group: Sequence[Encoding]) -> list[range]:
    """Return, for each window of one text, the pieces of the text that it owns; each piece has one owner.

    A piece belongs to the window whose middle is nearest, which is where the smaller of its left and right context is
    largest (the "maximum context" of BERT's question answering).
    """
    spans = [(row.windows[-1].start, row.windows[-1].stop) for row in group]
    if len(spans) == 1:
        return [range(*spans[0])]
    between = [(stop + start + 1) // 2 for (_, stop), (start, _) in itertools.pairwise(spans)]
    return [range(*span) for span in zip([spans[0][0], *between], [*between, spans[-1][1]], strict=True)]


def first_piece(row: Encoding) -> int:
    """Return the place in the row of the first token of its last text."""
    return row.tokens_of(len(row.windows) - 1).start


def owned_tokens(group: Sequence[Encoding]) -> NDArray[np.bool_]:
    """Return which tokens of a text's windows, side by side, are their windows' own: each token of the row once.

    What stands before the text is the first window's own, what stands behind it the last one's.
    """
    masks = []
    for number, (row, pieces) in enumerate(zip(group, owned_pieces(group), strict=True)):
        mask, window, first = np.zeros(len(row), dtype=bool), row.windows[-1], first_piece(row)
        mask[first + pieces.start - window.start : first + pieces.stop - window.start] = True
        mask[:first] |= number == 0
        mask[first + len(window.ids) :] |= number == len(group) - 1
        masks.append(mask)
    return np.concatenate(masks)


def combined(values: Computed, features: Features, way: str) -> Any:
    """Return ``[N, C]``, one row an input, from an array or tensor ``[R, C]`` of windows: their mean or maximum."""
    if features.owners is None:
        return values
    do, counts = operations_on(values), np.diff(features.first_rows)
    return (do.run_max if way == "max" else do.run_mean)(do.widened(values), counts)
