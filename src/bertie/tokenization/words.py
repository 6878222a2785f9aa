"""Text → words → ids, without Rust: the ids of every word are remembered from its last time.

A text is cut at its spaces into chunks, a chunk into words and signs (`Characters`), a word into pieces (`WordPiece`).
Ids are int64 side by side from here on: those of a text are the bytes of its chunks, joined.
"""

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

from bertie.tokenization.added import AddedTokens
from bertie.tokenization.characters import Characters, NotListed
from bertie.tokenization.encoding import KnownPieces, LatePieces, Span
from bertie.tokenization.remembering import Remembering
from bertie.tokenization.wordpiece import WordPiece

NOT_SPACES = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
"""Spaces to Python, nothing to BERT: a text with one of them is a single chunk. All other white space is the same."""


class WordIds(Remembering[str, bytes]):
    """Word → the ids of its pieces."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def work_out(self, key: str) -> bytes:
        return array("q", self._wordpiece.ids(key)).tobytes()


class WordCuts(Remembering[str, tuple[list[str], list[Span]]]):
    """Word → the tokens of its pieces, and where each begins and ends."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def work_out(self, key: str) -> tuple[list[str], list[Span]]:
        parts = self._wordpiece.cut(key) or [key]
        return self._wordpiece.tokens(key), list(pairwise(accumulate(map(len, parts), initial=0)))


class Words(Remembering[str, bytes]):
    """Chunk → the ids of its pieces.

    Args:
        characters: the normal form of each character.
        added: the tokens that must not be cut.
        ids_of: the ids of a word.
        cuts_of: the pieces of a word.
    """

    def __init__(self, characters: Characters, added: AddedTokens, ids_of: WordIds, cuts_of: WordCuts) -> None:
        super().__init__()
        self._characters = characters
        self._added = added
        self._ids_of = ids_of
        self._cuts_of = cuts_of

    def work_out(self, key: str) -> bytes:
        normal = key.translate(self._characters)
        if self._added.in_chunk(key, normal):
            raise NotListed(key)
        words = normal.split()
        return self._ids_of[words[0]] if len(words) == 1 else b"".join(map(self._ids_of.__getitem__, words))

    def pieces(self, text: str | Sequence[str]) -> LatePieces:
        """Return the pieces of a text, or of a list of words.

        Raises:
            NotListed: ``tokenizers`` must read it.
        """
        if self._added.in_text(text):
            raise NotListed(text)
        if isinstance(text, str):
            chunks = [text] if any(map(text.__contains__, NOT_SPACES)) else text.split()
            ids = array("q", b"".join(map(self.__getitem__, chunks)))
            return LatePieces(ids, partial(self._places, text))
        ids = array("q", b"".join(map(self.__getitem__, text)))
        return LatePieces(ids, partial(self._places_in_words, text))

    def _places(self, text: str) -> KnownPieces:
        """Return all that is known of the pieces of a text, but their ids."""
        known = KnownPieces(array("q"), [], [], [])
        normal = text.translate(self._characters)
        origins = self._characters.origins(text)
        stop = 0
        for number, word in enumerate(normal.split()):
            start = normal.index(word, stop)
            stop = start + len(word)
            tokens, spans = self._cuts_of[word]
            known.tokens.extend(tokens)
            known.offsets.extend((origins[start + first], origins[start + last - 1] + 1) for first, last in spans)
            known.word_ids.extend([number] * len(tokens))
        return known

    def _places_in_words(self, words: Sequence[str]) -> KnownPieces:
        known = KnownPieces(array("q"), [], [], [])
        for number, word in enumerate(words):
            places = self._places(word)
            known.tokens.extend(places.tokens)
            known.offsets.extend(places.offsets)
            known.word_ids.extend([number] * len(places.tokens))
        return known
