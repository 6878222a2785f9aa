"""The `Backend` that encodes texts for a tokenizer, and BERT's own: the kernel, with ``tokenizers`` as its fallback."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from bertie.kernels import text_reader
from bertie.kernels.text_reader import Cut, Read, TextReader
from bertie.tokenization.characters import characters
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.pieces import Details, EncodedTexts, Integers, Pieces, lazy_property, with_others
from bertie.tokenization.rust_backend import RustBackend, add_tokens
from bertie.tokenization.wordpiece import MAX_WORD


class Backend(Protocol):
    """Texts in; ids, offsets and words out. Encoding leaves it unchanged, so threads may share it."""

    @property
    def prefix(self) -> str | None:
        """The prefix of tokens that continue a word; None if tokens don't show it."""

    def encode(self, texts: Sequence[Any], pretokenized: bool, split_special: bool, cut: Cut) -> EncodedTexts:
        """Return the pieces of each text (each list of words if ``pretokenized``), and rows of them.

        ``split_special``: special tokens written in a text are split like any other text.
        """

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        """Add tokens, as special ones if ``special``; return how many were new."""

    def added_tokens(self) -> dict[int, AddedToken]:
        """Return the added tokens by id."""

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        """Return token → id."""

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, added ones included, or None."""

    def id_to_token(self, index: int) -> str | None:
        """Return the token of an id, or None."""


class BertBackend(RustBackend):
    """The kernel encodes nearly all texts. The package ``tokenizers`` encodes those with added tokens, those with the
    few marks that are reordered among their neighbours, and all texts where there is no kernel. ``added`` are the
    arguments of earlier calls of `add_tokens`.
    """

    prefix = "##"

    def __init__(
        self,
        vocabulary: dict[str, int],
        unk_token: str,
        normalizer: normalizers.BertNormalizer,
        added: Iterable[tuple[list[str | AddedToken], bool]] = (),
    ) -> None:
        self.vocabulary, self._unk_token, self._normalizer = vocabulary, unk_token, normalizer
        self._added = list(added)

    def __reduce__(self) -> tuple[Any, ...]:
        # without what is made on demand: copies and fingerprints stay the same after use
        return BertBackend, (self.vocabulary, self._unk_token, self._normalizer, self._added)

    @lazy_property
    def rust(self) -> tokenizers.Tokenizer:  # many programs never need it
        rust = tokenizers.Tokenizer(
            models.WordPiece(self.vocabulary, unk_token=self._unk_token, max_input_chars_per_word=MAX_WORD)
        )
        rust.normalizer = self._normalizer
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix=self.prefix)
        for tokens, special in self._added:
            add_tokens(rust, tokens, special)
        return rust

    @lazy_property
    def tokens(self) -> dict[int, str]:
        """Id → token of the vocabulary."""
        return {id_: token for token, id_ in self.vocabulary.items()}

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        is_whole = not with_added_tokens or self._added_within_vocabulary() is not None
        return self.vocabulary if is_whole else super().get_vocab(with_added_tokens)

    def added_tokens(self) -> dict[int, AddedToken]:
        added = self._added_within_vocabulary()
        return super().added_tokens() if added is None else added

    def token_to_id(self, token: str) -> int | None:
        found = self.vocabulary.get(token)
        return super().token_to_id(token) if found is None else found

    def _added_within_vocabulary(self) -> dict[int, AddedToken] | None:
        """Return the added tokens by id, the first of each id; None if only `rust` knows them."""
        added: dict[int, AddedToken] = {}
        for tokens, special in self._added:
            for token in tokens:
                if not isinstance(token, AddedToken) or token.content not in self.vocabulary or token.special < special:
                    return None
                added.setdefault(self.vocabulary[token.content], token)
        return added

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        before = len(self.added_tokens())
        if "rust" in vars(self):
            super().add_tokens(tokens, special)
        self._added.append((tokens, special))
        vars(self).pop("_reader", None)
        return len(self.added_tokens()) - before

    def encode(self, texts: Sequence[Any], pretokenized: bool, split_special: bool, cut: Cut) -> EncodedTexts:
        if self._reader is None:
            return super().encode(texts, pretokenized, split_special, cut)
        found = _KernelTexts(self, self._reader, texts, pretokenized, split_special, cut)
        unread = np.flatnonzero(found.rows.kept < 0).tolist()
        if not unread:
            return EncodedTexts(found.rows, found.pieces)
        encoded = super().encode([found.texts[number] for number in unread], pretokenized, split_special, Cut())
        others = {number: encoded.pieces(i) for i, number in enumerate(unread)}
        return EncodedTexts(
            with_others(found.rows, others, cut), lambda number: others.get(number) or found.pieces(number)
        )

    @lazy_property
    def _reader(self) -> TextReader | None:
        """The kernel with this vocabulary; None where there is none, or it could not read a single text."""
        if text_reader.functions() is None:
            return None
        added = list(self.added_tokens().values())
        forbidden = [self._forbidden(added), self._forbidden([token for token in added if not token.special])]
        if any("" in normal for _, normal in forbidden):
            return None
        does = self._normalizer
        strips = does.lowercase if does.strip_accents is None else does.strip_accents
        return TextReader(
            self.vocabulary,
            self.vocabulary[self._unk_token],
            characters(does.lowercase, strips),
            does.handle_chinese_chars,
            forbidden,
            max((len(self._normalizer.normalize_str(token.content)) for token in added if token.normalized), default=0)
            + max((len(token.content) for token in added), default=0),
        )

    def _forbidden(self, tokens: Iterable[AddedToken]) -> tuple[list[str], list[str]]:
        """Return strings of which a text with any of the tokens holds one: as written, or in a word's normal form."""
        written, normal = [], []
        for token in tokens:
            if not token.normalized:
                written.append(token.content)
            elif form := self._normalizer.normalize_str(token.content):  # an empty one makes `tokenizers` panic
                # its longest word; "" if it has none, as it may then stand anywhere
                words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(form)
                normal.append(max((word for word, _ in words), key=len, default=""))
        return written, normal


class _KernelTexts:
    """Texts that the kernel reads. It reads them a second time for tokens that were cut off, and for their details."""

    def __init__(
        self,
        backend: BertBackend,
        reader: TextReader,
        texts: Sequence[Any],
        pretokenized: bool,
        split_special: bool,
        cut: Cut,
    ) -> None:
        self._backend, self._reader, self.texts = backend, reader, texts
        self._pretokenized, self._split_special, self._cut = pretokenized, split_special, cut
        self.rows = self._read(cut)

    def _read(self, cut: Cut, with_spans: bool = False) -> Read:
        try:
            texts = [" ".join(words) for words in self.texts] if self._pretokenized else self.texts
            return self._reader.read(texts, cut, self._split_special, with_spans)
        except UnicodeEncodeError:
            self.texts = without_surrogates(self.texts, self._pretokenized)
            return self._read(cut, with_spans)

    def pieces(self, number: int) -> Pieces:
        """Return the pieces of a text, including those that were cut off."""
        rows, stops = self.rows, self._stops
        if rows.kept[number] < rows.counted[number]:
            rows, stops = self._all
            if rows.kept[number] < 0:  # something after the part that was read needs `tokenizers`
                texts = [self.texts[number]]
                return self._backend.encode(texts, self._pretokenized, self._split_special, Cut()).pieces(0)
        stop = int(stops[number])
        ids = array("q", rows.ids[stop - int(rows.kept[number]) : stop].tobytes())
        return Pieces(ids, lambda: self._details(number))

    @lazy_property
    def _stops(self) -> Integers:
        before, behind = len(self._cut.prefix) // 8, len(self._cut.suffix) // 8
        kept = self.rows.kept
        return np.cumsum(np.where(kept < 0, 0, before + kept + behind)) - behind

    @lazy_property
    def _all(self) -> tuple[Read, Integers]:
        """All tokens of the texts, and the end of each text's tokens."""
        rows = self._read(Cut(), with_spans=True)
        return rows, np.cumsum(np.maximum(rows.kept, 0))

    def _details(self, number: int) -> Details:
        rows, stops = self._all
        assert rows.spans is not None
        mine = slice(stops[number] - rows.kept[number], stops[number])
        starts, ends, words = rows.spans[mine].T
        if self._pretokenized:
            word_starts = np.cumsum([0, *(len(word) + 1 for word in self.texts[number])])
            words = np.searchsorted(word_starts, starts, "right") - 1
            starts, ends = starts - word_starts[words], ends - word_starts[words]
        tokens = [self._backend.tokens[id_] for id_ in rows.ids[mine].tolist()]
        return Details(tokens, list(zip(starts.tolist(), ends.tolist(), strict=True)), words.tolist())
