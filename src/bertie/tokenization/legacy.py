"""BertTokenizerLegacy: BERT's tokenizer in plain Python, written to be read."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from bertie.kernels.text_reader import Cut
from bertie.tokenization.arguments import NAMED_OPTIONS, Call, read_options
from bertie.tokenization.batch_encoding import BatchEncoding
from bertie.tokenization.collate import values_without_windows
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.inputs import read_inputs
from bertie.tokenization.pieces import EncodedTexts
from bertie.tokenization.python_backend import PythonBackend
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.vocab_mixin import as_special
from bertie.tokenization.vocabulary import check_vocabulary, given_vocabulary
from bertie.tokenization.wordpiece import BasicTokenizer, WordPiece


class BertTokenizerLegacy(Tokenizer):
    """BERT's algorithm in plain Python: `BasicTokenizer` splits a text into words, `WordPiece` words into pieces.

    Arguments are those of `BertTokenizer`, and:

    Args:
        vocab_file: the path of ``vocab.txt``, or token → id; ``vocab`` is another name for it.
        do_basic_tokenize: clean the text and split it into words; False splits it at white space only.
        never_split: words to leave unchanged.
        clean_up_tokenization_spaces: remove spaces before punctuation from decoded texts.

    Raises:
        CheckpointError: a vocabulary file that cannot be read, or lacks a special token that texts need.
        InputTypeError: an option that does not exist.
    """

    _backend: PythonBackend
    _odd_to_first = True
    _bare_second_type = 0
    saved_class = "BertTokenizerLegacy"
    # as in the reference, token types are returned only on request
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
        named = {name: value for name, value in locals().items() if name in NAMED_OPTIONS}
        options["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        read = read_options(type(self).__name__, named, options)
        super().__init__(read)
        vocabulary, source = given_vocabulary(vocab, vocab_file, self._first_tokens())
        check_vocabulary(vocabulary, self._named, source)
        self.basic_tokenizer = BasicTokenizer(do_lower_case, never_split, tokenize_chinese_chars, strip_accents)
        self.wordpiece_tokenizer = WordPiece(vocabulary, str(unk_token))
        self._backend = self._python_backend(vocabulary)
        self._add_first_tokens(read.added_tokens_decoder or {})

    def _python_backend(self, vocabulary: dict[str, int]) -> PythonBackend:
        return PythonBackend(
            vocabulary, self.basic_tokenizer if self.do_basic_tokenize else None, self.wordpiece_tokenizer
        )

    def _encode_texts(self, texts: Sequence[Any], call: Call, cut: Cut) -> EncodedTexts:
        pretokenized, split_special = call.is_split_into_words, bool(call.split_special_tokens)
        return self._backend.encode(texts, pretokenized, split_special, cut, self.all_special_tokens)

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **more: Any) -> list[str]:
        """Return the tokens of a text or pair; arguments as in a call."""
        if pair is None and not add_special_tokens and not more:
            # not by way of ids: a word that is never split may have none
            encoded = self._encode_texts(read_inputs(text, None, False, "error").firsts, self._call(), Cut())
            return [token for number in range(len(encoded)) for token in encoded.pieces(number).tokens]
        ids = self.encode(text, pair, add_special_tokens=add_special_tokens, **more)
        return [str(token) for token in self.convert_ids_to_tokens(ids)]

    def _batch_encoding(self, rows: Sequence[Encoding], call: Call, batched: bool) -> Any:
        rows, values = values_without_windows(rows, call, self._padding_token(call), batched)
        return BatchEncoding(values, rows, call.return_tensors)

    def _add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        known, made = self.added_tokens_encoder, []
        for token in tokens:
            if isinstance(token, str) and token in known:
                continue
            added = self._as_added(token, special)
            if added.special and added.content and added.content not in self.all_special_tokens:
                self._extra.append(added)
            known[added.content] = 0
            made.append(added)
        return self._backend.add_tokens(made, special)

    def _as_added(self, token: str | AddedToken, special: bool) -> AddedToken:
        special = special or str(token) in self.all_special_tokens
        if isinstance(token, str):
            token = AddedToken(token, normalized=not special, special=special)
        elif special:
            token = as_special(token)
        if token.normalized and not token.special and self.do_lower_case:
            token = AddedToken(**{**token.__getstate__(), "content": token.content.lower()})
        return token

    def _id_to_token(self, index: int) -> str | None:
        token = self._backend.id_to_token(index)
        return self.unk_token if token is None else token

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids, skip_special_tokens))

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(" ##", "").strip()
