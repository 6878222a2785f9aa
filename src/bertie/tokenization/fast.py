"""BertTokenizer: the fast tokenizer, which also knows where each token lies in the text."""

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from tokenizers import AddedToken, normalizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import InputError, MissingVocabularyError
from bertie.frames import texts_of
from bertie.kernels.text_reader import Cut
from bertie.progress import progress, say_once
from bertie.tokenization.arguments import NAMED_OPTIONS, read_options
from bertie.tokenization.backend import BertBackend
from bertie.tokenization.pieces import Integers
from bertie.tokenization.rust_backend import FileBackend, copied
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.vocabulary import check_vocabulary, given_vocabulary
from bertie.tokenization.wordpiece_trainer import count_words, train_wordpiece

# arguments of the constructor that do not fit another vocabulary
_OF_ONE_VOCABULARY = ("vocab", "vocab_file", "tokenizer_file", "name_or_path")


class BertTokenizer(Tokenizer):
    """BERT's tokenizer: cleaning, lower-casing, words, WordPiece. `BertTokenizerFast` is the same class.

    A ``tokenizer.json`` that states another pipeline is run unchanged, whatever its model; then the arguments about
    text have no effect, and special tokens that its vocabulary lacks are None.

    Args:
        vocab: token → id, or the path of ``vocab.txt``; None: a vocabulary of the five special tokens only.
        do_lower_case: lower-case the text (and strip accents, unless ``strip_accents`` says otherwise).
        unk_token: replaces a word without pieces; ``sep_token`` ends a text, ``pad_token`` pads rows,
            ``cls_token`` begins them, ``mask_token`` is the token that a masked LM predicts.
        tokenize_chinese_chars: make each Chinese character a word.
        strip_accents: None: as ``do_lower_case``.
        vocab_file: another name for ``vocab``.
        tokenizer_file: the path of a ``tokenizer.json``, instead of a vocabulary; arguments other than the defaults
            override it.
        tokenizer_object: a `tokenizers.Tokenizer`; a copy of it is run.
        do_basic_tokenize, never_split: for `BertTokenizerLegacy`; kept and saved, without effect here.
        options: ``model_max_length``, ``padding_side``, ``truncation_side``, ``model_input_names``,
            ``clean_up_tokenization_spaces``, ``split_special_tokens``, ``pad_token_type_id``, ``bos_token``,
            ``eos_token``, ``extra_special_tokens``, ``added_tokens_decoder``, ``name_or_path``, ``verbose``.

    Raises:
        CheckpointError: a file that cannot be read, or a vocabulary without a special token that texts need.
        InputError: a vocabulary and a file that states one.
        InputTypeError: an option that does not exist.
    """

    _backend: BertBackend | FileBackend
    is_fast = True
    saved_class = "BertTokenizer"

    def __init__(
        self,
        vocab: str | os.PathLike[str] | Mapping[str, int] | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken | None = "[UNK]",
        sep_token: str | AddedToken | None = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken | None = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab_file: str | os.PathLike[str] | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        tokenizer_object: RustTokenizer | FileBackend | None = None,
        do_basic_tokenize: bool = True,
        never_split: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        named = {name: value for name, value in locals().items() if name in NAMED_OPTIONS}
        sources = (vocab if vocab is not None else vocab_file, tokenizer_file, tokenizer_object)
        if sum(source is not None for source in sources) > 1:
            raise InputError("vocab (or vocab_file), tokenizer_file and tokenizer_object exclude each other; give one")
        if tokenizer_file is not None:
            if not os.path.isfile(tokenizer_file):
                raise MissingVocabularyError(f"there is no tokenizer file {str(tokenizer_file)!r}; check the path")
            changed = {name: value for name, value in named.items() if value != _DEFAULTS[name]}
            self.__dict__ = type(self).from_pretrained(tokenizer_file, **changed, **options).__dict__
            return
        read = read_options(type(self).__name__, named, options)
        super().__init__(read)
        if never_split:
            say_once("never_split has no effect on BertTokenizer; use add_tokens, or BertTokenizerLegacy")
        if tokenizer_object is None:
            self._backend = self._bert_backend(*given_vocabulary(vocab, vocab_file, self._first_tokens()))
        else:
            given = tokenizer_object
            self._backend = given if isinstance(given, FileBackend) else FileBackend(copied(given))
            # the file determines how texts are normalized
            self.do_lower_case = self.tokenize_chinese_chars = self.strip_accents = None
            for name, token in self.special_tokens_map.items():
                if token == _DEFAULTS.get(name) and self._backend.token_to_id(token) is None:
                    setattr(self, name, None)  # a default that this vocabulary lacks
        self._add_first_tokens(read.added_tokens_decoder or {})

    def _bert_backend(self, vocabulary: dict[str, int], source: str) -> BertBackend:
        check_vocabulary(vocabulary, self._named, source)
        normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=bool(self.tokenize_chinese_chars),
            strip_accents=self.strip_accents,
            lowercase=bool(self.do_lower_case),
        )
        return BertBackend(vocabulary, str(self.unk_token), normalizer)

    def plain_ids(self, texts: Sequence[str]) -> tuple[Integers, Integers]:
        """Return the ids of all texts concatenated, int64 ``[T]``, and the number of ids of each text, ``[N]``.

        Without special tokens: those written in a text are split like any other text.
        """
        rows = self._backend.encode(texts, False, True, Cut()).rows
        return rows.ids, rows.kept

    @property
    def can_save_slow_tokenizer(self) -> bool:
        """Whether ``vocab.txt`` is enough for `BertTokenizerLegacy` to open this tokenizer."""
        return self.states_bert

    @property
    def decoder(self) -> Any:
        """The decoder of ``tokenizers`` that turns tokens into text, or None."""
        return self._backend.rust.decoder

    @property
    def backend_tokenizer(self) -> RustTokenizer:
        """A copy of this tokenizer for the package ``tokenizers``; changes to it do not affect this one."""
        rust = copied(self._backend.rust)
        cls, sep = self.cls_token, self.sep_token
        if self.states_bert and cls is not None and sep is not None:
            rust.post_processor = processors.TemplateProcessing(
                single=f"{cls}:0 $A:0 {sep}:0",
                pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
                special_tokens=[(cls, self.cls_token_id), (sep, self.sep_token_id)],
            )
        return rust

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return str(self._backend.rust.decode(ids, skip_special_tokens=skip_special_tokens))

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str | Sequence[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Sequence[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        *,
        min_frequency: int = 2,
        limit_alphabet: int = 1000,
    ) -> Self:
        """Train a new tokenizer of the same kind on texts, from scratch. Equal texts give equal files.

        Args:
            text_iterator: texts, or lists of them.
            vocab_size: the exact number of tokens, special ones included.
            length: the number of items of ``text_iterator``, for the progress bar.
            new_special_tokens: further special tokens.
            special_tokens_map: special token of this tokenizer → its name in the new one.
            min_frequency: pairs of pieces that are less frequent are not merged.
            limit_alphabet: the maximum number of characters; the most frequent ones are kept.

        Raises:
            InputError: the texts are too few for a vocabulary of that size, or this tokenizer is not BERT's.

        See `bertie.tokenization.wordpiece_trainer.train_wordpiece` for the algorithm.
        """
        if not self.states_bert:
            raise InputError("only BERT's own tokenizer can be retrained, and this one runs another tokenizer.json")
        renamed = dict(special_tokens_map or {})
        own = [renamed.get(token, token) for token in [*self._first_tokens(), *self.all_special_tokens]]
        special = list(dict.fromkeys([*own, *map(str, new_special_tokens or ())]))
        words = count_words(_counted(texts_of(text_iterator, [["text"]]), length), self.backend_tokenizer)
        tokens = train_wordpiece(words, vocab_size, special, min_frequency, limit_alphabet)
        named = {name: renamed.get(token, token) for name, token in self.special_tokens_map.items()}
        more = [token for token in special if token not in named.values()]
        return self.with_vocabulary(tokens, **named, extra_special_tokens=more)

    def with_vocabulary(self, tokens: Sequence[str], **options: Any) -> Self:
        """Return a tokenizer of the same kind whose vocabulary is ``tokens``, in the order of their ids."""
        kept = {name: value for name, value in self.init_kwargs.items() if name not in _OF_ONE_VOCABULARY}
        known = {name: kept[name] for name in self.option_names() if name in kept}
        made = type(self)({token: number for number, token in enumerate(tokens)}, **{**known, **options})
        # with what other programs wrote into the files, as `from_pretrained` keeps it
        made.init_kwargs, made.chat_template = {**kept, **made.init_kwargs}, self.chat_template
        return made

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens) if self.decoder is None else str(self.decoder.decode(list(tokens)))


_DEFAULTS = {name: one.default for name, one in inspect.signature(BertTokenizer).parameters.items()}
BertTokenizerFast = BertTokenizer


def _counted(texts: Iterable[str | Sequence[str]], length: int | None) -> Iterator[str]:
    """Yield the texts one by one, also those in lists, with a progress bar."""
    with progress("counting words", length) as advance:
        for item in texts:
            yield from [item] if isinstance(item, str) else item
            advance(1)
