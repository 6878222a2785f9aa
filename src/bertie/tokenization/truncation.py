"""Which pieces of a text, or of a pair of texts, fit into a row, and which windows hold the rest."""

import sys

from bertie.errors import InputError
from bertie.kernels.text_reader import Cut
from bertie.tokenization.arguments import Call
from bertie.tokenization.encoding import Encoding, Frame, Window

Pair = tuple[Window, ...]
# a row that is allowed more tokens has all of them
_LONGEST = sys.maxsize // 2


def check_room(call: Call, pair: bool, added: int) -> None:
    """Refuse a length in which no piece of a text would be left."""
    if not call.truncates or call.max_length is None:
        return
    room = call.max_length - added
    if room < 1:
        texts = "a pair of texts" if pair else "a text"
        raise InputError(
            f"max_length is {call.max_length}, but {added} special tokens go with {texts}; "
            f"give at least {added + 1}, or truncation=False"
        )
    if call.stride >= room:
        raise InputError(
            f"stride is {call.stride}, but max_length={call.max_length} leaves {room} tokens of text a window; "
            f"the stride must be smaller than that"
        )


def cut_of(call: Call, frame: Frame, counted: int) -> Cut:
    """Return how the rows of single texts are made; of what is cut off, up to ``counted`` tokens are counted."""
    most = min(call.max_length, _LONGEST) - frame.size if call.truncates and call.max_length is not None else None
    before, behind = frame.codes
    return Cut(before, behind, most, call.truncation_side == "left", counted)


def truncate(texts: Pair, call: Call, frame: Frame, odd_to_first: bool) -> Encoding:
    """Return the row of one or two texts, cut to fit, with the rows of what was cut off as its ``overflowing``."""
    excess = frame.size - (call.max_length or 0)
    for text in texts:
        excess += len(text.ids)
    if excess <= 0 or not call.truncates:
        return Encoding(texts, frame)
    rooms = _rooms(texts, excess, call, odd_to_first)
    windows = [_windows(text, room, call) for text, room in zip(texts, rooms, strict=True)]
    first, *rest = [Encoding(row, frame) for row in _combine(windows)]
    return Encoding(first.windows, frame, overflowing=rest)


def _combine(windows: list[list[Window]]) -> list[Pair]:
    """Pair the windows of two texts: the row itself, then later firsts with every second, then later seconds."""
    if len(windows) == 1:
        return [(window,) for window in windows[0]]
    firsts, seconds = windows
    later = [(first, second) for first in firsts[1:] for second in seconds]
    return [(firsts[0], seconds[0]), *later, *((firsts[0], second) for second in seconds[1:])]


def _rooms(texts: Pair, excess: int, call: Call, odd_to_first: bool) -> list[int]:
    """The number of pieces that each text may keep."""
    lengths = [len(text.ids) for text in texts]
    if len(texts) == 1 and call.truncation != "only_second":
        return [lengths[0] - excess]
    if call.truncation == "longest_first":
        return list(_halves(lengths[0], lengths[1], sum(lengths) - excess, odd_to_first))
    side = 0 if call.truncation == "only_first" else 1
    if side >= len(texts):
        raise InputError(
            f"truncation='only_second' cannot shorten a single text of {lengths[0]} tokens to max_length="
            f"{call.max_length}; use 'only_first' or 'longest_first'"
        )
    if lengths[side] <= excess:
        name = ("first", "second")[side]
        raise InputError(
            f"truncation='only_{name}' cannot bring the pair to max_length={call.max_length}: {excess} tokens are "
            f"too many and the {name} text has {lengths[side]}; use 'longest_first' or a larger max_length"
        )
    lengths[side] -= excess
    return lengths


def _halves(first: int, second: int, room: int, odd_to_first: bool) -> tuple[int, int]:
    """Shorten the longer text until both are equal, then both."""
    half, rest = divmod(room, 2)
    shorter = min(first, second)
    if shorter <= half:
        return (room - second, second) if second < first else (first, room - first)
    if odd_to_first or first > second:
        return half + rest, half
    return half, half + rest


def _windows(text: Window, room: int, call: Call) -> list[Window]:
    """Cut a text into windows of ``room`` pieces that share ``stride`` of them, beginning at the side that is kept."""
    length = len(text.ids)
    if room >= length:
        return [text]
    if room == 0:
        return [text.cut(0, 0), text]
    step = room - call.stride
    if step < 1:
        raise InputError(
            f"stride is {call.stride}, but only {room} tokens of one text of the pair fit into max_length="
            f"{call.max_length}; the stride must be smaller than that"
        )
    windows = []
    for passed in range(0, length, step):
        start, stop = passed, min(passed + room, length)
        if call.truncation_side == "left":
            start, stop = length - stop, length - start
        windows.append(text.cut(start, stop))
        if passed + room >= length:
            break
    return windows
