"""The fast tokenizer's engine: `Words` for common text, the Rust package ``tokenizers`` for all other."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import tokenizers
from tokenizers import AddedToken, PreTokenizedString, Token, decoders, models, normalizers, pre_tokenizers

from bertie.tokenization.encoding import KnownPieces, Pieces, Span
from bertie.tokenization.wordpiece import MAX_WORD, WordPiece
from bertie.tokenization.words import NotListed, WordPieces, Words

QUICK_WORD = 24
"""Rust tries every end of a word, so its time grows with the square; longer words are cut here instead."""


class Backend:
    """Text → pieces. Encoding changes nothing in it, so threads may share it; only adding tokens does.

    Args:
        vocabulary: token → id.
        unk_token: the token of a word that has no pieces.
        normalizer: cleaning, lower-casing, accents and Chinese characters, as the tokenizer's settings say.
    """

    def __init__(self, vocabulary: dict[str, int], unk_token: str, normalizer: normalizers.BertNormalizer) -> None:
        self.vocabulary = vocabulary
        self._unk_id = vocabulary[unk_token]
        self._normalizer = normalizer
        self._normal_char = _NormalChar(normalizer)
        self._wordpiece = WordPiece(vocabulary, unk_token)
        strips = normalizer.strip_accents
        lower = bool(normalizer.lowercase)
        self._words = Words(self._wordpiece, lower, lower if strips is None else bool(strips))
        model = models.WordPiece(vocabulary, unk_token=unk_token, max_input_chars_per_word=QUICK_WORD)
        # two views of one model: `rust` finds added tokens in texts, `plain` leaves special ones to be cut as text
        self.rust = self._view(model)
        self._plain = self._view(self.rust.model)
        self._plain.encode_special_tokens = True
        self._in_text = self._in_plain_text = _AddedTokens((), self._normal)

    def add_tokens(self, tokens: Sequence[str | AddedToken], special: bool) -> int:
        """Add tokens, as special ones if ``special``; return how many are new to the vocabulary."""
        add = "add_special_tokens" if special else "add_tokens"
        getattr(self._plain, add)(tokens)
        count = int(getattr(self.rust, add)(tokens))
        added = self.rust.get_added_tokens_decoder().values()
        self._in_text = _AddedTokens(added, self._normal)
        self._in_plain_text = _AddedTokens([token for token in added if not token.special], self._normal)
        return count

    def pieces(self, texts: Sequence[Any], split: bool, plain: bool) -> list[Pieces]:
        """Return the pieces of each text (each list of words if ``split``), without special tokens around them.

        ``plain``: special tokens that are written in a text are cut like any other text.
        """
        added = self._in_plain_text if plain else self._in_text
        found: list[Pieces | None] = [self._common(text, split, added) for text in texts]
        rest = [index for index, pieces in enumerate(found) if pieces is None]
        if rest:
            rust = self._plain if plain else self.rust
            batch = [texts[index] for index in rest]
            encodings = rust.encode_batch(batch, is_pretokenized=split, add_special_tokens=False)
            for index, encoding in zip(rest, encodings, strict=True):
                found[index] = self._with_long_words(encoding, texts[index], plain)
        return [pieces for pieces in found if pieces is not None]

    def full(self) -> tokenizers.Tokenizer:
        """Return a copy of the Rust tokenizer with the original's limit on words, to be saved or used elsewhere."""
        rust = tokenizers.Tokenizer.from_str(self.rust.to_str())
        rust.model.max_input_chars_per_word = MAX_WORD
        return rust

    def _view(self, model: Any) -> tokenizers.Tokenizer:
        rust = tokenizers.Tokenizer(model)
        rust.normalizer = self._normalizer
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##")
        return rust

    def _normal(self, text: str) -> str:
        # most texts need no more than the listed characters' normal form; a token may hold any character
        return self._words.normal(text if text.isascii() else self._normalizer.normalize_str(text))

    def _common(self, text: Any, split: bool, added: "_AddedTokens") -> Pieces | None:
        if any(map(added.may_be_in, text)) if split else added.may_be_in(text):
            return None
        try:
            return WordPieces(self._words, text)
        except NotListed:
            return None

    def _with_long_words(self, encoding: tokenizers.Encoding, text: Any, plain: bool) -> Pieces:
        ids = encoding.ids
        if self._unk_id not in ids:
            return encoding
        result = KnownPieces([], [], [], [])
        lists = (ids, encoding.tokens, encoding.offsets, encoding.word_ids)
        for id_, token, (start, stop), word in zip(*lists, strict=True):
            source = text if isinstance(text, str) else text[word or 0]
            pieces = self._long_word(source[start:stop], plain) if id_ == self._unk_id else None
            if pieces is None:
                result.append(id_, token, (start, stop), word)
                continue
            for piece, (first, last) in pieces:
                result.append(self.vocabulary[piece], piece, (start + first, start + last), word)
        return result

    def _long_word(self, word: str, plain: bool) -> list[tuple[str, Span]] | None:
        """Return the pieces of a word that Rust was not let cut, or None if it is unknown in any case."""
        # no character is normalised to more than four
        if len(word) * 4 <= QUICK_WORD or (not plain and word == self._wordpiece.unk_token):
            return None
        normal = self._normalizer.normalize_str(word)
        if not QUICK_WORD < len(normal) <= MAX_WORD:
            return None
        tokens = self._wordpiece.tokens(normal)
        if tokens == [self._wordpiece.unk_token]:
            return None
        return list(zip(tokens, self._spans(tokens, word, normal), strict=True))

    def _spans(self, tokens: list[str], word: str, normal: str) -> list[Span]:
        """Return the characters of ``word`` that each piece of its normal form stands for."""
        lengths = [len(token) - (2 if index else 0) for index, token in enumerate(tokens)]
        stops = list(accumulate(lengths))
        starts = [0, *stops[:-1]]
        parts = list(map(self._normal_char.__getitem__, word))
        if "".join(parts) == normal:
            origins = [index for index, part in enumerate(parts) for _ in part]
            return [(origins[start], origins[stop - 1] + 1) for start, stop in zip(starts, stops, strict=True)]
        # characters that change their neighbours: the slow, general way
        rust = [Token(0, token, span) for token, span in zip(tokens, zip(starts, stops, strict=True), strict=True)]
        aligned = PreTokenizedString(word)
        aligned.normalize(self._normalizer.normalize)
        aligned.tokenize(lambda _: rust)
        return list(aligned.to_encoding().offsets)


class _NormalChar(dict[str, str]):
    """Character → its normal form, found when it is first met."""

    def __init__(self, normalizer: normalizers.BertNormalizer) -> None:
        super().__init__()
        self._normalizer = normalizer

    def __missing__(self, char: str) -> str:
        self[char] = self._normalizer.normalize_str(char)
        return self[char]


class _AddedTokens:
    """Finds at least every text that holds one of the added tokens, so that Rust gets it."""

    def __init__(self, tokens: Iterable[AddedToken], normal: Callable[[str], str]) -> None:
        self._normal = normal
        written, loose = [], []
        for token in tokens:
            if token.normalized:
                # it is looked for after lower-casing, stripping accents and making every space a blank
                loose.append(r"\s+".join(map(re.escape, normal(token.content).split())))
            else:
                written.append(re.escape(token.content))
        self._written, self._loose = _any_of(written), _any_of(loose)

    def may_be_in(self, text: str) -> bool:
        if self._written and self._written.search(text):
            return True
        return bool(self._loose and self._loose.search(self._normal(text)))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(filter(None, patterns))
    return re.compile(joined) if joined else None
