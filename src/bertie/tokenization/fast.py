"""BertTokenizer: the fast tokenizer, which also knows where in the text each token came from."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, normalizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.report import say_once
from bertie.tokenization.backend import Backend
from bertie.tokenization.options import read_options
from bertie.tokenization.pieces import Pieces
from bertie.tokenization.special_tokens import as_special
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.vocabulary import check_added_ids, check_vocabulary, given_vocabulary


class BertTokenizer(Tokenizer):
    """BERT's tokenizer: cleaning, lower-casing, words, WordPiece. `BertTokenizerFast` is the same class.

    Args:
        vocab: token → id, or the path of ``vocab.txt``; None: a vocabulary of the five special tokens only.
        do_lower_case: lower-case the text (and strip accents, unless ``strip_accents`` says otherwise).
        unk_token: stands for a word without pieces; ``sep_token`` ends a text, ``pad_token`` fills rows,
            ``cls_token`` begins them, ``mask_token`` is what a masked-LM fills in.
        tokenize_chinese_chars: make each Chinese character a word.
        strip_accents: None: as ``do_lower_case``.
        vocab_file: another name of ``vocab``.
        do_basic_tokenize, never_split: for `BertTokenizerLegacy`; kept and saved, without effect here.
        options: ``model_max_length``, ``padding_side``, ``truncation_side``, ``model_input_names``,
            ``clean_up_tokenization_spaces``, ``split_special_tokens``, ``pad_token_type_id``, ``bos_token``,
            ``eos_token``, ``extra_special_tokens``, ``added_tokens_decoder``, ``name_or_path``, ``verbose``.

    Raises:
        CheckpointError: a vocabulary file that cannot be read, or lacks a special token that texts need.
        InputTypeError: an option that does not exist.
    """

    is_fast = True

    def __init__(
        self,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab_file: str | os.PathLike[str] | None = None,
        do_basic_tokenize: bool = True,
        never_split: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        named: dict[str, Any] = {"do_lower_case": do_lower_case, "unk_token": unk_token, "sep_token": sep_token}
        named |= {"pad_token": pad_token, "cls_token": cls_token, "mask_token": mask_token}
        named |= {"tokenize_chinese_chars": tokenize_chinese_chars, "strip_accents": strip_accents}
        read = read_options(type(self).__name__, named, options)
        super().__init__(read)
        if never_split:
            say_once("never_split has no effect on BertTokenizer; use add_tokens, or BertTokenizerLegacy")
        self.do_lower_case = do_lower_case
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.strip_accents = strip_accents
        self.do_basic_tokenize, self.never_split = do_basic_tokenize, never_split
        defaults = [str(token) for token in (pad_token, unk_token, cls_token, sep_token, mask_token)]
        vocabulary, source = given_vocabulary(vocab, vocab_file, defaults)
        needed = {"unk_token": str(unk_token), "cls_token": str(cls_token), "sep_token": str(sep_token)}
        check_vocabulary(vocabulary, needed, source)
        self._added: list[tuple[list[str | AddedToken], bool]] = []
        self._backend = self._new_backend(vocabulary)
        self._add_first_tokens(read.added_tokens_decoder or {})

    def _new_backend(self, vocabulary: dict[str, int]) -> Backend:
        normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        return Backend(vocabulary, str(self.unk_token), normalizer)

    def _add_first_tokens(self, decoder: Mapping[int, AddedToken]) -> None:
        """Add the tokens that a file names with their ids, then the special ones that are still missing."""
        self._add_tokens([token for _, token in sorted(decoder.items())], special=False)
        check_added_ids(self.added_tokens_encoder, decoder)
        known = {token.content for token in self.added_tokens_decoder.values()}
        missing = [as_special(token) for token in self._special_token_values() if str(token) not in known]
        self._add_tokens(list(missing), special=True)

    def _pieces(self, texts: Sequence[Any], split: bool, plain: bool) -> Sequence[Pieces]:
        return self._backend.pieces(texts, split, plain)

    def _add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        if not tokens:
            return 0
        self._added.append((tokens, special))
        return self._backend.add_tokens(tokens, special)

    @property
    def backend_tokenizer(self) -> RustTokenizer:
        """A copy of this tokenizer for the package ``tokenizers``; changes to it do not come back."""
        rust = self._backend.full()
        cls, sep = self.cls_token, self.sep_token
        rust.post_processor = processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
        )
        return rust

    def get_vocab(self) -> dict[str, int]:
        return self._backend.rust.get_vocab(with_added_tokens=True)

    @property
    def vocab_size(self) -> int:
        return int(self._backend.rust.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return int(self._backend.rust.get_vocab_size(with_added_tokens=True))

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        return dict(sorted(self._backend.rust.get_added_tokens_decoder().items()))

    def _token_to_id(self, token: str) -> int | None:
        return self._backend.rust.token_to_id(token)

    def _id_to_token(self, index: int) -> str | None:
        return self._backend.rust.id_to_token(index)

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return str(self._backend.rust.decode(ids, skip_special_tokens=skip_special_tokens))

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return str(self._backend.rust.decoder.decode(list(tokens)))

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # what is remembered of texts is no part of a tokenizer: copies and fingerprints are the same after use
        state["_backend"] = self._backend.vocabulary
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._added = list(self._added)
        self._backend = self._new_backend(state["_backend"])
        for tokens, special in self._added:
            self._backend.add_tokens(tokens, special)


BertTokenizerFast = BertTokenizer
