"""Running text → sentences, by rule: good enough to search a book by, without a model of its own."""

import re
from collections.abc import Iterator

# A full stop after these ends no sentence.
_ABBREVIATIONS = {
    *("mr", "mrs", "ms", "dr", "st", "prof", "rev", "hon", "capt", "cap", "col", "gen", "lt", "sgt", "jr", "sr"),
    *("no", "vol", "vs", "etc", "e.g", "i.e", "cf", "fig", "messrs", "mt", "ave", "inc", "ltd", "co"),
}
# the end of a sentence, closing quotes and brackets with it, before something that can begin another
_END = re.compile(r"""([.!?…]+["'”’)\]]*)\s+(?=["'“‘(\[]*[A-Z0-9])""")
_INITIALS = re.compile(r"(?!I$)[A-Z](\.[A-Z])*")
_LAST_WORD = re.compile(r"([\w.]+)\.[\"'”’)\]]*$")
# no abbreviation and no row of initials is longer than this with what closes a sentence
_REACH = 24


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of ``text``; an empty line always ends one, a single line break is a space."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from _of_paragraph(" ".join(paragraph.split()))


def _of_paragraph(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(paragraph):
        sentence = paragraph[start : end.end(1)]
        word = _LAST_WORD.search(sentence, max(0, len(sentence) - _REACH))
        if word and (word[1].lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word[1])):
            continue
        yield sentence
        start = end.end()
    if start < len(paragraph):
        yield paragraph[start:]
