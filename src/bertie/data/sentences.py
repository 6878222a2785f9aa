"""Running text → sentences, by rules: good enough to search a book, without a model."""

import re
from collections.abc import Iterator

# A full stop after these does not end a sentence.
_ABBREVIATIONS = {
    *("mr", "mrs", "ms", "dr", "st", "prof", "rev", "hon", "capt", "cap", "col", "gen", "lt", "sgt", "jr", "sr"),
    *("no", "vol", "vs", "etc", "e.g", "i.e", "cf", "fig", "messrs", "mt", "ave", "inc", "ltd", "co"),
}
_EMPTY_LINES = re.compile(r"\n\s*\n")
_CLOSING = """"'”’)]"""
# the end of a sentence with closing quotes and brackets, before something that can begin another one
_END = re.compile(rf"""([.!?…][.!?…{re.escape(_CLOSING)}]*) (?=["'“‘(\[]*[A-Z0-9])""")
_INITIALS = re.compile(r"(?!I$)[A-Z](\.[A-Z])*")
_LAST_WORD = re.compile(rf"([\w.]+)\.[{re.escape(_CLOSING)}]*$")
# abbreviations and initials are shorter, closing characters included
_MAX_LENGTH = 24


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of ``text``; an empty line always ends one, a single line break is a space."""
    for paragraph in _EMPTY_LINES.split(text):
        # the only printable white space is the space
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
    """Whether the full stop after ``words`` belongs to an abbreviation."""
    word = words[words.rfind(" ") + 1 :]
    if not word.isalpha() or len(end.rstrip(_CLOSING)) > 1:  # the general case, which is slower
        found = _LAST_WORD.search((words + end)[-_MAX_LENGTH:])
        word = found[1] if found else ""
    return word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word) is not None
