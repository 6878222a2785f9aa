"""Text generation: a decoder continues a text, or an encoder-decoder writes another, with the reference's arguments."""

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
# new tokens if no length is given, as in the reference's pipelines
NEW_TOKENS = 256
# the most texts, or beams, generated in one batch: each step reads all weights once for all of them
MAX_ROWS = 32


@dataclass(frozen=True, kw_only=True)
class Generation(Task):
    """The base of both kinds. Options that are fields of a `bertie.GenerationConfig` go to ``generation``.

    Args:
        generation: fields of a generation config; the model's ``generation_config`` supplies the others.
        seed: for sampling; None: different samples in every call.
        prefix: put before each text.
        return_tensors: True answers with ids.
        skip_special_tokens: whether ``[SEP]`` and the like are removed from answers.
        clean_up_tokenization_spaces: as for the tokenizer's ``decode``.
    """

    generation: Mapping[str, Any] | None = None
    seed: int | None = None
    prefix: str = ""
    return_tensors: bool = False
    skip_special_tokens: bool = True
    clean_up_tokenization_spaces: bool | None = None
    not_options: ClassVar[tuple[str, ...]] = (*Task.not_options, "windows", "overlap")
    aliases: ClassVar[tuple[str, ...]] = (*Task.aliases, "generate_kwargs", *_GENERATION)
    # older models of the reference keep these for a task in their config
    saved: ClassVar[tuple[str, ...]] = (*FIELDS, "prefix")
    single: ClassVar[str] = "a str"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.prefix, str):
            raise InputTypeError(f"prefix is {self.prefix!r:.60}; it must be a text.")
        if self.seed is not None and not isinstance(self.seed, int | np.integer):
            raise InputTypeError(f"{spelled('seed')} is {self.seed!r:.60}; it must be an integer.")

    def with_options(self, **options: Any) -> Self:
        """As `bertie.tasks.text_encoder.TextEncoder.with_options`, but ``max_length`` is that of the generated text."""
        more = {**(options.pop("generation", None) or {}), **(options.pop("generate_kwargs", None) or {})}
        more |= {name: options.pop(name) for name in list(options) if name in _GENERATION}
        others = [name for name in options if name not in (*self.options(), *NESTED) and options[name] is not None]
        for name in [*others, *(name for name in more if name not in _GENERATION)]:
            raise InputTypeError(f"Generation has no option {name!r}.{nearest(name, (*self.options(), *_GENERATION))}")
        if more:
            options["generation"] = {**(self.generation or {}), **more}
            GenerationConfig(**{name: value for name, value in more.items() if name not in FUNCTIONS})
        return super().with_options(**options)

    def resolve_config(self, own: GenerationConfig) -> GenerationConfig:
        """Return the generation config to use with a model whose ``own`` one supplies what the task leaves out."""
        fields = {name: value for name, value in (self.generation or {}).items() if name not in FUNCTIONS}
        return GenerationConfig().settled(GenerationConfig.of(own), **fields)

    def max_rows(self, own: GenerationConfig) -> int:
        """Return the most texts to generate in one batch."""
        config = self.resolve_config(own)
        if config.prompt_lookup_num_tokens:
            return 1  # tokens are drafted for one text at a time
        candidates = config.top_k if config.is_contrastive else 1
        return max(1, MAX_ROWS // max(config.num_beams, config.num_return_sequences, candidates))

    def run(self, model: Model, features: Features) -> Array:
        """Return the generated ids ``[R * N, S]``, N texts for each row."""
        generator = cast("GenerativeModel", model)
        config = self.resolve_config(generator.generation_config)
        options = {**(self.generation or {}), **self._defaults(config, features)}
        if self.seed is not None:  # a text's samples depend on it, and not on which batch it is in
            options["seed"] = zlib.crc32(features.ids.tobytes(), self.seed)
        return generator.generate(features, options)

    def rows(self, output: Any, features: Features) -> Sequence[Array]:
        count = len(features.lengths)
        return list(output.reshape(count, -1, output.shape[1])[:, :, self._prompt_columns(features) :])

    def _defaults(self, config: GenerationConfig, features: Features) -> dict[str, Any]:
        """Return what neither the caller nor the model states: token ids from the tokenizer, and a length."""
        tokens = {"eos_token_id": self.tokenizer.sep_token_id, "pad_token_id": self.tokenizer.pad_token_id}
        found = {name: token for name, token in tokens.items() if getattr(config, name) is None}
        if config.max_new_tokens is None and config.max_length is None:
            positions = self.config.get_text_config(decoder=True).max_position_embeddings
            found["max_new_tokens"] = max(1, min(NEW_TOKENS, positions - self._prompt_columns(features)))
        return found

    def _prompt_columns(self, features: Features) -> int:
        """Return how many columns of the generated ids precede what is new."""
        raise NotImplementedError

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(
            list(ids),
            skip_special_tokens=self.skip_special_tokens,
            clean_up_tokenization_spaces=self.clean_up_tokenization_spaces,
        )

    def _without_padding(self, ids: Array) -> list[int]:
        """Return ids without the padding at the end."""
        tokens = np.flatnonzero(ids != self.tokenizer.pad_token_id)
        return ids[: tokens[-1] + 1 if len(tokens) else 0].tolist()


@dataclass(frozen=True, kw_only=True)
class TextGeneration(Generation):
    """An answer is ``[{"generated_text": …}]``, with one entry per returned sequence.

    Args:
        return_full_text: whether an answer includes the text that it continues.
        add_special_tokens: whether texts are read between ``[CLS]`` and ``[SEP]``.
    """

    return_full_text: bool = True
    add_special_tokens: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.config.is_decoder:
            raise InputError(
                "Text generation needs a decoder, but this model's config says is_decoder=false: its tokens attend to "
                "those after them; give a model that was trained as a decoder."
            )

    def max_rows(self, own: GenerationConfig) -> int:
        config = self.resolve_config(own)
        # in a batch, lengths that include the prompt would count the longest prompt for all texts
        counts_prompt = config.min_length or (config.max_length is not None and config.max_new_tokens is None)
        return 1 if counts_prompt else super().max_rows(own)

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
                f"The text {texts[rows.index([])]!r:.60} has no token to continue; give a beginning, or pass "
                "add_special_tokens=True."
            )
        flat, count = np.array([token for row in rows for token in row], np.int64), len(rows)
        return Features(flat, None, list(map(len, rows)), [0] * count, [False] * count)

    def decode(self, outputs: Outputs) -> list[list[dict[str, Any]]]:
        assert outputs.features.texts is not None
        prompts = zip(outputs.features.input_ids, outputs.features.texts, outputs.values, strict=True)
        return [
            [self._answer(ids, text, self._without_padding(new)) for new in continuations]
            for ids, text, continuations in prompts
        ]

    def _answer(self, ids: list[int], text: str, new: list[int]) -> dict[str, Any]:
        if self.return_tensors:
            return {"generated_token_ids": ids + new}
        # decoded together with the prompt, because the first new piece may continue a word
        before, whole = self._decode(ids), self._decode(ids + new)
        return {"generated_text": (text if self.return_full_text else "") + whole[len(before) :]}

    def _prompt_columns(self, features: Features) -> int:
        return max(features.lengths)


@dataclass(frozen=True, kw_only=True)
class Text2TextGeneration(Generation):
    """An answer is a list of ``{"generated_text": …}``; with one each, several texts are answered by a flat list."""

    # the prefix of an answer's keys
    key: ClassVar[str] = "generated"

    def features_of(self, texts: Sequence[Any]) -> Features:
        return super().features_of([self.prefix + text for text in texts])

    def decode(self, outputs: Outputs) -> list[list[dict[str, Any]]]:
        return [[self._answer(self._without_padding(ids)) for ids in sequences] for sequences in outputs.values]

    def format_output(self, answers: list[Any], inputs: object, single: bool, named: Sequence[str]) -> Any:
        if not single and all(len(answer) == 1 for answer in answers):
            return [answer[0] for answer in answers]
        return super().format_output(answers, inputs, single, named)

    def _answer(self, new: list[int]) -> dict[str, Any]:
        if self.return_tensors:
            return {f"{self.key}_token_ids": new}
        return {f"{self.key}_text": self._decode(new)}

    def _defaults(self, config: GenerationConfig, features: Features) -> dict[str, Any]:
        has_start = config.decoder_start_token_id is not None or config.bos_token_id is not None
        start = {} if has_start else {"decoder_start_token_id": self.tokenizer.cls_token_id}
        return start | super()._defaults(config, features)

    def _prompt_columns(self, features: Features) -> int:
        return 1  # the decoder's start token


@dataclass(frozen=True, kw_only=True)
class Summarization(Text2TextGeneration):
    """As `Text2TextGeneration`, with ``{"summary_text": …}``."""

    key: ClassVar[str] = "summary"
