"""The algorithm, readable: text → words (BasicTokenizer) → pieces of the vocabulary (WordPiece)."""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

MAX_WORD = 100
"""A word of more characters than this is one unknown token, as in the original BERT."""


class WordPiece:
    """Cuts a word into the longest pieces that the vocabulary has, from left to right.

    A piece that does not begin its word is written with ``##`` in front of it. A word that cannot be covered is the
    unknown token as a whole. A word costs at most (its length) x (longest entry) look-ups, however it was made.
    """

    def __init__(self, vocabulary: Mapping[str, int], unk_token: str, max_word: int = MAX_WORD) -> None:
        self.vocabulary = vocabulary
        self.unk_token = unk_token
        self.max_word = max_word
        self._initial = _Entries({token: token for token in vocabulary})
        self._inner = _Entries({token[2:]: token for token in vocabulary if token.startswith("##")})

    def tokens(self, word: str) -> list[str]:
        """Return the pieces of one word, ``["un", "##aff", "##able"]`` for ``"unaffable"``."""
        if len(word) > self.max_word:
            return [self.unk_token]
        tokens: list[str] = []
        start, table, token_of = 0, self._initial, self._initial.token_of
        while start < len(word):
            head = word[start : start + 3]
            record = table.get(head) or table.get(head[:2]) or table.get(head[:1])
            if record is None:
                return [self.unk_token]
            match = record.inside
            for length in record.longer:
                if (candidate := word[start : start + length]) in token_of:
                    match = candidate
                    break
            if not match:
                return [self.unk_token]
            tokens.append(token_of[match])
            start += len(match)
            table, token_of = self._inner, self._inner.token_of
        return tokens


class _Record(NamedTuple):
    """What may follow given characters: lengths of entries longer than they, longest first; the longest among them."""

    longer: tuple[int, ...]
    inside: str


class _Entries(dict[str, _Record]):
    """The pieces that may stand at one kind of place, by their first three characters (or two, or one)."""

    def __init__(self, token_of: dict[str, str]) -> None:
        super().__init__()
        self.token_of = token_of
        longer: dict[str, set[int]] = {}
        for text in token_of:
            # two characters are asked for only where three lead nowhere, so nothing longer begins with them
            for width in (1, 2):
                longer.setdefault(text[:width], set())
            lengths = longer.setdefault(text[:3], set())
            if len(text) > 3:
                lengths.add(len(text))
        for head, lengths in longer.items():
            inside = next((head[:width] for width in (3, 2, 1) if head[:width] in token_of), "")
            self[head] = _Record(tuple(sorted(lengths, reverse=True)), inside)


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


class _Table(dict[int, str], ABC):
    """A table for `str.translate` that works out a character when it is first met."""

    def __missing__(self, code: int) -> str:
        value = self[code] = self.translation(chr(code))
        return value

    @abstractmethod
    def translation(self, char: str) -> str: ...


class _Clean(_Table):
    def translation(self, char: str) -> str:
        if char in "\0\ufffd" or is_control(char):
            return ""
        return " " if is_whitespace(char) else char


class _SpaceChinese(_Clean):
    def translation(self, char: str) -> str:
        return f" {char} " if is_chinese(char) else super().translation(char)


class _StripMarks(_Table):
    def translation(self, char: str) -> str:
        return "" if unicodedata.category(char) == "Mn" else char


class _SpacePunctuation(_Table):
    def translation(self, char: str) -> str:
        return f" {char} " if is_punctuation(char) else char


_CLEAN, _SPACE_CHINESE = _Clean(), _SpaceChinese()
_STRIP_MARKS, _SPACE_PUNCTUATION = _StripMarks(), _SpacePunctuation()
