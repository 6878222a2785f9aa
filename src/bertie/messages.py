"""Formatting values and texts for messages and terminals: truncated, as lists, without control characters."""

import re
from collections.abc import Callable, Sequence

# Control characters (including ESC, which starts terminal escape sequences), line separators, direction marks and
# surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def short(value: object, limit: int = 120) -> str:
    """Return the repr of ``value`` for an error, truncated to ``limit`` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def shortened(text: str, limit: int) -> str:
    """Return ``text``, truncated with an ellipsis to ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(names: Sequence[str], limit: int = 6, show: Callable[[str], str] = repr) -> str:
    """Return names separated by commas, at most the first ``limit``."""
    return ", ".join(map(show, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def printable(text: str, keep: str = "") -> str:
    """Return ``text`` with control characters escaped as ``\\uXXXX``, except those in ``keep``."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


def wrong_byte(error: UnicodeDecodeError, begin: int = 0) -> str:
    """Return which byte could not be decoded and its offset, ``begin`` added."""
    return f"byte 0x{error.object[error.start]:02X} at offset {begin + error.start}"


def duration(seconds: float) -> str:
    """Return a readable duration: "41 s", "3 min 5 s", "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
