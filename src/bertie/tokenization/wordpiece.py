"""BERT's algorithm, written to be read: text → words (`BasicTokenizer`) → pieces in the vocabulary (`WordPiece`)."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping

MAX_WORD = 100
"""A longer word, in characters, is one unknown token, as in the original BERT."""


class WordPiece:
    """Splits a word into the longest pieces in the vocabulary, greedily from left to right.

    A piece that continues its word has the prefix ``##``. A word that the vocabulary cannot cover becomes one unknown
    token.
    """

    def __init__(self, vocabulary: Mapping[str, int], unk_token: str) -> None:
        self.vocabulary = vocabulary
        self.unk_token = unk_token
        self._longest = max(map(len, vocabulary), default=0)

    def tokens(self, word: str) -> list[str]:
        """Return the pieces of one word, ``["un", "##aff", "##able"]`` for ``"unaffable"``."""
        tokens: list[str] = []
        start, end = 0, len(word)
        while start < end <= MAX_WORD:
            prefix = "##" if start else ""
            for stop in range(min(end, start + self._longest), start, -1):
                if prefix + word[start:stop] in self.vocabulary:
                    break
            else:
                return [self.unk_token]
            tokens.append(prefix + word[start:stop])
            start = stop
        return tokens or [self.unk_token]


class BasicTokenizer:
    """Cleans a text and splits it into words at white space, punctuation and Chinese characters.

    Args:
        do_lower_case: lower-case the words, and strip their accents unless ``strip_accents`` is False.
        never_split: words to leave unchanged.
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
        """Return the words of ``text``; ``never_split`` are more words to leave unchanged."""
        kept = self.never_split.union(never_split or ())
        text = text.translate(_SPACE_CHINESE if self.tokenize_chinese_chars else _CLEAN)
        # one form of characters that can be composed in several ways
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
    """Whether the original BERT treats ``char`` as a space: space, tab, line breaks, and Unicode's separators."""
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
    """Whether ``char`` is dropped: a control, format, surrogate, private or unassigned character."""
    return char not in "\t\n\r" and unicodedata.category(char).startswith("C")


def is_punctuation(char: str) -> bool:
    """Whether ``char`` is a word of its own: ASCII characters other than letters and digits, Unicode's punctuation."""
    symbol = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return symbol or unicodedata.category(char).startswith("P")


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
    """Whether ``char`` is in one of Unicode's blocks of Chinese characters (Hangul and kana are not)."""
    return any(first <= ord(char) <= last for first, last in _CHINESE)


class _Table(dict[int, str]):
    """A table for `str.translate` that caches the translation of each character, up to a limit."""

    def __init__(self, translation: Callable[[str], str]) -> None:
        super().__init__()
        self._translation = translation

    def __missing__(self, key: int) -> str:
        value = self._translation(chr(key))
        if len(self) < 1 << 16:
            self[key] = value
        return value


def _clean(char: str) -> str:
    if char in "\0\ufffd" or is_control(char):
        return ""
    return " " if is_whitespace(char) else char


_CLEAN = _Table(_clean)
_SPACE_CHINESE = _Table(lambda char: f" {char} " if is_chinese(char) else _clean(char))
_STRIP_MARKS = _Table(lambda char: "" if unicodedata.category(char) == "Mn" else char)
_SPACE_PUNCTUATION = _Table(lambda char: f" {char} " if is_punctuation(char) else char)
