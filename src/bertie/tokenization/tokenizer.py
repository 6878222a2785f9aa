"""What the tokenizers share: the call from texts to rows of ids, padding, and their files."""

import inspect
import os
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from bertie.errors import InputError, InputTypeError
from bertie.kernels.text_reader import Cut
from bertie.progress import logger
from bertie.tokenization import arguments, collate
from bertie.tokenization.arguments import CALL_NAMES, OPTION_NAMES, Call, Options
from bertie.tokenization.batch_encoding import BatchEncoding
from bertie.tokenization.encoding import Encoding, SpecialToken, Templates, Window, without_types
from bertie.tokenization.inputs import Inputs, read_inputs
from bertie.tokenization.pieces import EncodedTexts
from bertie.tokenization.rows import LazyRows, RowStream
from bertie.tokenization.truncation import Windows, check_room, cut_of, truncate
from bertie.tokenization.vocab_mixin import VocabMixin

COUNT_LIMIT = 1 << 16
"""Of a truncated text, no more than this many of the tokens cut off are counted: the rest is not read."""
_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"


class Tokenizer(VocabMixin):
    """Texts to ids and back. A subclass makes the backend that encodes texts.

    A call reads attributes (``padding_side``, ``model_max_length``, …) and writes none, so threads may share a
    tokenizer. ``padding_side``, ``truncation_side``, ``model_max_length`` and the special tokens may be set.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}
    model_input_names: list[str] = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012 (copied)
    padding_side = "right"
    truncation_side = "right"
    pad_token_type_id = 0
    is_fast = False
    saved_class: ClassVar[str]
    """The class named in saved files if they state BERT's pipeline."""
    # whether truncation leaves the first text of a pair the extra token of an odd number
    _odd_to_first = False

    def __init__(self, options: Options) -> None:
        super().__init__(options.special_tokens, options.extra_special_tokens)
        given = self.init_kwargs = options.given
        self.do_lower_case: bool | None = given["do_lower_case"]
        self.do_basic_tokenize, self.never_split = given["do_basic_tokenize"], given["never_split"]
        self.tokenize_chinese_chars: bool | None = given["tokenize_chinese_chars"]
        self.strip_accents: bool | None = given["strip_accents"]
        self.name_or_path = options.name_or_path
        self.model_max_length: int = options.model_max_length
        self.padding_side = arguments.one_of("padding_side", options.padding_side, arguments.SIDES)
        self.truncation_side = arguments.one_of("truncation_side", options.truncation_side, arguments.SIDES)
        self.model_input_names = list(options.model_input_names or type(self).model_input_names)
        self.clean_up_tokenization_spaces = bool(options.clean_up_tokenization_spaces)
        self.split_special_tokens = bool(options.split_special_tokens)
        self.pad_token_type_id = options.pad_token_type_id
        self.verbose = options.verbose
        self.chat_template: Any = None
        self.init_inputs: tuple[Any, ...] = ()
        self.deprecation_warnings: dict[str, bool] = {}

    # text → ids

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        tokenizer_kwargs: dict[str, Any] | None = None,
        *,
        split_special_tokens: bool | None = None,
        max_target_length: int | None = None,
        na: str = "error",
        **unknown: Any,
    ) -> Any:
        """Turn a text, a pair, a batch of texts or a batch of pairs into ids.

        Args:
            text: a str, or a list of them; lists of words with ``is_split_into_words``.
            text_pair: the second text of each pair.
            text_target: texts whose ids are returned as ``labels``.
            text_pair_target: the second texts of the targets.
            add_special_tokens: ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``.
            padding: True or ``"longest"``; ``"max_length"``; False.
            truncation: True or ``"longest_first"``; ``"only_first"``; ``"only_second"``; False.
            max_length: the length of a row, special tokens included; None: ``model_max_length``.
            stride: the number of tokens by which consecutive windows overlap when overflowing tokens are returned.
            is_split_into_words: the texts are lists of words already.
            pad_to_multiple_of: rows are padded to a multiple of it.
            padding_side: ``"right"`` or ``"left"``; None: the tokenizer's.
            return_tensors: ``"pt"`` or ``"np"``: int64 ``[B, S]``; ``"packed"``: a `bertie.Packed` of all texts,
                without padding, instead of the dictionary; None: lists.
            return_token_type_ids: 0 for the first text, 1 for the second; None: if the model takes them.
            return_attention_mask: 1 for tokens, 0 for padding; None: if the model takes it.
            return_overflowing_tokens: return what truncation cut off, as further rows
                (``overflow_to_sample_mapping`` gives their texts' numbers) or, from the legacy tokenizer, as
                ``overflowing_tokens``.
            return_special_tokens_mask: 1 for special tokens.
            return_offsets_mapping: the characters ``(start, end)`` of each token.
            return_length: the length of each row.
            verbose: warn of texts that are too long for the model.
            tokenizer_kwargs: more of these arguments, by name.
            split_special_tokens: treat ``[SEP]`` and the like in a text as plain text; None: the tokenizer's.
            max_target_length: ``max_length`` of ``text_target``.
            na: ``"error"``, or ``"skip"`` to treat None and NaN as an empty text.

        Raises:
            InputTypeError: a text that is not a str, or an argument that does not exist.
            InputError: a length that leaves no room for text, or arguments that contradict each other.
        """
        named = {name: value for name, value in locals().items() if name in CALL_NAMES}
        more = arguments.drop_foreign("the tokenizer", {**unknown, **(tokenizer_kwargs or {})})
        arguments.refuse_unknown("the tokenizer", [name for name in more if name not in named], named)
        named |= more
        call = self._call(**named)
        if text is None and text_target is None and call.na != "skip":
            raise InputTypeError('there is no text: give text (or text_target); na="skip" takes None as an empty text')
        if text_target is None:
            return self._encode(text, text_pair, call)
        target_call = call if max_target_length is None else self._call(**{**named, "max_length": max_target_length})
        targets = self._encode(text_target, text_pair_target, target_call)
        if text is None:
            return targets
        encoding = self._encode(text, text_pair, call)
        encoding["labels"] = targets["input_ids"]
        return encoding

    def rows(
        self,
        texts: Any,
        *,
        truncation: bool | str = False,
        max_length: int | None = None,
        split_special_tokens: bool | None = None,
        is_split_into_words: bool = False,
    ) -> RowStream:
        """Return the rows of texts or pairs, to be iterated over once; they know how many tokens were cut off.

        Arguments as in a call.

        Raises:
            InputError, InputTypeError: as in a call.
        """
        named = {name: value for name, value in locals().items() if name in CALL_NAMES}
        return self._row_stream(texts, None, self._call(**named, verbose=False), COUNT_LIMIT)

    def encode(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        **more: Any,
    ) -> Any:
        """Return the ids of a text, pair or batch: ``tokenizer(...)["input_ids"]``, with the same arguments."""
        named = {name: value for name, value in locals().items() if name in CALL_NAMES}
        return self(text, text_pair, **named, **more)["input_ids"]

    def _encode(self, text: Any, text_pair: Any, call: Call) -> Any:
        if call.return_tensors == "packed":
            return collate.packed(self._row_stream(text, text_pair, call), call)
        inputs = read_inputs(text, text_pair, call.is_split_into_words, call.na)
        rows = self._rows(inputs, call, self._templates(call.add_special_tokens))
        return self._batch_encoding(rows, call, inputs.batched)

    def _call(self, **named: Any) -> Call:
        """Return the arguments of a call, completed by the tokenizer's defaults."""
        call = Call(**named, truncation_side=self.truncation_side)
        if call.return_tensors is not None:
            call.return_tensors = arguments.one_of("return_tensors", call.return_tensors, arguments.TENSORS)
        if call.return_token_type_ids is None:
            call.return_token_type_ids = "token_type_ids" in self.model_input_names
        if call.return_attention_mask is None:
            call.return_attention_mask = "attention_mask" in self.model_input_names
        if call.split_special_tokens is None:
            call.split_special_tokens = self.split_special_tokens
        arguments.resolve(call, self.padding_side, self.model_max_length)
        if call.pads and self.pad_token is None:
            raise InputError("padding needs a padding token; set one, for example tokenizer.pad_token = '[PAD]'")
        return call

    def _row_stream(self, text: Any, text_pair: Any, call: Call, count_limit: int = 1) -> RowStream:
        """Return the rows, made one chunk of texts at a time."""
        inputs = read_inputs(text, text_pair, call.is_split_into_words, call.na)
        templates = self._templates(call.add_special_tokens)
        names = self.model_input_names
        # the default names are those of files that don't say: the model takes token types
        if not (call.return_token_type_ids or "token_type_ids" in names or names == type(self).model_input_names):
            templates = without_types(templates[0]), without_types(templates[1])
        return RowStream(self._rows(some, call, templates, count_limit) for some in inputs.chunks())

    def _rows(self, inputs: Inputs, call: Call, templates: Templates, count_limit: int = 1) -> Sequence[Encoding]:
        """Return the rows. Only ``count_limit`` of the tokens cut off are read, and the rest on demand."""
        check_room(call, inputs.seconds is not None, templates[inputs.seconds is not None].size)
        rows: Sequence[Encoding]
        if inputs.seconds is None and templates[0].untyped:
            encoded = self._encode_texts(inputs.firsts, call, cut_of(call, templates[0], count_limit))
            rows = LazyRows(encoded, call, templates[0])
        else:
            firsts = self._windows(inputs.firsts, call)
            seconds: Sequence[Windows] = [()] * len(firsts)
            if inputs.seconds is not None:
                found = iter(self._windows([text for text in inputs.seconds if text is not None], call))
                seconds = [() if text is None else (next(found),) for text in inputs.seconds]
            rows = [self._row((first, *second), call, templates) for first, second in zip(firsts, seconds, strict=True)]
        if call.verbose:
            self._warn_of_long(rows)
        return rows

    def _encode_texts(self, texts: Sequence[Any], call: Call, cut: Cut) -> EncodedTexts:
        return self._backend.encode(texts, call.is_split_into_words, bool(call.split_special_tokens), cut)

    def _windows(self, texts: Sequence[Any], call: Call) -> list[Window]:
        encoded = self._encode_texts(texts, call, Cut())
        return [Window.whole(encoded.pieces(number)) for number in range(len(encoded))]

    def _row(self, texts: Windows, call: Call, templates: Templates) -> Encoding:
        return truncate(texts, call, templates[len(texts) - 1], self._odd_to_first)

    def _batch_encoding(self, rows: Sequence[Encoding], call: Call, batched: bool) -> Any:
        rows, values = collate.values_of(rows, call, self._padding_token(call))
        if not batched and call.return_tensors is None and not call.return_overflowing_tokens:
            # as in the reference, the length of a single row is still a list of one
            values = {name: value if name == "length" else value[0] for name, value in values.items()}
        return BatchEncoding(values, rows, call.return_tensors)

    def _padding_token(self, call: Call) -> SpecialToken:
        return (
            SpecialToken(self.pad_token_id, self.pad_token, self.pad_token_type_id)
            if call.pads
            else SpecialToken(0, "")
        )

    def _warn_of_long(self, rows: Sequence[Encoding]) -> None:
        """Warn once, of the first row that is too long for the model."""
        if self.deprecation_warnings.get(_TOO_LONG):
            return
        lengths = rows.flat.lengths if isinstance(rows, LazyRows) else map(len, rows)
        too_long = next((length for length in lengths if length > self.model_max_length), None)
        if too_long is not None:
            self.deprecation_warnings[_TOO_LONG] = True
            logger.warning(
                "a text has %d tokens, but the model takes %d: cut it (truncation=True), split it "
                "(return_overflowing_tokens=True), or the model will refuse it",
                too_long,
                self.model_max_length,
            )

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
    ) -> BatchEncoding:
        """Make a row of ids without special tokens; arguments as in a call.

        Raises:
            InputError: as in a call.
        """
        named = {name: value for name, value in locals().items() if name in CALL_NAMES}
        if return_tensors is not None:
            arguments.one_of("return_tensors", return_tensors, ("pt", "np"))
        call = self._call(**named)
        windows = tuple(map(Window.of_ids, [ids] if pair_ids is None else [ids, pair_ids]))
        templates = self._templates(add_special_tokens)
        check_room(call, pair_ids is not None, templates[pair_ids is not None].size)
        row = self._row(windows, call, templates)
        _, values = collate.values_without_windows([row], call, self._padding_token(call), False)
        encoding = BatchEncoding(values, tensor_type=call.return_tensors)
        if call.return_tensors and not prepend_batch_axis:
            encoding.data = {name: value[0] for name, value in encoding.items()}
        return encoding

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **more: Any) -> list[str]:
        """Return the tokens of a text or pair; arguments as in a call."""
        return list(self(text, pair, add_special_tokens=add_special_tokens, **more).tokens())

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad the result of a call, or a list of dictionaries, one for each text (a data collator's input).

        The ids, ``attention_mask``, ``token_type_ids`` and ``special_tokens_mask`` are padded; other values are not.
        Tensors remain tensors, and arrays arrays.

        Raises:
            InputError: there are no ids, or the values belong to different numbers of texts.
        """
        values = collate.by_name(encoded_inputs)
        main = self.model_input_names[0]
        if main not in values:
            raise InputError(f"there is no {main!r} to pad; the values are {', '.join(map(repr, values)) or 'none'}")
        if values[main] is None or len(values[main]) == 0:
            return BatchEncoding(values)
        kind = return_tensors or collate.tensor_kind(values[main])
        lists = {name: collate.as_lists(value) for name, value in values.items()}
        named = {name: value for name, value in locals().items() if name in CALL_NAMES}
        call = self._call(**named, truncation=False, add_special_tokens=False)
        pads = {"attention_mask": 0, "token_type_ids": self.pad_token_type_id, "special_tokens_mask": 1}
        pads[main] = self.pad_token_id
        padded = collate.pad_values(lists, main, call, pads)
        return BatchEncoding(padded, tensor_type=kind)

    # files

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of all arguments that the constructor takes."""
        classes = [one for one in cls.__mro__ if issubclass(one, Tokenizer) and "__init__" in vars(one)]
        makers = [vars(one)["__init__"] for one in classes]
        parameters = [parameter for maker in makers for parameter in inspect.signature(maker).parameters.values()]
        named = dict.fromkeys(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)
        own = [name for name in named if name not in ("self", "options")]
        return [*own, *OPTION_NAMES, "additional_special_tokens", "max_len"]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> Self:
        """Load a tokenizer from a folder, from ``vocab.txt`` or ``tokenizer.json``, or from the hub by name.

        Args:
            options: arguments of the constructor; they override those in the files.

        Raises:
            CheckpointError: files that are missing or damaged, or contradict each other.
            InputTypeError: an argument that does not exist.
        """
        from bertie.tokenization.loading import load

        hub = {"cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only}
        hub |= {"token": token, "revision": revision, "subfolder": subfolder}
        return load(cls, pretrained_model_name_or_path, hub, trust_remote_code, options)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
    ) -> tuple[str, ...]:
        """Write the tokenizer's files into a folder, atomically; return their paths.

        Args:
            legacy_format: True: without ``tokenizer.json``; False: without ``vocab.txt``; None: both.

        Raises:
            CheckpointError: the folder cannot be written.
            InputError: ``push_to_hub``, which is not supported.
        """
        from bertie.tokenization.saving import save

        if push_to_hub:
            raise InputError("push_to_hub is not supported; upload the saved folder with `hf upload`")
        return save(self, save_directory, legacy_format, filename_prefix)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write ``vocab.txt`` into a folder and return its path.

        Raises:
            CheckpointError: the folder cannot be written, or the ids have gaps.
        """
        from bertie.tokenization.saving import save_vocabulary

        return save_vocabulary(self, save_directory, filename_prefix)

    def _set_processor_class(self, processor_class: str) -> None:
        self.init_kwargs["processor_class"] = processor_class

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )
