"""BertTokenizerLegacy: BERT's tokenizer in plain Python, to be read."""

import os
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, pairwise
from typing import Any, NamedTuple

from tokenizers import AddedToken

from bertie.kernels.text_reader import Cut
from bertie.tokenization import arguments
from bertie.tokenization.arguments import Call, Layout
from bertie.tokenization.batch_encoding import BatchEncoding
from bertie.tokenization.collate import values_without_windows
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.inputs import read_inputs, without_surrogates
from bertie.tokenization.origins import spans_of
from bertie.tokenization.pieces import KnownPieces, LatePieces, Pieces, Span
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.vocab_mixin import as_special
from bertie.tokenization.vocabulary import check_vocabulary, given_vocabulary
from bertie.tokenization.wordpiece import BasicTokenizer, WordPiece

_NAMED = (*arguments.NAMED_OPTIONS, "do_basic_tokenize", "never_split")


class BertTokenizerLegacy(Tokenizer):
    """BERT's tokenizer as the algorithm it is: `BasicTokenizer` cuts a text into words, `WordPiece` words into pieces.

    Arguments are those of `BertTokenizer`, and:

    Args:
        vocab_file: the path of ``vocab.txt``, or token → id; ``vocab`` is another name of it.
        do_basic_tokenize: clean the text and cut it into words; without it the text is cut at white space only.
        never_split: words that are left as they are.
        clean_up_tokenization_spaces: take spaces before punctuation out of decoded texts.

    Raises:
        CheckpointError: a vocabulary file that cannot be read, or lacks a special token that texts need.
        InputTypeError: an option that does not exist.
    """

    _odd_to_first = True
    _bare_second_type = 0
    # as in the reference, token types are given only on request
    model_input_names: list[str] = ["input_ids", "attention_mask"]  # noqa: RUF012 (copied)

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Sequence[str] | None = None,
        unk_token: str | AddedToken | None = "[UNK]",
        sep_token: str | AddedToken | None = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken | None = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        clean_up_tokenization_spaces: bool = True,
        *,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        named = {name: value for name, value in locals().items() if name in _NAMED}
        options["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        read = arguments.read_options(type(self).__name__, named, options)
        super().__init__(read)
        self.do_basic_tokenize, self.never_split = do_basic_tokenize, never_split
        self.tokenize_chinese_chars, self.strip_accents = tokenize_chinese_chars, strip_accents
        self.do_lower_case = do_lower_case
        self._vocabulary, source = given_vocabulary(vocab, vocab_file, self._first_tokens())
        check_vocabulary(self._vocabulary, self._named, source)
        self._token_of = {number: token for token, number in self._vocabulary.items()}
        self.basic_tokenizer = BasicTokenizer(do_lower_case, never_split, tokenize_chinese_chars, strip_accents)
        self.wordpiece_tokenizer = WordPiece(self._vocabulary, str(unk_token))
        self._added: dict[str, tuple[int, AddedToken]] = {}
        self._new = 0  # added tokens that the vocabulary does not have
        self._added_pattern: re.Pattern[str] | None = None
        self._add_first_tokens(read.added_tokens_decoder or {})

    # text → pieces

    def _pieces(self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut) -> Sequence[Pieces]:
        del cut  # rows are made of all pieces
        texts = without_surrogates(texts, split)
        return [self._pieces_of(text if split else [text], split, plain) for text in texts]

    def _pieces_of(self, texts: Sequence[str], split: bool, plain: bool) -> Pieces:
        cut = [self._cut(text, plain) for text in texts]
        tokens = [token for parts in cut for part in parts for word in part.tokens for token in word]
        ids = array("q", map(self.convert_tokens_to_ids, tokens))

        def known() -> KnownPieces:
            spans = [span for parts in cut for part in parts for span in self._spans(part, plain)]
            sizes = [len(word) for parts in cut for part in parts for word in part.tokens]
            if split:
                sizes = [sum(len(word) for part in parts for word in part.tokens) for parts in cut]
            numbers: list[int | None] = [number for number, size in enumerate(sizes) for _ in range(size)]
            return KnownPieces(ids, tokens, spans, numbers)

        return LatePieces(ids, known)

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **more: Any) -> list[str]:
        """Return the tokens of a text or pair; arguments as in a call."""
        if pair is None and not add_special_tokens and not more:
            # not by way of ids: a word that is never split may have none
            texts = without_surrogates(read_inputs(text, None, False, "error").firsts, False)
            return [token for one in texts for token in self._pieces_of([one], False, self.split_special_tokens).tokens]
        ids = self.encode(text, pair, add_special_tokens=add_special_tokens, **more)
        return [str(token) for token in self.convert_ids_to_tokens(ids)]

    def _cut(self, text: str, plain: bool) -> list["_Cut"]:
        """Cut a text at the added tokens in it, what stands between them into words, and words into tokens."""
        parts = [_Part(text, range(len(text)))]
        if not plain and self._added_pattern is not None:
            parts = [part for part in self._parted(text, self._added_pattern) if part.text]
        found = []
        for part in parts:
            if part.text in self._added and not plain:
                found.append(_Cut(part, [part.text], [[part.text]]))
            else:
                words = self._words(part.text, plain)
                found.append(_Cut(part, words, list(map(self._tokens, words))))
        return found

    def _words(self, text: str, plain: bool) -> list[str]:
        """Cut a text without added tokens into the words of its normal form."""
        return self.basic_tokenizer.tokenize(text, self._kept(plain)) if self.do_basic_tokenize else text.split()

    def _tokens(self, word: str) -> list[str]:
        is_kept = self.do_basic_tokenize and word in self.basic_tokenizer.never_split
        return [word] if is_kept else self.wordpiece_tokenizer.tokens(word)

    def _kept(self, plain: bool) -> list[str]:
        return [] if plain else self.all_special_tokens

    def _spans(self, cut: "_Cut", plain: bool) -> Iterator[Span]:
        """Yield the characters of the whole text that each token of a part covers."""
        part, words, tokens = cut
        if part.text in self._added and not plain:
            yield part.span(0, len(part.text))
            return
        origins = iter(spans_of(part.text, lambda some: "".join(self._words(some, plain))))
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
            if part.text not in self._added:
                continue
            token = self._added[part.text][1]
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

    # rows

    def _give_back(self, rows: Sequence[Encoding], layout: Layout, call: Call, batched: bool) -> Any:
        pad = self._padding_token(layout)
        rows, values = values_without_windows(rows, layout, call, pad, self.pad_token_type_id, batched)
        return BatchEncoding(values, rows, call.return_tensors)

    # tokens and ids

    def _add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        before = len(self)
        for token in tokens:
            self._add_token(token, special)
        longest_first = sorted(self._added, key=len, reverse=True)
        self._added_pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if longest_first else None
        return len(self) - before

    def _add_token(self, token: str | AddedToken, special: bool) -> None:
        if isinstance(token, str) and token in self._added:
            return
        special = special or str(token) in self.all_special_tokens
        if isinstance(token, str):
            token = AddedToken(token, normalized=not special, special=special)
        elif special:
            token = as_special(token)
        if token.normalized and not token.special and self.do_lower_case:
            token = AddedToken(**{**token.__getstate__(), "content": token.content.lower()})
        if not token.content:
            return
        if token.special and token.content not in self.all_special_tokens:
            self._extra.append(token)
        known = self._token_to_id(token.content)
        number = len(self) if known is None else known
        self._new += known is None
        self._added[token.content] = (number, token)
        self._token_of[number] = token.content

    def get_vocab(self) -> dict[str, int]:
        return {**self._vocabulary, **self.added_tokens_encoder}

    @property
    def vocab_size(self) -> int:
        return len(self._vocabulary)

    def __len__(self) -> int:
        return len(self._vocabulary) + self._new

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        return dict(sorted(self._added.values(), key=lambda entry: entry[0]))

    def _token_to_id(self, token: str) -> int | None:
        return self._added[token][0] if token in self._added else self._vocabulary.get(token)

    def _id_to_token(self, index: int) -> str | None:
        return self._token_of.get(index, self.unk_token)

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens))

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(" ##", "").strip()


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
    """A part of a text, its words, and the tokens of each."""

    part: _Part
    words: list[str]
    tokens: list[list[str]]
