"""What both tokenizers share: the call from texts to rows of ids, and the way back."""

import os
from collections.abc import Sequence
from typing import Any, Self

from tokenizers import AddedToken

from bertie.errors import InputError, InputTypeError
from bertie.report import logger
from bertie.tokenization import arguments
from bertie.tokenization.arguments import Layout, Wanted
from bertie.tokenization.batch_encoding import BatchEncoding
from bertie.tokenization.encoding import Encoding, Frame, Pieces, Special, Window
from bertie.tokenization.inputs import Inputs, read_inputs
from bertie.tokenization.options import Options
from bertie.tokenization.padding import Fillings, as_lists, collated, pad_values, tensor_kind
from bertie.tokenization.rows import packed, values_of
from bertie.tokenization.special_tokens import NAMES, SpecialTokens, as_special, checked_token
from bertie.tokenization.truncation import check_room, rows_of

_TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"


class Tokenizer(SpecialTokens):
    """Texts to ids and back. A subclass knows the vocabulary and cuts one text into pieces; all else is here.

    A call reads attributes (``padding_side``, ``model_max_length``, …) and writes none, so that threads may share one
    tokenizer. ``padding_side``, ``truncation_side``, ``model_max_length`` and the special tokens may be set.
    """

    vocab_files_names = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    padding_side = "right"
    truncation_side = "right"
    pad_token_type_id = 0
    is_fast = False
    # of an odd number of places, the first text of a pair gets the one that is over
    _odd_to_first = False

    def __init__(self, options: Options) -> None:
        super().__init__(options.special_tokens, options.extra_special_tokens)
        self.name_or_path = options.name_or_path
        self.model_max_length: int = options.model_max_length
        self.padding_side = arguments.one_of("padding_side", options.padding_side, arguments.SIDES)
        self.truncation_side = arguments.one_of("truncation_side", options.truncation_side, arguments.SIDES)
        self.model_input_names = list(options.model_input_names)
        self.clean_up_tokenization_spaces = bool(options.clean_up_tokenization_spaces)
        self.split_special_tokens = bool(options.split_special_tokens)
        self.pad_token_type_id = options.pad_token_type_id
        self.verbose = options.verbose
        self.chat_template: Any = None
        self.init_kwargs: dict[str, Any] = dict(options.given)
        self.init_inputs: tuple[Any, ...] = ()
        self.deprecation_warnings: dict[str, bool] = {}

    # what a subclass supplies

    def _pieces(self, texts: Sequence[Any], split: bool, plain: bool) -> list[Pieces]:
        """Return the pieces of each text (list of words if ``split``); ``plain``: special tokens are cut like text."""
        raise NotImplementedError

    def _add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        raise NotImplementedError

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id, added tokens included."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """The number of tokens, without those that were added."""
        raise NotImplementedError

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens (special ones among them) by id."""
        raise NotImplementedError

    def _token_to_id(self, token: str) -> int | None:
        raise NotImplementedError

    def _id_to_token(self, index: int) -> str | None:
        raise NotImplementedError

    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        raise NotImplementedError

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
            text_target: texts whose ids are given back as ``labels``.
            text_pair_target: the second texts of those.
            add_special_tokens: ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``.
            padding: True or ``"longest"``; ``"max_length"``; False.
            truncation: True or ``"longest_first"``; ``"only_first"``; ``"only_second"``; False.
            max_length: of a row, special tokens included; None: ``model_max_length``.
            stride: tokens that neighbouring windows share when overflowing tokens are returned.
            is_split_into_words: the texts are lists of words already.
            pad_to_multiple_of: rows are padded to a multiple of it.
            padding_side: ``"right"`` or ``"left"``; None: the tokenizer's.
            return_tensors: ``"pt"`` or ``"np"``: int64 ``[B, S]``; ``"packed"``: a `bertie.Packed` of all texts, without
                padding, instead of the dictionary; None: lists.
            return_token_type_ids: 0 for the first text, 1 for the second; None: if the model takes them.
            return_attention_mask: 1 for tokens, 0 for padding; None: if the model takes it.
            return_overflowing_tokens: what truncation cut off, as further rows (``overflow_to_sample_mapping`` names
                their texts) or, from the legacy tokenizer, as ``overflowing_tokens``.
            return_special_tokens_mask: 1 for special tokens.
            return_offsets_mapping: the characters ``(start, end)`` of each token.
            return_length: the length of each row.
            verbose: warn of texts that are too long for the model.
            tokenizer_kwargs: more of these arguments, by name.
            split_special_tokens: treat ``[SEP]`` and the like in a text as text; None: the tokenizer's.
            max_target_length: ``max_length`` of ``text_target``.
            na: ``"error"``, or ``"skip"`` to take None and NaN as an empty text.

        Raises:
            InputTypeError: a text that is no str, or an argument that does not exist.
            InputError: a length in which no text fits, or other values that do not go together.
        """
        named = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": split_special_tokens,
            "na": na,
        }
        arguments.refuse_unknown("the tokenizer", [*unknown, *(tokenizer_kwargs or {})], named)
        named.update(tokenizer_kwargs or {})
        if text is None and text_target is None and named["na"] != "skip":
            raise InputTypeError('there is no text: give text (or text_target); na="skip" takes None as an empty text')
        if text_target is None:
            return self._encode(text, text_pair, **named)
        if max_target_length is not None:
            target_length = {"max_length": max_target_length}
        else:
            target_length = {}
        targets = self._encode(text_target, text_pair_target, **{**named, **target_length})
        if text is None:
            return targets
        encoding = self._encode(text, text_pair, **named)
        encoding["labels"] = targets["input_ids"]
        return encoding

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
        """Return the ids of a text or pair (or batch): ``tokenizer(...)["input_ids"]``, with the same arguments."""
        named = {"add_special_tokens": add_special_tokens, "padding": padding, "truncation": truncation}
        named |= {"max_length": max_length, "stride": stride, "padding_side": padding_side}
        return self(text, text_pair, **named, return_tensors=return_tensors, **more)["input_ids"]

    def _encode(
        self,
        text: Any,
        text_pair: Any,
        *,
        is_split_into_words: bool,
        return_tensors: str | None,
        return_token_type_ids: bool | None,
        return_attention_mask: bool | None,
        return_overflowing_tokens: bool,
        return_special_tokens_mask: bool,
        return_offsets_mapping: bool,
        return_length: bool,
        split_special_tokens: bool | None,
        na: str,
        verbose: bool,
        **lengths: Any,
    ) -> Any:
        if return_tensors is not None:
            return_tensors = arguments.one_of("return_tensors", return_tensors, arguments.TENSORS)
        wanted = Wanted(
            return_tensors,
            self._or_if_taken(return_token_type_ids, "token_type_ids"),
            self._or_if_taken(return_attention_mask, "attention_mask"),
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
        )
        layout = self._layout(verbose=verbose, **lengths)
        inputs = read_inputs(text, text_pair, is_split_into_words, na)
        plain = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        rows = self._rows(inputs, layout, is_split_into_words, plain)
        if lengths["max_length"] is None and not layout.truncates and verbose:
            self._warn_of_length(max((len(row) for row in rows), default=0))
        return self._give_back(rows, layout, wanted, inputs.batched)

    def _or_if_taken(self, wanted: bool | None, name: str) -> bool:
        return name in self.model_input_names if wanted is None else wanted

    def _layout(self, *, verbose: bool = True, padding_side: str | None = None, **lengths: Any) -> Layout:
        layout = arguments.read_layout(
            padding_side=self.padding_side if padding_side is None else padding_side,
            truncation_side=self.truncation_side,
            model_max_length=self.model_max_length,
            verbose=verbose,
            **lengths,
        )
        if layout.pads and self.pad_token is None:
            raise InputError("padding needs a padding token; set one, for example tokenizer.pad_token = '[PAD]'")
        return layout

    def _rows(self, inputs: Inputs, layout: Layout, split: bool, plain: bool) -> list[Encoding]:
        firsts = [Window.whole(pieces) for pieces in self._pieces(inputs.firsts, split, plain)]
        if inputs.seconds is None:
            check_room(layout, False, 2 if layout.add_special_tokens else 0)
            return [self._row((first,), layout) for first in firsts]
        partners = [second for second in inputs.seconds if second is not None]
        found = iter(self._pieces(partners, split, plain))
        check_room(layout, True, 3 if layout.add_special_tokens else 0)
        texts = [
            (first,) if second is None else (first, Window.whole(next(found)))
            for first, second in zip(firsts, inputs.seconds, strict=True)
        ]
        return [self._row(pair, layout) for pair in texts]

    def _row(self, texts: tuple[Window, ...], layout: Layout) -> Encoding:
        frame = self._frame() if layout.add_special_tokens else None
        return rows_of(texts, layout, frame, self._odd_to_first, self._second_type(frame))

    def _second_type(self, frame: Frame | None) -> int:
        """The token type of a pair's second text."""
        return 1

    def _frame(self) -> Frame:
        return Frame(Special(self.cls_token_id, self.cls_token), Special(self.sep_token_id, self.sep_token))

    def _give_back(self, rows: list[Encoding], layout: Layout, wanted: Wanted, batched: bool) -> Any:
        """Return the rows as the caller wants them."""
        if wanted.tensors == "packed":
            return packed(rows, wanted)
        rows, values = values_of(rows, layout, wanted, self._padding_token(layout), self.pad_token_type_id)
        if not batched and wanted.tensors is None and not wanted.overflowing_tokens:
            values = {name: value[0] for name, value in values.items()}
        return BatchEncoding(values, rows)

    def _padding_token(self, layout: Layout) -> Special:
        return Special(self.pad_token_id, self.pad_token) if layout.pads else Special(0, "")

    def _warn_of_length(self, longest: int) -> None:
        if longest > self.model_max_length and not self.deprecation_warnings.get(_TOO_LONG):
            self.deprecation_warnings[_TOO_LONG] = True
            logger.warning(
                "a text has %d tokens, but the model takes %d: cut it (truncation=True), split it "
                "(return_overflowing_tokens=True), or the model will refuse it",
                longest,
                self.model_max_length,
            )

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
        """Pad what a call gave back, also as a list of dictionaries, one for each text (a data collator's input).

        The ids and ``attention_mask``, ``token_type_ids``, ``special_tokens_mask`` are padded; other values are not.
        Tensors and arrays come back as such.

        Raises:
            InputError: there are no ids, or the values are of different numbers of texts.
        """
        values = collated(encoded_inputs)
        main = self.model_input_names[0]
        if main not in values:
            raise InputError(f"there is no {main!r} to pad; the values are {', '.join(map(repr, values)) or 'none'}")
        if values[main] is None or len(values[main]) == 0:
            return BatchEncoding(values)
        kind = return_tensors or tensor_kind(values[main])
        lists = {name: as_lists(value) for name, value in values.items()}
        layout = self._layout(
            padding=padding,
            truncation=False,
            max_length=max_length,
            stride=0,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            add_special_tokens=False,
            verbose=verbose,
        )
        fillings = Fillings(self.pad_token_id, self.pad_token_type_id)
        mask = self._or_if_taken(return_attention_mask, "attention_mask")
        return BatchEncoding(pad_values(lists, main, layout, fillings, mask), tensor_type=kind)

    # ids → text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        use_source_tokenizer: bool = False,
    ) -> Any:
        """Return the text of ids; a list of texts for a batch of ids (lists, arrays or tensors).

        Raises:
            InputError: a negative id.
        """
        ids = as_lists(token_ids)
        if isinstance(ids, dict):
            ids = ids["input_ids"]
        if isinstance(ids, (list, tuple)) and len(ids) > 0 and isinstance(ids[0], (list, tuple)):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        ids = [_checked_id(ids)] if not isinstance(ids, (list, tuple)) else [_checked_id(i) for i in ids]
        text = self._decode(ids, skip_special_tokens)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        use_source_tokenizer: bool = False,
    ) -> list[str]:
        """Return the texts of a batch of ids, ``decode`` for each."""
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces)
        return [texts] if isinstance(texts, str) else texts

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Take out the spaces that decoding leaves before punctuation and in contractions."""
        for spaced in (" .", " ?", " !", " ,"):
            text = text.replace(spaced, spaced[1:])
        text = text.replace(" ' ", "'")
        for spaced in (" n't", " 'm", " 's", " 've", " 're"):
            text = text.replace(spaced, spaced[1:])
        return text

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the id of a token, or a list of them; the unknown token's where there is none."""
        if isinstance(tokens, str):
            found = self._token_to_id(tokens)
            return self._unknown_id() if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _unknown_id(self) -> int | None:
        return None if self.unk_token is None else self._token_to_id(self.unk_token)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or a list of them; None for an id that has no token."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            return self._id_to_token(_checked_id(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._id_to_token(_checked_id(i)) for i in ids if i not in skipped]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text that pieces make: ``##`` pieces are joined to the one before."""
        raise NotImplementedError

    # the vocabulary

    def __len__(self) -> int:
        """The number of tokens, added ones included: the rows that an embedding matrix needs."""
        raise NotImplementedError

    def __bool__(self) -> bool:
        return True

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.get_vocab()

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The added tokens (special ones among them) with their ids."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens (special ones among them) with their ids."""
        return self.added_tokens_encoder

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add a token or a list of tokens; return how many were new. Resize the model's embeddings to ``len(tokenizer)``.

        Raises:
            InputTypeError: one is neither a str nor an AddedToken.
        """
        listed = list(new_tokens) if isinstance(new_tokens, (list, tuple)) else [new_tokens] if new_tokens else []
        tokens = [checked_token("a new token", token) for token in listed]
        return self._add_tokens(tokens, special_tokens) if tokens else 0

    def add_special_tokens(self, special_tokens_dict: dict[str, Any], replace_extra_special_tokens: bool = True) -> int:
        """Name special tokens, ``{"cls_token": "<c>", "extra_special_tokens": ["<a>"]}``; return how many were new.

        Raises:
            InputError: a name that does not exist.
            InputTypeError: a token that is neither a str nor an AddedToken.
        """
        added: list[str | AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name in ("extra_special_tokens", "additional_special_tokens"):
                tokens = [as_special(checked_token(name, token)) for token in value]
                kept = [] if replace_extra_special_tokens else list(self._extra)
                known = {str(token) for token in kept}
                self._extra = kept + [token for token in tokens if str(token) not in known]
            else:
                arguments.one_of("the name of a special token", name, (*NAMES, "extra_special_tokens"))
                tokens = [as_special(checked_token(name, value))]
                self._name_token(name, tokens[0])
            added += tokens
        return self.add_tokens(added, special_tokens=True)

    # rows by hand

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many special tokens go with a text, or with a pair."""
        return 3 if pair else 2

    @property
    def max_len_single_sentence(self) -> int:
        """The tokens of a text that fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The tokens of a pair that fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``."""
        ids = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return ids if token_ids_1 is None else [*ids, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return 0 for ``[CLS] A [SEP]`` and 1 for ``B [SEP]``."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token of the row that the ids make, or of the row that they are already.

        Raises:
            InputError: a second list beside a row that is complete already.
        """
        if not already_has_special_tokens:
            mask = [1, *[0] * len(token_ids_0), 1]
            return mask if token_ids_1 is None else [*mask, *[0] * len(token_ids_1), 1]
        if token_ids_1 is not None:
            raise InputError(
                "already_has_special_tokens=True says that token_ids_0 is the whole row; leave token_ids_1 out"
            )
        special = set(self.all_special_ids)
        return [int(int(i) in special) for i in token_ids_0]

    # files

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
            options: arguments of the constructor, which win over those in the files.

        Raises:
            CheckpointError: files that are missing, damaged, or at odds with each other.
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
        save_jinja_files: bool = True,
    ) -> tuple[str, ...]:
        """Write the tokenizer's files into a folder, atomically; return their paths.

        Raises:
            CheckpointError: the folder cannot be written.
            InputError: ``push_to_hub``, which is not offered.
        """
        from bertie.tokenization.saving import save

        if push_to_hub:
            raise InputError("push_to_hub is not offered; upload the saved folder with `hf upload`")
        return save(self, save_directory, filename_prefix)

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write ``vocab.txt`` into a folder and return its path.

        Raises:
            CheckpointError: the folder cannot be written, or the ids leave gaps.
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


def _checked_id(value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise InputTypeError(f"{value!r:.60} is no id; ids are integers")
    index = int(value)
    if not 0 <= index < 2**32:
        raise InputError(f"{index} is no id; ids begin at 0")
    return index
