"""The vocabulary of a tokenizer: tokens and ids, special tokens by name, added tokens, and decoding."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tokenizers import AddedToken

from bertie.errors import InputError, InputTypeError
from bertie.tokenization import arguments
from bertie.tokenization.backend import Backend
from bertie.tokenization.collate import as_lists
from bertie.tokenization.encoding import Encoding, SpecialToken, Templates, Window, bare_templates, bert_templates
from bertie.tokenization.rust_backend import FileBackend
from bertie.tokenization.vocabulary import check_added_ids

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_DECODE_OPTIONS = ("skip_special_tokens", "clean_up_tokenization_spaces")


def _token(name: str) -> Any:
    """Return the property of a special token: None or a str; it may be set to None, a str or an AddedToken."""

    def read(holder: "VocabMixin") -> str | None:
        token = holder._named.get(name)
        return None if token is None else str(token)

    return property(read, lambda holder, token: holder._name_token(name, token))


def _token_id(name: str) -> Any:
    """Return the property of a special token's id; setting it names the token with that id."""

    def read(holder: "VocabMixin") -> int | None:
        token = holder._named.get(name)
        return None if token is None else holder.convert_tokens_to_ids(str(token))

    def name_by_id(holder: "VocabMixin", token_id: Any) -> None:
        holder._name_token(name, None if token_id is None else holder.convert_ids_to_tokens(token_id))

    return property(read, name_by_id)


class VocabMixin(ABC):
    """Tokens and ids of the backend's vocabulary, in both directions."""

    _backend: Backend
    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = list(NAMES)
    bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token = map(_token, NAMES)
    bos_token_id, eos_token_id, unk_token_id, sep_token_id, pad_token_id, cls_token_id, mask_token_id = map(
        _token_id, NAMES
    )
    clean_up_tokenization_spaces: bool
    model_max_length: int
    # the token type of a pair's second text if there are no special tokens
    _bare_second_type = 1

    def __init__(self, named: dict[str, Any], extra: Any) -> None:
        self._named: dict[str, str | AddedToken] = {}
        self._extra: list[str | AddedToken] = []
        for name, token in named.items():
            self._name_token(name, token)
        self.extra_special_tokens = extra

    @property
    def states_bert(self) -> bool:
        """Whether this is BERT's own pipeline, not another one that a ``tokenizer.json`` states."""
        return not isinstance(self._backend, FileBackend)

    @property
    def continuing_subword_prefix(self) -> str | None:
        """The prefix of tokens that continue a word; None if tokens don't show it."""
        return self._backend.prefix

    # special tokens by name

    @property
    def extra_special_tokens(self) -> list[str]:
        """SpecialToken tokens without a name of their own."""
        return [str(token) for token in self._extra]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: Any) -> None:
        if isinstance(tokens, dict):
            tokens = list(tokens.values())
        if tokens is not None and not isinstance(tokens, (list, tuple)):
            raise InputTypeError(f"extra_special_tokens is {tokens!r:.60}; it must be a list of tokens")
        self._extra = [checked_token("extra_special_tokens", token) for token in tokens or ()]

    @property
    def extra_special_tokens_ids(self) -> list[int]:
        """The ids of `extra_special_tokens`."""
        return [int(i) for i in self.convert_tokens_to_ids(self.extra_special_tokens)]

    @extra_special_tokens_ids.setter
    def extra_special_tokens_ids(self, ids: Any) -> None:
        self.extra_special_tokens = self.convert_ids_to_tokens(ids)

    # the name that files and programs of transformers 4 use
    additional_special_tokens = extra_special_tokens
    additional_special_tokens_ids = extra_special_tokens_ids

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The named special tokens, ``{"cls_token": "[CLS]", …}``."""
        return {name: str(self._named[name]) for name in NAMES if name in self._named}

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, named ones first."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [int(i) for i in self.convert_tokens_to_ids(self.all_special_tokens)]

    def _add_first_tokens(self, decoder: Mapping[int, AddedToken]) -> None:
        """Add the tokens that files name with their ids, then the special tokens that are still missing."""
        self._add_tokens([token for _, token in sorted(decoder.items())], special=False)
        check_added_ids(self.added_tokens_encoder, decoder)
        values = [self._named[name] for name in NAMES if name in self._named] + self._extra
        # of equal tokens the first, with an AddedToken's flags
        special = list({str(value): value for value in reversed(values)}.values())[::-1]
        known = self.added_tokens_encoder
        self._add_tokens([as_special(token) for token in special if str(token) not in known], special=True)

    def _first_tokens(self) -> list[str]:
        """Return the special tokens in the order of a vocabulary of nothing else."""
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        return [str(self._named[name]) for name in names if name in self._named]

    def _name_token(self, name: str, token: Any) -> None:
        if token is None:
            self._named.pop(name, None)
        else:
            self._named[name] = checked_token(name, token)

    # ids → text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
        use_source_tokenizer: bool = False,
        **unknown: Any,
    ) -> Any:
        """Return the text of ids; a list of texts for a batch of ids (lists, arrays or tensors).

        ``spaces_between_special_tokens`` and ``use_source_tokenizer`` have no effect, as in the reference.

        Raises:
            InputError: a negative id.
            InputTypeError: an argument that does not exist.
        """
        del spaces_between_special_tokens, use_source_tokenizer
        arguments.refuse_unknown("decode", arguments.drop_foreign("decode", unknown), _DECODE_OPTIONS)
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
        spaces_between_special_tokens: bool = True,
        use_source_tokenizer: bool = False,
        **unknown: Any,
    ) -> list[str]:
        """Return the texts of a batch of ids, ``decode`` for each."""
        del spaces_between_special_tokens, use_source_tokenizer
        texts = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **unknown)
        return [texts] if isinstance(texts, str) else texts

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Remove the spaces that decoding leaves before punctuation and in contractions."""
        for spaced in (" .", " ?", " !", " ,"):
            text = text.replace(spaced, spaced[1:])
        text = text.replace(" ' ", "'")
        for spaced in (" n't", " 'm", " 's", " 've", " 're"):
            text = text.replace(spaced, spaced[1:])
        return text

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the id of a token, or of each of a list; the unknown token's if a token has none."""
        if isinstance(tokens, str):
            found = self._backend.token_to_id(tokens)
            unknown = self.unk_token if found is None else None
            return found if unknown is None else self._backend.token_to_id(unknown)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or of each of a list; None for an id without a token."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            return self._id_to_token(_checked_id(ids))
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._id_to_token(_checked_id(i)) for i in ids if i not in skipped]

    # the names that transformers' collator for whole words calls
    def _convert_id_to_token(self, index: int) -> str | None:
        return self._id_to_token(index)

    def _convert_token_to_id(self, token: str) -> int | None:
        return self.convert_tokens_to_ids(token)

    @abstractmethod
    def _decode(self, ids: list[int], skip_special_tokens: bool) -> str: ...

    @abstractmethod
    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text of pieces: ``##`` pieces are joined to the previous one."""

    # tokens and ids

    def _id_to_token(self, index: int) -> str | None:
        return self._backend.id_to_token(index)

    def _add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        return self._backend.add_tokens(tokens, special) if tokens else 0

    def __len__(self) -> int:
        """The number of tokens, added ones included: the number of rows that an embedding matrix needs."""
        return len(self._backend.get_vocab(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens, without added ones."""
        return len(self._backend.get_vocab(with_added_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id, added tokens included."""
        return self._backend.get_vocab(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens (special ones among them) by id."""
        return dict(sorted(self._backend.added_tokens().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The added tokens (special ones among them) with their ids."""
        return {token.content: index for index, token in sorted(self.added_tokens_decoder.items())}

    def get_added_vocab(self) -> dict[str, int]:
        """Return the added tokens (special ones among them) with their ids."""
        return self.added_tokens_encoder

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add a token or a list of them; return how many were new. The model then needs ``len(tokenizer)`` embeddings.

        Raises:
            InputTypeError: a token that is neither a str nor an AddedToken.
        """
        listed = new_tokens if isinstance(new_tokens, (list, tuple)) else [new_tokens] if new_tokens else []
        return self._add_tokens([checked_token("a new token", token) for token in listed], special_tokens)

    def add_special_tokens(self, special_tokens_dict: dict[str, Any], replace_extra_special_tokens: bool = True) -> int:
        """Set special tokens, ``{"cls_token": "<c>", "extra_special_tokens": ["<a>"]}``; return how many were new.

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

    # rows of ids

    def _templates(self, special_tokens: bool) -> Templates:
        if isinstance(self._backend, FileBackend):
            return self._backend.templates(special_tokens)
        if not special_tokens:
            return bare_templates(self._bare_second_type)
        for name in ("cls_token", "sep_token"):
            if getattr(self, name) is None:
                raise InputError(
                    f"{name} is None, but every row of BERT's needs it; set tokenizer.{name}, "
                    "or pass add_special_tokens=False"
                )
        return bert_templates(
            SpecialToken(self.cls_token_id, self.cls_token), SpecialToken(self.sep_token_id, self.sep_token)
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of special tokens around a text, or around a pair."""
        return self._templates(True)[bool(pair)].size

    @property
    def max_len_single_sentence(self) -> int:
        """The number of tokens of a single text that fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The number of tokens of a pair that fit into the model."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return ``[CLS] A [SEP]`` or ``[CLS] A [SEP] B [SEP]``, or this tokenizer's equivalent."""
        return self._row_of_ids(token_ids_0, token_ids_1).ids

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return 0 for ``[CLS] A [SEP]`` and 1 for ``B [SEP]``, or this tokenizer's equivalent."""
        return self._row_of_ids(token_ids_0, token_ids_1).type_ids

    def _row_of_ids(self, *ids: list[int] | None) -> Encoding:
        windows = tuple(Window.of_ids(one) for one in ids if one is not None)
        return Encoding(windows, self._templates(True)[len(windows) - 1])

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """Return 1 for each special token of the row made of the ids, or of the complete row given, and 0 elsewhere.

        Raises:
            InputError: a second list beside a row that is already complete.
        """
        if not already_has_special_tokens:
            return self._row_of_ids(token_ids_0, token_ids_1).special_tokens_mask
        if token_ids_1 is not None:
            raise InputError(
                "already_has_special_tokens=True says that token_ids_0 is the whole row; leave token_ids_1 out"
            )
        special = set(self.all_special_ids)
        return [int(int(i) in special) for i in token_ids_0]


def _checked_id(value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise InputTypeError(f"{value!r:.60} is not an id; ids are integers")
    index = int(value)
    if not 0 <= index < 2**32:
        raise InputError(f"{index} is not an id; ids begin at 0")
    return index


def checked_token(name: str, token: Any) -> str | AddedToken:
    """Return ``token``; a dictionary, as in files, becomes an AddedToken."""
    if isinstance(token, dict) and "content" in token:
        fields = ("single_word", "lstrip", "rstrip", "normalized", "special")
        return AddedToken(token["content"], **{field: bool(token[field]) for field in fields if field in token})
    if not isinstance(token, (str, AddedToken)):
        raise InputTypeError(f"{name} is {token!r:.60} ({type(token).__name__}); it must be a str or an AddedToken")
    return token


def as_special(token: str | AddedToken) -> AddedToken:
    """Return the token as a special one; if it was a str, it is searched for before texts are normalized."""
    if isinstance(token, str):
        return AddedToken(token, special=True, normalized=False)
    if token.special:
        return token
    state = token.__getstate__()
    return AddedToken(**{**state, "special": True})
