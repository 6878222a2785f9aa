"""The special tokens of a tokenizer by name: ``tokenizer.cls_token``, ``tokenizer.cls_token_id``, and so on."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from tokenizers import AddedToken

from bertie.errors import InputTypeError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class _Token:
    """A special token as an attribute: None or a str; set it to None, a str or an AddedToken."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: "SpecialTokens | None", owner: type) -> Any:
        if holder is None:
            return self
        token = holder._named.get(self.name)
        return None if token is None else str(token)

    def __set__(self, holder: "SpecialTokens", token: Any) -> None:
        holder._name_token(self.name, token)


class _TokenId:
    """The id of a special token as an attribute; setting it names the token that has this id."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, holder: "SpecialTokens | None", owner: type) -> Any:
        if holder is None:
            return self
        token = holder._named.get(self.name)
        return None if token is None else holder.convert_tokens_to_ids(str(token))

    def __set__(self, holder: "SpecialTokens", token_id: Any) -> None:
        holder._name_token(self.name, None if token_id is None else holder.convert_ids_to_tokens(token_id))


class SpecialTokens(ABC):
    """The names of special tokens. A subclass holds the vocabulary that gives them their ids."""

    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = list(NAMES)

    bos_token, eos_token, unk_token, sep_token = _Token(), _Token(), _Token(), _Token()
    pad_token, cls_token, mask_token = _Token(), _Token(), _Token()
    bos_token_id, eos_token_id, unk_token_id, sep_token_id = _TokenId(), _TokenId(), _TokenId(), _TokenId()
    pad_token_id, cls_token_id, mask_token_id = _TokenId(), _TokenId(), _TokenId()

    def __init__(self, named: dict[str, Any], extra: Any) -> None:
        self._named: dict[str, str | AddedToken] = {}
        self._extra: list[str | AddedToken] = []
        for name, token in named.items():
            self._name_token(name, token)
        self.extra_special_tokens = extra

    @abstractmethod
    def convert_tokens_to_ids(self, tokens: Any) -> Any: ...

    @abstractmethod
    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any: ...

    @property
    def extra_special_tokens(self) -> list[str]:
        """Special tokens without a name of their own."""
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

    def _special_token_values(self) -> list[str | AddedToken]:
        """As `all_special_tokens`, with what an AddedToken says beside its content."""
        values = [self._named[name] for name in NAMES if name in self._named] + self._extra
        return list({str(value): value for value in reversed(values)}.values())[::-1]

    def _first_tokens(self) -> list[str]:
        """Return BERT's special tokens in the order of a vocabulary that has no others."""
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        return [str(self._named[name]) for name in names if name in self._named]

    def _name_token(self, name: str, token: Any) -> None:
        if token is None:
            self._named.pop(name, None)
        else:
            self._named[name] = checked_token(name, token)


def checked_token(name: str, token: Any) -> str | AddedToken:
    """Return ``token``, an AddedToken also from the dictionary that files hold.

    Raises:
        InputTypeError: it is neither a str nor an AddedToken.
    """
    if isinstance(token, dict) and "content" in token:
        fields = ("single_word", "lstrip", "rstrip", "normalized", "special")
        return AddedToken(token["content"], **{field: bool(token[field]) for field in fields if field in token})
    if not isinstance(token, (str, AddedToken)):
        raise InputTypeError(f"{name} is {token!r:.60} ({type(token).__name__}); it must be a str or an AddedToken")
    return token


def as_special(token: str | AddedToken) -> AddedToken:
    """Return the token as one that is found in texts as it is written, before they are normalised."""
    if isinstance(token, str):
        return AddedToken(token, special=True, normalized=False)
    if token.special:
        return token
    state = token.__getstate__()
    return AddedToken(**{**state, "special": True})
