"""The backend of `BertTokenizerLegacy`: BERT's algorithm in plain Python, to be read."""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

from tokenizers import AddedToken

from bertie.kernels.text_reader import Cut
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.origins import spans_of
from bertie.tokenization.pieces import Block, Details, Pieces, Span, lazy_property
from bertie.tokenization.wordpiece import BasicTokenizer, WordPiece

_MADE_LATE = ("_token_of", "_added_pattern")


class PythonBackend:
    """A `Backend`. A text is cut at the added tokens in it, what stands between them into words by `BasicTokenizer`
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
        # copies and fingerprints are the same after use
        return {name: value for name, value in vars(self).items() if name not in _MADE_LATE}

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
        for name in _MADE_LATE:
            vars(self).pop(name, None)
        return self._size - before

    def read(
        self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut, never_split: Collection[str] = ()
    ) -> Block:
        texts = without_surrogates(texts, split)
        kept = () if plain else never_split
        return Block.of([self._pieces(text if split else [text], split, plain, kept) for text in texts], cut)

    def _pieces(self, texts: Sequence[str], split: bool, plain: bool, kept: Collection[str]) -> Pieces:
        cut = [self._cut(text, plain, kept) for text in texts]
        tokens = [token for parts in cut for part in parts for word in part.tokens for token in word]
        unknown = self.vocabulary[self._wordpiece.unk_token]
        ids = [self.token_to_id(token) for token in tokens]

        def details() -> Details:
            spans = [span for parts in cut for part in parts for span in self._spans(part, kept)]
            sizes = [len(word) for parts in cut for part in parts for word in part.tokens]
            if split:
                sizes = [sum(len(word) for part in parts for word in part.tokens) for parts in cut]
            numbers: list[int | None] = [number for number, size in enumerate(sizes) for _ in range(size)]
            return Details(tokens, spans, numbers)

        # a word that is never split may have no id
        return Pieces(array("q", [unknown if id_ is None else id_ for id_ in ids]), details)

    def _cut(self, text: str, plain: bool, kept: Collection[str]) -> list["_Cut"]:
        """Cut a text at the added tokens in it, what stands between them into words, and words into tokens."""
        if plain or self._added_pattern is None:
            parts = [_Part(text, range(len(text)))]
        else:
            parts = [part for part in self._parted(text, self._added_pattern) if part.text]
        found = []
        for part in parts:
            if not plain and part.text in self._added_ids:
                found.append(_Cut(part, None, [[part.text]]))
            else:
                words = self._words(part.text, kept)
                found.append(_Cut(part, words, list(map(self._tokens, words))))
        return found

    def _words(self, text: str, kept: Collection[str]) -> list[str]:
        """Cut a text without added tokens into the words of its normal form."""
        return text.split() if self._basic is None else self._basic.tokenize(text, kept)

    def _tokens(self, word: str) -> list[str]:
        is_kept = self._basic is not None and word in self._basic.never_split
        return [word] if is_kept else self._wordpiece.tokens(word)

    def _spans(self, cut: "_Cut", kept: Collection[str]) -> Iterator[Span]:
        """Yield the characters of the whole text that each token of a part covers."""
        part, words, tokens = cut
        if words is None:
            yield part.span(0, len(part.text))
            return
        origins = iter(spans_of(part.text, lambda some: "".join(self._words(some, kept))))
        for word, pieces in zip(words, tokens, strict=True):
            for size in self._sizes(word, pieces):
                covered = list(islice(origins, size))
                yield part.span(covered[0][0], covered[-1][1])

    def _sizes(self, word: str, tokens: list[str]) -> list[int]:
        """Return how many characters of a word each of its tokens covers."""
        # an unknown word is one token, whatever that is written like
        return [len(word)] if len(tokens) == 1 else [len(token) - 2 * (i > 0) for i, token in enumerate(tokens)]

    def _parted(self, text: str, pattern: re.Pattern[str]) -> list["_Part"]:
        """Part a text at added tokens, which may take the spaces beside them or need spaces there."""
        bounds = [0, *chain.from_iterable(found.span() for found in pattern.finditer(text)), len(text)]
        parts = [_Part(text[start:stop], range(start, stop)) for start, stop in pairwise(bounds) if start < stop]
        for i, part in enumerate(parts):
            if part.text not in self._added_ids:
                continue
            token = self._added[self._added_ids[part.text]]
            before, after = parts[i - 1] if i else _NOTHING, parts[i + 1] if i + 1 < len(parts) else _NOTHING
            if token.rstrip and after.text:
                parts[i + 1] = after.without_first_spaces()
            if token.lstrip and before.text:
                parts[i - 1] = before.without_last_spaces()
            if token.single_word and before.text and before.text[-1] != " ":
                parts[i - 1], parts[i] = parts[i - 1] + part, _NOTHING
            elif token.single_word and after.text and after.text[0] != " ":
                parts[i], parts[i + 1] = _NOTHING, part + parts[i + 1]
        return parts


class _Part(NamedTuple):
    """A part of a text, and where each of its characters stands there."""

    text: str
    places: Sequence[int]

    def __add__(self, other: Any) -> "_Part":
        return _Part(self.text + other.text, [*self.places, *other.places])

    def without_first_spaces(self) -> "_Part":
        text = self.text.lstrip()
        return _Part(text, self.places[len(self.text) - len(text) :])

    def without_last_spaces(self) -> "_Part":
        text = self.text.rstrip()
        return _Part(text, self.places[: len(text)])

    def span(self, start: int, stop: int) -> Span:
        """Return the place in the whole text of characters of this part."""
        return self.places[start], self.places[stop - 1] + 1


_NOTHING = _Part("", ())


class _Cut(NamedTuple):
    """A part of a text, its words (None: it is an added token), and the tokens of each."""

    part: _Part
    words: list[str] | None
    tokens: list[list[str]]
