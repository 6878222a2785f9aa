"""Running text → sentences, by rule: good enough to search a book by, without a model of its own."""

import re
from collections.abc import Iterator

# A full stop after these ends no sentence.
_ABBREVIATIONS = {
    *("mr", "mrs", "ms", "dr", "st", "prof", "rev", "hon", "capt", "cap", "col", "gen", "lt", "sgt", "jr", "sr"),
    *("no", "vol", "vs", "etc", "e.g", "i.e", "cf", "fig", "messrs", "mt", "ave", "inc", "ltd", "co"),
}
_EMPTY_LINES = re.compile(r"\n\s*\n")
_CLOSING = """"'”’)]"""
# the end of a sentence, closing quotes and brackets with it, before something that can begin another
_END = re.compile(rf"""([.!?…][.!?…{re.escape(_CLOSING)}]*) (?=["'“‘(\[]*[A-Z0-9])""")
_INITIALS = re.compile(r"(?!I$)[A-Z](\.[A-Z])*")
_LAST_WORD = re.compile(rf"([\w.]+)\.[{re.escape(_CLOSING)}]*$")
# no abbreviation and no row of initials is longer than this with what closes a sentence
_REACH = 24


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of ``text``; an empty line always ends one, a single line break is a space."""
    for paragraph in _EMPTY_LINES.split(text):
        # of white space, the blank alone is printable
        if not paragraph.isprintable() or "  " in paragraph:
            paragraph = " ".join(paragraph.split())
        parts = iter(_END.split(paragraph.strip(" ")))
        sentence = ""
        for words in parts:
            end = next(parts, "")  # the last words have none
            sentence += words + end
            if "." in end and _is_abbreviated(words, end):
                sentence += " "
            elif sentence:
                yield sentence
                sentence = ""


def _is_abbreviated(words: str, end: str) -> bool:
    """Whether the full stop behind ``words`` belongs to an abbreviation."""
    word = words[words.rfind(" ") + 1 :]
    if not word.isalpha() or len(end.rstrip(_CLOSING)) > 1:  # what follows is right for these too, but slower
        found = _LAST_WORD.search((words + end)[-_REACH:])
        word = found[1] if found else ""
    return word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word) is not None
