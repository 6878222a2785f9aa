"""Truncation of a text or a pair to the length of a row, and the windows of what does not fit."""

import sys

from bertie.errors import InputError
from bertie.kernels.text_reader import Cut
from bertie.tokenization.arguments import Call
from bertie.tokenization.encoding import Encoding, Template, Window

Windows = tuple[Window, ...]
"""The window of a text, or those of a pair."""
# a larger max_length would overflow in the kernel, and cut nothing either
_LONGEST = sys.maxsize // 2


def check_room(call: Call, pair: bool, added: int) -> None:
    """Refuse a max_length that leaves no token for the text, or none beside the stride."""
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
            f"stride is {call.stride}, but max_length={call.max_length} leaves {room} tokens of text in a window; "
            "the stride must be smaller than that"
        )


def cut_of(call: Call, template: Template, count_limit: int) -> Cut:
    """Return how rows of single texts are truncated; up to ``count_limit`` of the tokens cut off are counted."""
    most = min(call.max_length, _LONGEST) - template.size if call.truncates and call.max_length is not None else None
    before, behind = template.id_bytes
    return Cut(before, behind, most, call.truncation_side == "left", count_limit)


def truncate(texts: Windows, call: Call, template: Template, odd_to_first: bool) -> Encoding:
    """Return the row of one or two texts, truncated to fit, with the rows of what was cut off as ``overflowing``."""
    excess = template.size - (call.max_length or 0)
    for text in texts:
        excess += len(text.ids)
    if excess <= 0 or not call.truncates:
        return Encoding(texts, template)
    lengths = _lengths(texts, excess, call, odd_to_first)
    windows = [_windows(text, length, call) for text, length in zip(texts, lengths, strict=True)]
    first, *rest = [Encoding(row, template) for row in _combine(windows)]
    return Encoding(first.windows, template, overflowing=rest)


def _combine(windows: list[list[Window]]) -> list[Windows]:
    """Pair the windows of two texts in the reference's order: the row itself, each later window of the first text with
    every window of the second, then the first text's first window with each later one of the second.
    """
    if len(windows) == 1:
        return [(window,) for window in windows[0]]
    firsts, seconds = windows
    later = [(first, second) for first in firsts[1:] for second in seconds]
    return [(firsts[0], seconds[0]), *later, *((firsts[0], second) for second in seconds[1:])]


def _lengths(texts: Windows, excess: int, call: Call, odd_to_first: bool) -> list[int]:
    """Return the number of tokens that each text keeps."""
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
            f"truncation='only_{name}' cannot shorten the pair to max_length={call.max_length}: it is {excess} tokens "
            f"too long and the {name} text has {lengths[side]}; use 'longest_first' or a larger max_length"
        )
    lengths[side] -= excess
    return lengths


def _halves(first: int, second: int, room: int, odd_to_first: bool) -> tuple[int, int]:
    """Shorten the longer text until both are equal, then both alike."""
    half, rest = divmod(room, 2)
    shorter = min(first, second)
    if shorter <= half:
        return (room - second, second) if second < first else (first, room - first)
    if odd_to_first or first > second:
        return half + rest, half
    return half, half + rest


def _windows(text: Window, size: int, call: Call) -> list[Window]:
    """Split a text into windows of ``size`` tokens that overlap by ``stride``, starting at the side that is kept."""
    length = len(text.ids)
    if size >= length:
        return [text]
    if size == 0:
        return [text.cut(0, 0), text]
    step = size - call.stride
    if step < 1:
        raise InputError(
            f"stride is {call.stride}, but only {size} tokens of one text of the pair fit into max_length="
            f"{call.max_length}; the stride must be smaller than that"
        )
    windows = []
    for offset in range(0, length, step):
        start, stop = offset, min(offset + size, length)
        if call.truncation_side == "left":
            start, stop = length - stop, length - start
        windows.append(text.cut(start, stop))
        if offset + size >= length:
            break
    return windows
