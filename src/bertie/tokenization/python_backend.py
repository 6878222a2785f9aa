"""The backend of `BertTokenizerLegacy`: BERT's algorithm in plain Python, written to be read."""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

from tokenizers import AddedToken

from bertie.kernels.text_reader import Cut
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.origins import original_spans
from bertie.tokenization.pieces import Details, EncodedTexts, Pieces, Span, lazy_property
from bertie.tokenization.wordpiece import BasicTokenizer, WordPiece

_LAZY = ("_token_of", "_added_pattern")


class PythonBackend:
    """A `Backend`. A text is split at the added tokens in it, the text between them into words by `BasicTokenizer`
    (None: at white space), and words into pieces by `WordPiece`.
    """

    prefix = "##"

    def __init__(self, vocabulary: dict[str, int], basic: BasicTokenizer | None, wordpiece: WordPiece) -> None:
        self.vocabulary, self._basic, self._wordpiece = vocabulary, basic, wordpiece
        self._size = len(vocabulary)  # added tokens included
        self._added: dict[int, AddedToken] = {}
        self._added_ids: dict[str, int] = {}

    @lazy_property
    def _token_of(self) -> dict[int, str]:
        return {number: token for token, number in self.get_vocab(True).items()}

    @lazy_property
    def _added_pattern(self) -> re.Pattern[str] | None:
        longest_first = sorted(self._added_ids, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None

    def __getstate__(self) -> dict[str, Any]:
        # copies and fingerprints stay the same after use
        return {name: value for name, value in vars(self).items() if name not in _LAZY}

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        return {**self.vocabulary, **self._added_ids} if with_added_tokens else self.vocabulary

    def added_tokens(self) -> dict[int, AddedToken]:
        return self._added

    def token_to_id(self, token: str) -> int | None:
        return self._added_ids.get(token, self.vocabulary.get(token))

    def id_to_token(self, index: int) -> str | None:
        return self._token_of.get(index)

    def add_tokens(self, tokens: Sequence[str | AddedToken], special: bool) -> int:
        before = self._size
        for token in tokens:
            added = AddedToken(token, special=special) if isinstance(token, str) else token
            if not added.content:
                continue
            number = self.token_to_id(added.content)
            if number is None:
                number = self._size
                self._size += 1
            self._added[number] = added
            self._added_ids[added.content] = number
        for name in _LAZY:
            vars(self).pop(name, None)
        return self._size - before

    def encode(
        self,
        texts: Sequence[Any],
        pretokenized: bool,
        split_special: bool,
        cut: Cut,
        never_split: Collection[str] = (),
    ) -> EncodedTexts:
        texts = without_surrogates(texts, pretokenized)
        kept = () if split_special else never_split
        pieces = [self._pieces(text if pretokenized else [text], pretokenized, split_special, kept) for text in texts]
        return EncodedTexts.of(pieces, cut)

    def _pieces(self, texts: Sequence[str], pretokenized: bool, split_special: bool, kept: Collection[str]) -> Pieces:
        tokenized = [self._tokenize(text, split_special, kept) for text in texts]
        tokens = [token for parts in tokenized for part in parts for word in part.tokens for token in word]
        unknown = self.vocabulary[self._wordpiece.unk_token]
        ids = [self.token_to_id(token) for token in tokens]

        def details() -> Details:
            spans = [span for parts in tokenized for part in parts for span in self._spans(part, kept)]
            sizes = [len(word) for parts in tokenized for part in parts for word in part.tokens]
            if pretokenized:
                sizes = [sum(len(word) for part in parts for word in part.tokens) for parts in tokenized]
            numbers: list[int | None] = [number for number, size in enumerate(sizes) for _ in range(size)]
            return Details(tokens, spans, numbers)

        # a word that is never split may have no id
        return Pieces(array("q", [unknown if id_ is None else id_ for id_ in ids]), details)

    def _tokenize(self, text: str, split_special: bool, kept: Collection[str]) -> list["_TokenizedPart"]:
        """Split a text at the added tokens in it, the text between them into words, and words into tokens."""
        if split_special or self._added_pattern is None:
            parts = [_Part(text, range(len(text)))]
        else:
            parts = [part for part in self._split_at_added_tokens(text, self._added_pattern) if part.text]
        found = []
        for part in parts:
            if not split_special and part.text in self._added_ids:
                found.append(_TokenizedPart(part, None, [[part.text]]))
            else:
                words = self._words(part.text, kept)
                found.append(_TokenizedPart(part, words, list(map(self._tokens, words))))
        return found

    def _words(self, text: str, kept: Collection[str]) -> list[str]:
        """Return the words of the normal form of a text without added tokens."""
        return text.split() if self._basic is None else self._basic.tokenize(text, kept)

    def _tokens(self, word: str) -> list[str]:
        is_kept = self._basic is not None and word in self._basic.never_split
        return [word] if is_kept else self._wordpiece.tokens(word)

    def _spans(self, tokenized: "_TokenizedPart", kept: Collection[str]) -> Iterator[Span]:
        """Yield the characters of the whole text that each token of a part covers."""
        part, words, tokens = tokenized
        if words is None:
            yield part.span(0, len(part.text))
            return
        origins = iter(original_spans(part.text, lambda some: "".join(self._words(some, kept))))
        for word, pieces in zip(words, tokens, strict=True):
            for size in self._sizes(word, pieces):
                covered = list(islice(origins, size))
                yield part.span(covered[0][0], covered[-1][1])

    def _sizes(self, word: str, tokens: list[str]) -> list[int]:
        """Return how many characters of a word each of its tokens covers."""
        # a single token covers the whole word, even if it is the unknown token
        return [len(word)] if len(tokens) == 1 else [len(token) - 2 * (i > 0) for i, token in enumerate(tokens)]

    def _split_at_added_tokens(self, text: str, pattern: re.Pattern[str]) -> list["_Part"]:
        """Split a text at added tokens, which may strip the spaces beside them or need spaces there."""
        bounds = [0, *chain.from_iterable(found.span() for found in pattern.finditer(text)), len(text)]
        parts = [_Part(text[start:stop], range(start, stop)) for start, stop in pairwise(bounds) if start < stop]
        for i, part in enumerate(parts):
            if part.text not in self._added_ids:
                continue
            token = self._added[self._added_ids[part.text]]
            before, after = parts[i - 1] if i else _NOTHING, parts[i + 1] if i + 1 < len(parts) else _NOTHING
            if token.rstrip and after.text:
                parts[i + 1] = after.lstrip()
            if token.lstrip and before.text:
                parts[i - 1] = before.rstrip()
            if token.single_word and before.text and before.text[-1] != " ":
                parts[i - 1], parts[i] = parts[i - 1] + part, _NOTHING
            elif token.single_word and after.text and after.text[0] != " ":
                parts[i], parts[i + 1] = _NOTHING, part + parts[i + 1]
        return parts


class _Part(NamedTuple):
    """A part of a text, and the index of each of its characters in the text."""

    text: str
    indices: Sequence[int]

    def __add__(self, other: Any) -> "_Part":
        return _Part(self.text + other.text, [*self.indices, *other.indices])

    def lstrip(self) -> "_Part":
        text = self.text.lstrip()
        return _Part(text, self.indices[len(self.text) - len(text) :])

    def rstrip(self) -> "_Part":
        text = self.text.rstrip()
        return _Part(text, self.indices[: len(text)])

    def span(self, start: int, stop: int) -> Span:
        """Return the characters of the whole text that characters of this part are."""
        return self.indices[start], self.indices[stop - 1] + 1


_NOTHING = _Part("", ())


class _TokenizedPart(NamedTuple):
    """A part of a text, its words (None: it is an added token), and the tokens of each."""

    part: _Part
    words: list[str] | None
    tokens: list[list[str]]
