"""The engine of BERT's own tokenizers: `Words` for nearly all text, the Rust package ``tokenizers`` for the rest."""

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from bertie.tokenization.added import AddedTokens
from bertie.tokenization.characters import Characters, NotListed
from bertie.tokenization.normal import Normal
from bertie.tokenization.pieces import KnownPieces, LatePieces, Pieces, Span, joined, replaced
from bertie.tokenization.word_table import WordIds
from bertie.tokenization.wordpiece import MAX_WORD, WordPiece
from bertie.tokenization.words import WordCuts, Words

QUICK_WORD = 24
"""Rust tries every end of a word, so its time grows with the square; longer words are cut here instead."""


class BertBackend:
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
        self._wordpiece = WordPiece(vocabulary, unk_token)
        self._characters = Characters(normalizer)
        self._normal = Normal(self._characters)
        self._ids_of, self._cuts_of = WordIds(self._wordpiece), WordCuts(self._wordpiece)
        self.rust = self._view(models.WordPiece(vocabulary, unk_token=unk_token, max_input_chars_per_word=QUICK_WORD))
        self._readers: dict[bool, tuple[Words, tokenizers.Tokenizer]] = {}
        self._slow_readers: dict[bool, tokenizers.Tokenizer] = {}
        self._added: list[tuple[list[str | AddedToken], bool]] = []

    def frames(self, special_tokens: bool) -> None:
        """The named special tokens of the tokenizer say what stands around texts."""

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        """Add tokens, as special ones if ``special``; return how many are new to the vocabulary."""
        self._added.append((tokens, special))
        count = int(self.rust.add_special_tokens(tokens) if special else self.rust.add_tokens(tokens))
        self._readers, self._slow_readers = {}, {}
        return count

    def pieces(self, texts: Sequence[Any], split: bool, plain: bool) -> Sequence[Pieces]:
        """Return the pieces of each text (each list of words if ``split``), without special tokens around them.

        ``plain``: special tokens that are written in a text are cut like any other text.
        """
        words, rust = self._readers.get(plain) or self._new_reader(plain)
        parts: list[Sequence[Pieces]] = []
        first = 0
        for some, rest in words.read(texts):
            batch = [texts[first + number] for number in rest]
            first += len(some)
            if batch:
                encodings = rust.encode_batch(batch, is_pretokenized=split, add_special_tokens=False)
                read = map(self._with_long_words, encodings, batch, repeat(split), repeat(plain))
                some = replaced(some, dict(zip(rest, read, strict=True)))
            parts.append(some)
        return joined(parts)

    def full(self) -> tokenizers.Tokenizer:
        """Return a copy of the Rust tokenizer with the original's limit on words, to be saved or used elsewhere."""
        rust = tokenizers.Tokenizer.from_str(self.rust.to_str())
        rust.model.max_input_chars_per_word = MAX_WORD
        return rust

    def __reduce__(self) -> tuple[Any, ...]:
        # what is remembered of texts is no part of it: copies and fingerprints are the same after use
        return _made_again, (self.vocabulary, self._wordpiece.unk_token, self._normalizer, self._added)

    def _view(self, model: Any) -> tokenizers.Tokenizer:
        rust = tokenizers.Tokenizer(model)
        rust.normalizer = self._normalizer
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##")
        return rust

    def _new_reader(self, plain: bool) -> tuple[Words, tokenizers.Tokenizer]:
        """Return what reads texts: with the added tokens of now, and special ones among them unless ``plain``."""
        tokens = [token for _, token in sorted(self.rust.get_added_tokens_decoder().items())]
        # another view of the same model: the state of one is never changed for the sake of a call
        rust = self._reading_plainly(self.rust.model) if plain else self.rust
        tokens = [token for token in tokens if not (plain and token.special)]
        added = AddedTokens(tokens, self._characters, self._normalizer)
        self._readers[plain] = Words(self._characters, self._normal, added, self._ids_of, self._cuts_of), rust
        return self._readers[plain]

    def _reading_plainly(self, model: Any) -> tokenizers.Tokenizer:
        rust = self._view(model)
        rust.add_tokens([token for _, token in sorted(self.rust.get_added_tokens_decoder().items())])
        rust.encode_special_tokens = True
        return rust

    def _slow_reader(self, plain: bool) -> tokenizers.Tokenizer:
        """Return a Rust tokenizer that cuts words up to the original's limit."""
        if plain not in self._slow_readers:
            full = self.full()
            self._slow_readers[plain] = self._reading_plainly(full.model) if plain else full
        return self._slow_readers[plain]

    def _with_long_words(self, encoding: tokenizers.Encoding, text: Any, split: bool, plain: bool) -> Pieces:
        """Return what Rust made of a text, with the words that it was not let cut."""
        try:
            long = self._long_words(encoding, text, plain) if self._unk_id in encoding.ids else {}
        except NotListed:
            # marks that are put in order: the places of a word's ends are not those of all its characters
            encoding = self._slow_reader(plain).encode(text, is_pretokenized=split, add_special_tokens=False)
            long = {}
        cut_ids = {place: [self.vocabulary[token] for token in word.tokens] for place, word in long.items()}
        ids = array("q", _filled(encoding.ids, cut_ids))

        def known() -> KnownPieces:
            tokens = _filled(encoding.tokens, {place: word.tokens for place, word in long.items()})
            offsets = _filled(encoding.offsets, {place: self._spans(word) for place, word in long.items()})
            numbers = encoding.word_ids
            same = {place: [numbers[place]] * len(word.tokens) for place, word in long.items()}
            return KnownPieces(ids, tokens, offsets, _filled(numbers, same))

        return LatePieces(ids, known)

    def _long_words(self, encoding: tokenizers.Encoding, text: Any, plain: bool) -> dict[int, "_LongWord"]:
        """Return the words that Rust was not let cut and that have pieces, by the place of their unknown token.

        Raises:
            NotListed: there may be one, in a text with characters that change their neighbours.
        """
        found = {}
        listed = False
        entries = zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True)
        for place, (id_, (start, stop), number) in enumerate(entries):
            # no character is normalised to more than four
            if id_ != self._unk_id or (stop - start) * 4 <= QUICK_WORD:
                continue
            if not listed:
                (text if isinstance(text, str) else " ".join(text)).translate(self._characters)
                listed = True
            word = (text if isinstance(text, str) else text[number or 0])[start:stop]
            if not plain and word == self._wordpiece.unk_token:
                continue
            tokens = self._wordpiece.tokens(self._normalizer.normalize_str(word))
            if tokens != [self._wordpiece.unk_token]:
                found[place] = _LongWord(word, start, tokens)
        return found

    def _spans(self, word: "_LongWord") -> list[Span]:
        """Return the characters of the text that each piece of a long word's normal form stands for."""
        lengths = [len(token) - (2 if index else 0) for index, token in enumerate(word.tokens)]
        spans = pairwise(accumulate(lengths, initial=0))
        origins = self._characters.origins(word.text, word.text.translate(self._characters)).tolist()
        return [(word.start + origins[first], word.start + origins[last - 1] + 1) for first, last in spans]


def _made_again(
    vocabulary: dict[str, int], unk_token: str, normalizer: normalizers.BertNormalizer, added: list[Any]
) -> BertBackend:
    backend = BertBackend(vocabulary, unk_token, normalizer)
    for tokens, special in added:
        backend.add_tokens(tokens, special)
    return backend


class _LongWord(NamedTuple):
    """A word, where in its text it starts, and its tokens."""

    text: str
    start: int
    tokens: list[str]


def _filled(values: Sequence[Any], instead: Mapping[int, Sequence[Any]]) -> list[Any]:
    """Return the values with others instead of those at some places."""
    if not instead:
        return list(values)
    return [new for place, value in enumerate(values) for new in instead.get(place, (value,))]
