"""The algorithm, readable: text → words (BasicTokenizer) → pieces of the vocabulary (WordPiece)."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

from bertie.tokenization.remembering import Remembering

MAX_WORD = 100
"""A word of more characters than this is one unknown token, as in the original BERT."""


class WordPiece:
    """Cuts a word into the longest pieces that the vocabulary has, from left to right.

    A piece that does not begin its word is written with ``##`` in front of it. A word that cannot be covered is the
    unknown token as a whole. A word costs at most (its length) x (longest entry) look-ups, however it was made.
    """

    def __init__(self, vocabulary: Mapping[str, int], unk_token: str) -> None:
        self.vocabulary = vocabulary
        self.unk_token = unk_token

    def __reduce__(self) -> tuple[type["WordPiece"], tuple[Any, ...]]:
        # what is remembered of words is no part of it: copies and fingerprints are the same after use
        return type(self), (self.vocabulary, self.unk_token)

    # made for the first word of several pieces: many programs end before they meet one
    @cached_property
    def _first(self) -> "_Entries":
        return _Entries(self.vocabulary)

    @cached_property
    def _later(self) -> "_Entries":
        return _Entries({token[2:]: id_ for token, id_ in self.vocabulary.items() if token.startswith("##")})

    def tokens(self, word: str) -> list[str]:
        """Return the pieces of one word, ``["un", "##aff", "##able"]`` for ``"unaffable"``."""
        first, *later = self.cut(word) or [""]
        return [first, *(f"##{piece}" for piece in later)] if first else [self.unk_token]

    def ids(self, word: str) -> list[int]:
        """Return the ids of the pieces of one word."""
        return self._matched(word)[0] or [self.vocabulary[self.unk_token]]

    def cut(self, word: str) -> list[str]:
        """Return the parts of a word that are its pieces, without ``##``; none if the word is unknown."""
        return [word[start:stop] for start, stop in pairwise([0, *self._matched(word)[1]])]

    def _matched(self, word: str) -> tuple[list[int], list[int]]:
        """Return the ids of the pieces of a word and where each stops; none if the word is unknown."""
        ids: list[int] = []
        stops: list[int] = []
        start, end = 0, len(word)
        if not 0 < end <= MAX_WORD:
            return ids, stops
        whole = self.vocabulary.get(word)
        if whole is not None:
            return [whole], [end]
        entries = self._first
        while start < end:
            size, id_, lengths = entries.heads[word[start : start + _HEAD]]
            for length in lengths:
                longer = entries.get(word[start : start + length])
                if longer is not None:
                    size, id_ = length, longer
                    break
            if not size:
                return [], []
            start += size
            ids.append(id_)
            stops.append(start)
            entries = self._later
        return ids, stops


_HEAD = 3


class _Entries(dict[str, int]):
    """The pieces that may stand at one kind of place, with their ids; ``heads`` says which to look for."""

    def __init__(self, id_of: Mapping[str, int]) -> None:
        super().__init__(id_of)
        self.heads = _Heads(self)


class _Heads(Remembering[str, tuple[int, int, Sequence[int]]]):
    """The next `_HEAD` characters of a word → size and id of the longest piece within them (0 and 0: there is none),
    and the lengths of the pieces that go beyond, longest first."""

    def __init__(self, entries: Mapping[str, int]) -> None:
        super().__init__()
        self._entries = entries
        self._beyond: dict[str, set[int]] = {}
        for text in entries:
            if len(text) > _HEAD:
                self._beyond.setdefault(text[:_HEAD], set()).add(len(text))

    def work_out(self, key: str) -> tuple[int, int, Sequence[int]]:
        lengths = sorted(self._beyond.get(key, ()), reverse=True)
        for size in range(len(key), 0, -1):
            id_ = self._entries.get(key[:size])
            if id_ is not None:
                return size, id_, lengths
        return 0, 0, lengths


class BasicTokenizer:
    """Cleans a text and cuts it into words at white space, punctuation and Chinese characters.

    Args:
        do_lower_case: lower-case the words, and strip their accents unless ``strip_accents`` is False.
        never_split: words that are left as they are.
        tokenize_chinese_chars: make each Chinese character a word.
        strip_accents: None: as ``do_lower_case``.
        do_split_on_punc: make each punctuation character a word.
    """

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Iterable[str] | None = None,
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        do_split_on_punc: bool = True,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.never_split = set(never_split or ())
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.do_split_on_punc = do_split_on_punc

    def tokenize(self, text: str, never_split: Iterable[str] | None = None) -> list[str]:
        """Return the words of ``text``; ``never_split`` adds to the words that are left as they are."""
        kept = self.never_split.union(never_split or ())
        text = text.translate(_SPACE_CHINESE if self.tokenize_chinese_chars else _CLEAN)
        # one spelling for characters that can be written in several ways
        words = unicodedata.normalize("NFC", text).split()
        return [part for word in words for part in self._parts(word, kept)]

    def _parts(self, word: str, kept: Collection[str]) -> list[str]:
        if word in kept:
            return [word]
        if self.do_lower_case:
            word = word.lower()
        if self.strip_accents or (self.strip_accents is None and self.do_lower_case):
            word = unicodedata.normalize("NFD", word).translate(_STRIP_MARKS)
        if not self.do_split_on_punc or word in kept:
            return word.split()
        return word.translate(_SPACE_PUNCTUATION).split()


def is_whitespace(char: str) -> bool:
    """Whether the original BERT takes ``char`` as a space: blank, tab, line ends, and Unicode's separators."""
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
    """Whether ``char`` is dropped: a control, format, surrogate, private or unassigned character."""
    return char not in "\t\n\r" and unicodedata.category(char).startswith("C")


def is_punctuation(char: str) -> bool:
    """Whether ``char`` is a word of its own: every ASCII sign, and Unicode's punctuation."""
    sign = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return sign or unicodedata.category(char).startswith("P")


_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def is_chinese(char: str) -> bool:
    """Whether ``char`` lies in one of Unicode's blocks of Chinese characters (Hangul and kana do not)."""
    return any(first <= ord(char) <= last for first, last in _CHINESE)


class _Table(Remembering[int, str]):
    """A table for `str.translate`, filled as characters come up."""

    def __init__(self, translation: Callable[[str], str]) -> None:
        super().__init__()
        self._translation = translation

    def work_out(self, key: int) -> str:
        return self._translation(chr(key))


def _clean(char: str) -> str:
    if char in "\0\ufffd" or is_control(char):
        return ""
    return " " if is_whitespace(char) else char


_CLEAN = _Table(_clean)
_SPACE_CHINESE = _Table(lambda char: f" {char} " if is_chinese(char) else _clean(char))
_STRIP_MARKS = _Table(lambda char: "" if unicodedata.category(char) == "Mn" else char)
_SPACE_PUNCTUATION = _Table(lambda char: f" {char} " if is_punctuation(char) else char)
