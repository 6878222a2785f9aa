"""What cuts texts for a tokenizer; and BERT's own pipeline, by the kernel and, where it cannot, by ``tokenizers``."""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from bertie.kernels import text_reader
from bertie.kernels.text_reader import Cut, Read, TextReader
from bertie.tokenization.characters import characters
from bertie.tokenization.file_backend import RustBackend, add_tokens, read_by_rust
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.pieces import Block, Details, Integers, Pieces, lazy_property, with_others
from bertie.tokenization.wordpiece import MAX_WORD


class Backend(Protocol):
    """Texts in; ids, offsets and words out. Encoding changes nothing in it, so that threads may share it."""

    @property
    def prefix(self) -> str | None:
        """What tokens that go on in a word begin with; None if tokens don't show it."""

    def read(self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut) -> Block:
        """Return the pieces of each text (each list of words if ``split``), and rows of them.

        ``plain``: special tokens that are written in a text are cut like any other text.
        """

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        """Add tokens, as special ones if ``special``; return how many there are more."""

    def added_tokens(self) -> dict[int, AddedToken]:
        """Return the added tokens by id."""

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        """Return token → id."""

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token, added ones included, or None."""

    def id_to_token(self, index: int) -> str | None:
        """Return the token of an id, or None."""


class BertBackend(RustBackend):
    """The kernel reads nearly all texts. The package ``tokenizers`` reads those with added tokens, and with the few
    marks that change places with their neighbours; where there is no kernel, it reads all. ``added`` are calls of
    `add_tokens` to begin with.
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
        # what was made of these is not part of it: copies and fingerprints are the same after use
        return BertBackend, (self.vocabulary, self._unk_token, self._normalizer, self._added)

    @lazy_property
    def rust(self) -> tokenizers.Tokenizer:  # many programs end without it
        model = models.WordPiece(self.vocabulary, unk_token=self._unk_token, max_input_chars_per_word=MAX_WORD)
        rust = self._view(model)
        for tokens, special in self._added:
            add_tokens(rust, tokens, special)
        return rust

    @lazy_property
    def tokens(self) -> dict[int, str]:
        """Id → token of the vocabulary."""
        return {id_: token for token, id_ in self.vocabulary.items()}

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        own = not with_added_tokens or self._added_of_vocabulary() is not None
        return self.vocabulary if own else super().get_vocab(with_added_tokens)

    def added_tokens(self) -> dict[int, AddedToken]:
        added = self._added_of_vocabulary()
        return super().added_tokens() if added is None else added

    def token_to_id(self, token: str) -> int | None:
        found = self.vocabulary.get(token)
        return super().token_to_id(token) if found is None else found

    def _added_of_vocabulary(self) -> dict[int, AddedToken] | None:
        """Return the added tokens by id, of which the first counts that was added; None if `rust` must say it."""
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
        for made in ("_reader", "_plain_rust"):
            vars(self).pop(made, None)
        return len(self.added_tokens()) - before

    def read(self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut) -> Block:
        if self._reader is None:
            return self._read_by_rust(texts, split, plain, cut)
        found = _Texts(self, self._reader, texts, split, plain, cut)
        unread = np.flatnonzero(found.rows.kept < 0).tolist()
        if not unread:
            return Block(found.rows, found.pieces)
        block = self._read_by_rust([found.texts[number] for number in unread], split, plain, Cut())
        others = {number: block.pieces(i) for i, number in enumerate(unread)}
        return Block(with_others(found.rows, others, cut), lambda number: others.get(number) or found.pieces(number))

    def _read_by_rust(self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut) -> Block:
        return read_by_rust(self._plain_rust if plain else self.rust, texts, split, cut)

    @lazy_property
    def _plain_rust(self) -> tokenizers.Tokenizer:
        # another view of the same model: the state of one is never changed for the sake of a call
        rust = self._view(self.rust.model)
        rust.add_tokens([token for _, token in sorted(self.rust.get_added_tokens_decoder().items())])
        rust.encode_special_tokens = True
        return rust

    def _view(self, model: Any) -> tokenizers.Tokenizer:
        rust = tokenizers.Tokenizer(model)
        rust.normalizer = self._normalizer
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.decoder = decoders.WordPiece(prefix="##")
        return rust

    @lazy_property
    def _reader(self) -> TextReader | None:
        """The kernel with this vocabulary; None where there is none, or no text could be read by it."""
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
        """Return what no text has that holds none of the tokens: as it is written, and in a word's normal form."""
        written, normal = [], []
        for token in tokens:
            if not token.normalized:
                written.append(token.content)
            elif form := self._normalizer.normalize_str(token.content):  # one without makes `tokenizers` panic
                # the longest of its words; none: it may be anywhere
                words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(form)
                normal.append(max((word for word, _ in words), key=len, default=""))
        return written, normal


class _Texts:
    """Texts that the kernel reads. It reads them again for what is not kept, or not asked for at first."""

    def __init__(
        self, backend: BertBackend, reader: TextReader, texts: Sequence[Any], split: bool, plain: bool, cut: Cut
    ) -> None:
        self._backend, self._reader, self.texts = backend, reader, texts
        self._split, self._plain, self._cut = split, plain, cut
        self.rows = self._read(cut)

    def _read(self, cut: Cut, with_spans: bool = False) -> Read:
        try:
            texts = [" ".join(words) for words in self.texts] if self._split else self.texts
            return self._reader.read(texts, cut, self._plain, with_spans)
        except UnicodeEncodeError:
            self.texts = without_surrogates(self.texts, self._split)
            return self._read(cut, with_spans)

    def pieces(self, number: int) -> Pieces:
        """Return the pieces of a text, with those that are not kept."""
        rows, stops = self.rows, self._stops
        if rows.kept[number] < rows.found[number]:
            rows, stops = self._all
            if rows.kept[number] < 0:  # because of what lies behind the part that was read
                return self._backend.read([self.texts[number]], self._split, self._plain, Cut()).pieces(0)
        stop = int(stops[number])
        ids = array("q", rows.ids[stop - int(rows.kept[number]) : stop].tobytes())
        return Pieces(ids, lambda: self._details(number))

    @lazy_property
    def _stops(self) -> Integers:
        before, behind = len(self._cut.before) // 8, len(self._cut.behind) // 8
        kept = self.rows.kept
        return np.cumsum(np.where(kept < 0, 0, before + kept + behind)) - behind

    @lazy_property
    def _all(self) -> tuple[Read, Integers]:
        """All tokens of the texts, and where those of each text stop."""
        rows = self._read(Cut(), with_spans=True)
        return rows, np.cumsum(np.maximum(rows.kept, 0))

    def _details(self, number: int) -> Details:
        rows, stops = self._all
        assert rows.spans is not None
        mine = slice(stops[number] - rows.kept[number], stops[number])
        firsts, lasts, words = rows.spans[mine].T
        if self._split:
            begins = np.cumsum([0, *(len(word) + 1 for word in self.texts[number])])
            words = np.searchsorted(begins, firsts, "right") - 1
            firsts, lasts = firsts - begins[words], lasts - begins[words]
        tokens = [self._backend.tokens[id_] for id_ in rows.ids[mine].tolist()]
        return Details(tokens, list(zip(firsts.tolist(), lasts.tolist(), strict=True)), words.tolist())
