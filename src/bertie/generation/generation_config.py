"""GenerationConfig: how tokens are chosen, and reading and writing it as generation_config.json."""

import copy
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from bertie.config import BertConfig
from bertie.errors import CheckpointError, ConfigError, InputTypeError, nearest, spelled
from bertie.files import json_text, make_folder, read_json, write_text
from bertie.generation.generation_fields import FIELDS, UNSUPPORTED, WITHOUT_EFFECT, checked, refuse_others, tokens_of
from bertie.hub import member, resolve
from bertie.messages import short
from bertie.progress import say_once

FILE_NAME = "generation_config.json"
# the values of fields that neither the call nor the model sets
DEFAULTS: dict[str, Any] = {
    "min_length": 0,
    "do_sample": False,
    "use_cache": True,
    "early_stopping": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "num_return_sequences": 1,
}
_SAMPLING = ("temperature", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMS = ("early_stopping", "length_penalty")


class GenerationConfig:
    """How ``generate`` chooses tokens; a field that is None takes the model's value, or else the reference's default.

    Args:
        fields: by the reference's names; `bertie.generation.generation_fields.FIELDS` lists the allowed values. New
            attributes may be set afterwards and are saved.

    Raises:
        ConfigError: a field is out of range or contradicts another; also raised when one is set or checked later.
        InputTypeError: an argument is not a field.
    """

    _from_model_config = False  # the reference's trainer reads this, and calls _get_default_generation_params

    def __init__(self, **fields: Any) -> None:
        for name in [name for name in fields if not _is_known(name)]:
            raise InputTypeError(f"GenerationConfig has no field {name!r}.{nearest(name, FIELDS)}")
        for name in FIELDS:
            setattr(self, name, fields.pop(name, None))
        vars(self).update({name: value for name, value in fields.items() if value is not None})
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIELDS:
            value = checked(name, value)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name in WITHOUT_EFFECT or name in UNSUPPORTED:  # programs read fields that they never set
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def validate(self) -> None:
        """Check the fields against each other."""
        beams, asked = self.num_beams or 1, self.num_return_sequences or 1
        if asked > 1 and beams == 1 and not self.do_sample:
            raise ConfigError(
                f"{spelled('num_return_sequences')} is {asked}, but greedy decoding finds one; add "
                f"{spelled('do_sample', True)} or {spelled('num_beams', asked)}"
            )
        if asked > beams > 1:
            raise ConfigError(
                f"num_return_sequences is {asked}, but num_beams is {beams}; at most one per beam is returned"
            )
        self._check_groups()
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = tokens_of(getattr(self, name))
            if forced and set(forced) <= set(self.suppress_tokens or ()):
                raise ConfigError(f"{name} is {short(getattr(self, name))}, which suppress_tokens forbids; drop one")

    def _check_groups(self) -> None:
        """Check that beam groups are of equal size and can differ from each other."""
        beams, groups = self.num_beams, self.num_beam_groups or 1
        if groups == 1 or beams is None:
            return
        size = spelled("num_beam_groups", groups)
        if beams % groups:
            raise ConfigError(f"{size} does not divide {spelled('num_beams', beams)} into groups of equal size")
        if self.do_sample:
            raise ConfigError(f"{size} does not work with sampling; leave out {spelled('do_sample', True)}")
        if not self.diversity_penalty:
            raise ConfigError(f"{size} finds the same beams in every group; add {spelled('diversity_penalty', 0.5)}")

    @property
    def is_contrastive(self) -> bool:
        """Whether the fields select contrastive search."""
        is_greedy = (self.num_beams or 1) == 1 and not self.do_sample
        return bool(self.penalty_alpha) and is_greedy and (self.top_k or 0) > 1

    # reading

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name: str | os.PathLike[str], config_file_name: str = FILE_NAME, **arguments: Any
    ) -> Self:
        """Return the config of a model's folder or hub name, with the fields among ``arguments`` applied.

        The other arguments select the model's files, as in ``BertConfig.from_pretrained``.

        Raises:
            CheckpointError: there is no such file, or it cannot be read.
            ConfigError, InputTypeError: as in the class.
        """
        fields = {name: arguments.pop(name) for name in list(arguments) if _is_known(name)}
        folder = resolve(pretrained_model_name, files=[config_file_name], **arguments)
        found = cls.of_folder(folder, config_file_name)
        if found is None:
            raise CheckpointError(f"there is no {config_file_name} in {str(folder)!r}; give a folder that has one")
        found.update(**fields)
        return found

    @classmethod
    def of_folder(cls, folder: str | os.PathLike[str], name: str = FILE_NAME) -> Self | None:
        """Return the config in a folder, or None if it has none."""
        path = member(folder, name)
        if not path.exists():
            return None
        try:
            return cls.from_dict(read_json(path))
        except ConfigError as error:
            raise ConfigError(f"{str(path)!r}: {error}") from None

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **fields: Any) -> Self:
        """Return the config that a mapping describes, with ``fields`` applied; unknown keys are kept."""
        stated = {name: value for name, value in config_dict.items() if not name.startswith("_")}
        found = cls(**{name: value for name, value in stated.items() if _is_known(name)})
        for name in [name for name in stated if not _is_known(name) and not hasattr(cls, name)]:
            setattr(found, name, stated[name])
            say_once(f"{FILE_NAME}: {name!r} ({short(stated[name])}) is kept but not used", logging.INFO)
        found.update(**fields)
        return found

    @classmethod
    def of(cls, given: Any) -> "GenerationConfig":
        """Return ``given`` if it is bertie's config, else convert another library's.

        Raises:
            ConfigError: a field is out of range.
            InputTypeError: it is not a config.
        """
        if isinstance(given, GenerationConfig):
            return given
        if not hasattr(given, "to_dict"):
            raise InputTypeError(f"generation_config is a {type(given).__name__}; give a bertie.GenerationConfig.")
        return cls.from_dict(given.to_dict())

    @classmethod
    def from_model_config(cls, model_config: BertConfig) -> Self:
        """Return the generation fields in a model's config, where older versions stored them."""
        stated = vars(model_config)
        inner = vars(stated["decoder"]) if isinstance(stated.get("decoder"), BertConfig) else {}
        own = {name: inner[name] for name in FIELDS if inner.get(name) is not None}
        found = cls(**own | {name: stated[name] for name in FIELDS if stated.get(name) is not None})
        if found.output_attentions or found.output_hidden_states:
            found.return_dict_in_generate = True
        return found

    # use

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        return {"max_length": 20, **DEFAULTS}

    def update(self, *, defaults_only: bool = False, **fields: Any) -> dict[str, Any]:
        """Set the given fields (with ``defaults_only`` those that are None), validate, and return the unknown ones."""
        for name in [name for name in fields if _is_known(name)]:
            value = fields.pop(name)
            if not defaults_only or getattr(self, name) is None:
                setattr(self, name, value)
        self.validate()
        return fields

    def settled(self, model_config: "GenerationConfig", **options: Any) -> Self:
        """Return the config of a call: ``options`` over this, the model's, the defaults; warn of ineffective ones."""
        found = copy.deepcopy(self)
        for name in FIELDS:
            if getattr(found, name) is None:
                own = getattr(model_config, name)
                setattr(found, name, DEFAULTS.get(name) if own is None else own)
        given: dict[str, Any] = {name: DEFAULTS.get(name) if one is None else one for name, one in options.items()}
        found.update(**given)
        refuse_others(vars(model_config) | vars(found))
        for sentence in found.without_effect(options):
            say_once(sentence)
        return found

    def without_effect(self, options: Mapping[str, Any]) -> Iterator[str]:
        """Yield a warning for each option of a settled config that has no effect."""
        for names, is_used, fix in (
            (_SAMPLING, self.do_sample, spelled("do_sample", True)),
            (("top_k",), self.do_sample or self.penalty_alpha, spelled("do_sample", True)),
            (("penalty_alpha",), self.is_contrastive, f"{spelled('top_k', 4)}, or with beams or sampling"),
            (_BEAMS, self.num_beams > 1, spelled("num_beams", 4)),
            (("diversity_penalty",), self.num_beam_groups > 1, spelled("num_beam_groups", 2)),
        ):
            for name in names if not is_used else ():
                if options.get(name) not in (None, DEFAULTS.get(name)):
                    yield f"{spelled(name, options[name])} has no effect without {fix}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # a config is mutable

    # writing

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and unknown keys as a new plain dict."""
        return copy.deepcopy({name: value for name, value in vars(self).items() if not name.startswith("_")})

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the fields of `to_dict` that are set."""
        return {name: value for name, value in self.to_dict().items() if value is not None}

    def to_json_string(self) -> str:
        """Return the fields that are set as JSON."""
        try:
            return json_text(self.to_diff_dict(), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"the generation config cannot be saved as JSON: {error}") from error

    def save_pretrained(self, save_directory: str | os.PathLike[str], config_file_name: str = FILE_NAME) -> None:
        """Write generation_config.json into a folder, creating it if needed.

        Raises:
            CheckpointError: the folder cannot be written.
            ConfigError: the fields contradict each other or cannot be saved.
        """
        self.validate()
        text = self.to_json_string()
        write_text(Path(make_folder(save_directory), config_file_name), text)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_diff_dict(), indent=2, sort_keys=True, default=repr)}"


def _is_known(name: str) -> bool:
    return name in FIELDS or name in WITHOUT_EFFECT or name in UNSUPPORTED
