"""BertJapaneseTokenizer: Japanese text is split into words by MeCab, then into word pieces or characters."""

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from bertie.errors import InputError
from bertie.extras import need
from bertie.tokenization.legacy import BertTokenizerLegacy
from bertie.tokenization.python_backend import PythonBackend

DICTIONARIES = ("unidic_lite", "ipadic")


class BertJapaneseTokenizer(BertTokenizerLegacy):
    """The tokenizer of Japanese BERTs; MeCab needs ``pip install 'bertie[japanese]'``.

    Arguments are those of `BertTokenizerLegacy`, and:

    Args:
        do_word_tokenize: split texts into words.
        do_subword_tokenize: split words into pieces.
        word_tokenizer_type: ``"mecab"``, or ``"basic"``, which splits as BERT does for other languages.
        subword_tokenizer_type: ``"wordpiece"``, or ``"character"``.
        mecab_kwargs: ``mecab_dic`` is "unidic_lite", "ipadic" or None, ``mecab_option`` is passed to MeCab, and
            ``normalize_text=False`` skips NFKC.

    Raises:
        CheckpointError: as `BertTokenizerLegacy`.
        InputError: an unsupported word or subword tokenizer (Sudachi, Juman++, SentencePiece) or dictionary.
        BertieError: MeCab or its dictionary is not installed.
    """

    saved_class = "BertJapaneseTokenizer"

    def __init__(
        self,
        vocab_file: str | PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = False,
        do_word_tokenize: bool = True,
        do_subword_tokenize: bool = True,
        word_tokenizer_type: str = "basic",
        subword_tokenizer_type: str = "wordpiece",
        never_split: Sequence[str] | None = None,
        mecab_kwargs: Mapping[str, Any] | None = None,
        *,
        spm_file: None = None,
        sudachi_kwargs: Mapping[str, Any] | None = None,
        jumanpp_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        del spm_file, sudachi_kwargs, jumanpp_kwargs  # of tokenizers that are refused here
        _check_kind("word_tokenizer_type", word_tokenizer_type, ("mecab", "basic"))
        _check_kind("subword_tokenizer_type", subword_tokenizer_type, ("wordpiece", "character"))
        self.do_word_tokenize, self.do_subword_tokenize = do_word_tokenize, do_subword_tokenize
        self.word_tokenizer_type, self.subword_tokenizer_type = word_tokenizer_type, subword_tokenizer_type
        self.mecab_kwargs = dict(mecab_kwargs or {})
        options["tokenize_chinese_chars"] = False
        super().__init__(vocab_file, do_lower_case, never_split=never_split, **options)
        self.init_kwargs |= {"word_tokenizer_type": word_tokenizer_type, "mecab_kwargs": self.mecab_kwargs}
        self.init_kwargs |= {"subword_tokenizer_type": subword_tokenizer_type}
        self.init_kwargs |= {"do_word_tokenize": do_word_tokenize, "do_subword_tokenize": do_subword_tokenize}

    def _python_backend(self, vocabulary: dict[str, int]) -> PythonBackend:
        return _JapaneseBackend(self, vocabulary)


class _JapaneseBackend(PythonBackend):
    def __init__(self, options: BertJapaneseTokenizer, vocabulary: dict[str, int]) -> None:
        super().__init__(vocabulary, options.basic_tokenizer, options.wordpiece_tokenizer)
        self._splits_words, self._splits_pieces = options.do_word_tokenize, options.do_subword_tokenize
        self._by_character = options.do_subword_tokenize and options.subword_tokenizer_type == "character"
        by_mecab = options.do_word_tokenize and options.word_tokenizer_type == "mecab"
        self._mecab = _Mecab(**options.mecab_kwargs) if by_mecab else None
        self._lower_cases, self._never_split = options.do_lower_case, options.never_split or ()

    def _words(self, text: str, kept: Collection[str]) -> list[str]:
        if not self._splits_words:
            words = [text]
        elif self._mecab is None:
            words = super()._words(text, kept)
        else:
            kept = {*kept, *self._never_split}
            words = self._mecab.words(text)
            words = [word.lower() if self._lower_cases and word not in kept else word for word in words]
        if not self._splits_pieces:
            return words
        return list(map(_nfkc, words)) if self._by_character else [part for word in words for part in word.split()]

    def _tokens(self, word: str) -> list[str]:
        if not self._splits_pieces:
            return [word]
        if not self._by_character:
            return self._wordpiece.tokens(word)
        return [char if char in self.vocabulary else self._wordpiece.unk_token for char in word]

    def _sizes(self, word: str, tokens: list[str]) -> list[int]:
        return [1] * len(tokens) if self._by_character else super()._sizes(word, tokens)


class _Mecab:
    """MeCab with one of the dictionaries that transformers supports."""

    def __init__(
        self, mecab_dic: str | None = "unidic_lite", mecab_option: str | None = None, normalize_text: bool = True
    ) -> None:
        self._arguments = (mecab_dic, mecab_option, normalize_text)
        self._normalize: Callable[[str], str] = _nfkc if normalize_text else str
        option = mecab_option or ""
        if mecab_dic is not None:
            _check_kind("mecab_dic", mecab_dic, DICTIONARIES)
            folder = need(mecab_dic, "japanese", "Splitting Japanese into words").DICDIR
            option = f'-d "{folder}" -r "{Path(folder, "mecabrc")}" {option}'
        self._tagger = need("fugashi", "japanese", "Splitting Japanese into words").GenericTagger(option)

    def words(self, text: str) -> list[str]:
        return [word.surface for word in self._tagger(self._normalize(text))]

    def __reduce__(self) -> tuple[type["_Mecab"], tuple[Any, ...]]:
        return _Mecab, self._arguments


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _check_kind(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(
            f"{name} is {value!r}, which bertie does not support; it supports {' and '.join(map(repr, allowed))}: "
            "encode texts with transformers, and give the model ids"
        )
