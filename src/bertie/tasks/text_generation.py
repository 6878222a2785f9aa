"""Text generation: a decoder goes on with a text, or two BERTs write another for it, by the reference's arguments."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import numpy as np

from bertie.errors import InputError, InputTypeError, nearest, spelled
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_fields import FIELDS, FUNCTIONS, UNSUPPORTED, WITHOUT_EFFECT
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import GenerativeModel, Model
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import NESTED

_GENERATION = (*FIELDS, *WITHOUT_EFFECT, *UNSUPPORTED, *FUNCTIONS)
# as many new tokens as the reference's pipelines write where no length is asked for
NEW_TOKENS = 256
# texts, or beams, that are written side by side: each step reads all weights once for all of them
TOGETHER = 32


@dataclass(frozen=True, kw_only=True)
class Generation(Task):
    """What both kinds have in common. Options that are fields of a `bertie.GenerationConfig` go to ``generation``.

    Args:
        generation: how words are chosen; what is left out is taken from the model's ``generation_config``.
        seed: of words that are drawn; None: others in every call.
        prefix: put before each text.
        return_tensors: True answers with ids.
        skip_special_tokens: whether an answer is without ``[SEP]`` and the like.
        clean_up_tokenization_spaces: as the tokenizer's ``decode`` takes it.
    """

    generation: Mapping[str, Any] | None = None
    seed: int | None = None
    prefix: str = ""
    return_tensors: bool = False
    skip_special_tokens: bool = True
    clean_up_tokenization_spaces: bool | None = None
    given: ClassVar[tuple[str, ...]] = (*Task.given, "windows", "overlap")
    other_names: ClassVar[tuple[str, ...]] = (*Task.other_names, "generate_kwargs", *_GENERATION)
    # the reference's older models keep these for a task in their config
    saved: ClassVar[tuple[str, ...]] = (*FIELDS, "prefix")
    single: ClassVar[str] = "a str"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prefix, str):
            raise InputTypeError(f"prefix is {self.prefix!r:.60}; it must be a text.")
        if self.seed is not None and not isinstance(self.seed, int | np.integer):
            raise InputTypeError(f"{spelled('seed')} is {self.seed!r:.60}; it must be an integer.")

    def with_options(self, **options: Any) -> Self:
        """As `bertie.tasks.text_encoder.TextEncoder.with_options`; ``max_length`` is that of what is written."""
        more = {**(options.pop("generation", None) or {}), **(options.pop("generate_kwargs", None) or {})}
        more |= {name: options.pop(name) for name in list(options) if name in _GENERATION}
        others = [name for name in options if name not in (*self.options(), *NESTED) and options[name] is not None]
        for name in [*others, *(name for name in more if name not in _GENERATION)]:
            raise InputTypeError(f"Generation has no option {name!r}.{nearest(name, (*self.options(), *_GENERATION))}")
        if more:
            options["generation"] = {**(self.generation or {}), **more}
            GenerationConfig(**{name: value for name, value in more.items() if name not in FUNCTIONS})
        return super().with_options(**options)

    def settled(self, own: GenerationConfig) -> GenerationConfig:
        """Return how words are chosen by a model that has a config of its ``own``."""
        fields = {name: value for name, value in (self.generation or {}).items() if name not in FUNCTIONS}
        return GenerationConfig().settled(GenerationConfig.of(own), **fields)

    def rows_together(self, own: GenerationConfig) -> int:
        """Return how many texts are written side by side at most."""
        config = self.settled(own)
        if config.prompt_lookup_num_tokens:
            return 1  # words are drafted for one text at a time
        candidates = config.top_k if config.is_contrastive else 1
        return max(1, TOGETHER // max(config.num_beams, config.num_return_sequences, candidates))

    def run(self, model: Model, features: Features) -> Array:
        """Return what is written, ids ``[R * N, S]``, N texts of each."""
        writer = cast("GenerativeModel", model)
        asked = {**(self.generation or {}), **self._missing(self.settled(writer.generation_config), features)}
        if self.seed is not None:  # whatever is computed beside them, other texts draw other words
            asked["seed"] = zlib.crc32(features.ids.tobytes(), self.seed)
        return writer.generate(features, asked)

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        count = len(features.lengths)
        return list(output.reshape(count, -1, output.shape[1])[:, :, self._columns_read(features) :])

    def _missing(self, config: GenerationConfig, features: Features) -> dict[str, Any]:
        """Return what neither the caller nor the model says, as the tokenizer has it."""
        tokens = {"eos_token_id": self.tokenizer.sep_token_id, "pad_token_id": self.tokenizer.pad_token_id}
        found = {name: token for name, token in tokens.items() if getattr(config, name) is None}
        if config.max_new_tokens is None and config.max_length is None:
            most = self.config.get_text_config(decoder=True).max_position_embeddings
            found["max_new_tokens"] = max(1, min(NEW_TOKENS, most - self._columns_read(features)))
        return found

    def _columns_read(self, features: Features) -> int:
        """Return how many columns of what is written were there before."""
        raise NotImplementedError

    def _decoded(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(
            list(ids),
            skip_special_tokens=self.skip_special_tokens,
            clean_up_tokenization_spaces=self.clean_up_tokenization_spaces,
        )

    def _without_padding(self, ids: Array) -> list[int]:
        """Return ids without the padding behind a text's end."""
        words = np.flatnonzero(ids != self.tokenizer.pad_token_id)
        return ids[: words[-1] + 1 if len(words) else 0].tolist()


@dataclass(frozen=True, kw_only=True)
class TextGeneration(Generation):
    """Answers are ``[{"generated_text": …}]`` for each text, with one entry for each text that is returned.

    Args:
        return_full_text: whether an answer begins with the text that it goes on with.
        add_special_tokens: whether texts are read between ``[CLS]`` and ``[SEP]``.
    """

    return_full_text: bool = True
    add_special_tokens: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.config.is_decoder:
            raise InputError(
                "Text generation needs a decoder, and this model's config says is_decoder=false: its tokens see what "
                "comes after them; give a model that was trained as a decoder."
            )

    def rows_together(self, own: GenerationConfig) -> int:
        config = self.settled(own)
        # lengths that count the beginning: of texts side by side they would count the longest
        counts = config.min_length or (config.max_length is not None and config.max_new_tokens is None)
        return 1 if counts else super().rows_together(own)

    def features_of(self, texts: Sequence[Any]) -> Features:
        if not texts:
            return Features.from_rows([])
        rows = self.tokenizer(
            [self.prefix + text for text in texts],
            add_special_tokens=self.add_special_tokens,
            truncation=self.truncation or False,
            max_length=self.limit if self.truncation else None,
            split_special_tokens=self.split_special_tokens,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        if [] in rows:
            raise InputError(
                f"The text {texts[rows.index([])]!r:.60} has no token to go on from; give a beginning, or pass "
                "add_special_tokens=True."
            )
        flat, count = np.array([token for row in rows for token in row], np.int64), len(rows)
        return Features(flat, None, list(map(len, rows)), [0] * count, [False] * count)

    def decode(self, outputs: Outputs) -> list[list[dict[str, Any]]]:
        assert outputs.features.texts is not None
        begun = zip(outputs.features.input_ids, outputs.features.texts, outputs.values, strict=True)
        return [[self._answer(ids, text, self._without_padding(new)) for new in every] for ids, text, every in begun]

    def _answer(self, ids: list[int], text: str, new: list[int]) -> dict[str, Any]:
        if self.return_tensors:
            return {"generated_token_ids": ids + new}
        # what is new is read behind what was there: its first piece may go on with a word
        before, whole = self._decoded(ids), self._decoded(ids + new)
        return {"generated_text": (text if self.return_full_text else "") + whole[len(before) :]}

    def _columns_read(self, features: Features) -> int:
        return max(features.lengths)


@dataclass(frozen=True, kw_only=True)
class Text2TextGeneration(Generation):
    """Answers are ``{"generated_text": …}``, of one text in a list, and of several texts each in a list."""

    # what an answer is called
    key: ClassVar[str] = "generated"

    def features_of(self, texts: Sequence[Any]) -> Features:
        return super().features_of([self.prefix + text for text in texts])

    def decode(self, outputs: Outputs) -> list[list[dict[str, Any]]]:
        return [[self._answer(self._without_padding(new)) for new in every] for every in outputs.values]

    def format_output(self, answers: list[Any], inputs: object, single: bool, named: Sequence[str]) -> Any:
        if not single and all(len(answer) == 1 for answer in answers):
            return [answer[0] for answer in answers]
        return super().format_output(answers, inputs, single, named)

    def _answer(self, new: list[int]) -> dict[str, Any]:
        if self.return_tensors:
            return {f"{self.key}_token_ids": new}
        return {f"{self.key}_text": self._decoded(new)}

    def _missing(self, config: GenerationConfig, features: Features) -> dict[str, Any]:
        has_start = config.decoder_start_token_id is not None or config.bos_token_id is not None
        first = {} if has_start else {"decoder_start_token_id": self.tokenizer.cls_token_id}
        return first | super()._missing(config, features)

    def _columns_read(self, features: Features) -> int:
        return 1  # the token that every target begins with


@dataclass(frozen=True, kw_only=True)
class Summarization(Text2TextGeneration):
    """Answers are ``{"summary_text": …}``, as `Text2TextGeneration` gives them."""

    key: ClassVar[str] = "summary"
