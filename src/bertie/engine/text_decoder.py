"""A decoder on the engine, and a generation in progress, which the loops of `bertie.generation` step through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.attention import Starts
from bertie.engine.batch import Batch, Rows
from bertie.engine.decoder_blocks import CrossKeyValues, DecoderBlock
from bertie.engine.embeddings import Embeddings
from bertie.engine.heads import MaskedLMHead
from bertie.engine.key_values import KeyValues
from bertie.engine.weights import Weights
from bertie.errors import InputError
from bertie.generation.assisted_search import PromptLookup
from bertie.generation.decoder import StepOutput
from bertie.generation.generate import generate
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_fields import FUNCTIONS, tokens_of
from bertie.generation.generation_plan import GenerationPlan, Prompts

Integers = NDArray[np.int64]
# options of a call that are not fields of a config
CALL_OPTIONS = ("seed", *FUNCTIONS)


@dataclass(frozen=True, eq=False)
class TextDecoder:
    """``BertLMHeadModel``: embeddings, blocks with causal attention, and the language-modelling head."""

    config: BertConfig
    embeddings: Embeddings
    blocks: Sequence[DecoderBlock]
    head: MaskedLMHead

    @classmethod
    def of(cls, weights: Weights, config: BertConfig) -> "TextDecoder":
        blocks = [DecoderBlock.of(weights, config, index) for index in range(config.num_hidden_layers)]
        return cls(config, Embeddings.of(weights, config), blocks, MaskedLMHead.of(weights, config))

    def read(self, states: Array, starts: Starts, threads: int) -> "Sources":
        """Return an encoder's hidden states ``[T, D]`` of sources with offsets ``starts``, projected for all blocks."""
        layers = [block.cross.read(states, threads) for block in self.blocks if block.cross is not None]
        return Sources(layers, starts)


@dataclass(frozen=True)
class Sources:
    """Keys and values of sources in all layers, and the sources' offsets, int32 ``[N + 1]``."""

    layers: Sequence[CrossKeyValues]
    starts: Starts

    def starts_of_queries(self, counts: Integers) -> Starts:
        """Return the offsets of each source's queries, given the ``counts [B]`` of texts; copies are adjacent."""
        of_sources = counts.reshape(len(self.starts) - 1, -1).sum(axis=1)
        return np.concatenate([[0], np.cumsum(of_sources)]).astype(np.int32)


class Decoding:
    """B texts that a decoder is generating: a `bertie.generation.decoder.Decoder`.

    Neither padding nor finished texts are computed. The copies of a text share its source.
    """

    cache = None

    def __init__(self, decoder: TextDecoder, prompts: Rows, threads: int, sources: Sources | None = None) -> None:
        self.decoder, self.threads, self.sources = decoder, threads, sources
        self._prompt: Batch | None = Batch.of(prompts, decoder.config)
        self.config, self.limit = decoder.config, decoder.config.max_position_embeddings
        types, ends = self._prompt.types, self._prompt.cu_seqlens[1:]
        self._types = None if types is None else types[ends - 1]
        self._past = KeyValues(len(decoder.blocks), len(prompts.lengths), decoder.blocks[0].block.heads)

    def step(self, ids: Integers, running: NDArray[np.bool_] | None = None, with_states: bool = False) -> StepOutput:
        prompt, self._prompt = self._prompt, None
        rows = np.arange(len(ids)) if running is None else np.flatnonzero(running)
        batch = self._newest(ids, rows) if prompt is None else prompt
        hidden = self._computed(batch, rows, several=prompt is not None)
        states = _in_rows(hidden, batch, rows, len(ids)) if with_states else None
        if prompt is not None:
            hidden = hidden[batch.cu_seqlens[1:] - 1]
        found = self.decoder.head(hidden, self.threads)
        if len(rows) == len(ids):
            return StepOutput(found, states=states)
        logits = np.zeros((len(ids), found.shape[1]), np.float32)
        logits[rows] = found
        return StepOutput(logits, states=states)

    def read(self, tokens: Integers) -> Array:
        count = len(tokens)
        types = None if self._types is None else np.repeat(self._types, count)
        positions, starts = self._past.lengths + np.arange(count), np.array([0, count], np.int32)
        batch = Batch(np.ascontiguousarray(tokens), types, positions, starts, [count])
        return self.decoder.head(self._computed(batch, np.arange(1), several=count > 1), self.threads)

    def forget(self, count: int) -> None:
        self._past.lengths = self._past.lengths - count

    def repeat(self, count: int) -> None:
        if count > 1:
            self._past.repeat(count)
            self._types = None if self._types is None else np.repeat(self._types, count)

    def reorder(self, texts: Integers) -> None:
        self._past.reorder(texts)

    def _newest(self, ids: Integers, rows: Integers) -> Batch:
        types = None if self._types is None else self._types[rows]
        starts = np.arange(len(rows) + 1, dtype=np.int32)
        return Batch(np.ascontiguousarray(ids[rows, -1]), types, self._past.lengths[rows], starts, [1] * len(rows))

    def _computed(self, batch: Batch, rows: Integers, several: bool) -> Array:
        """Return the hidden states ``[T, D]`` of new tokens, ``several`` or one a text, and cache them."""
        counts = np.zeros(len(self._past.lengths), np.int64)
        counts[rows] = batch.lengths
        growth, sources, threads = self._past.grow(counts), self.sources, self.threads
        starts = None if sources is None else sources.starts_of_queries(counts)
        x = self.decoder.embeddings(batch, threads)
        for block in self.decoder.blocks:
            x = block.attend_past(x, self._past, growth, threads, several)
            if sources is not None and starts is not None and block.cross is not None:
                x = block.cross(x, sources.layers[block.index], starts, sources.starts, threads)
            x = block.block.feed_forward(x, threads)
        return x


def _in_rows(hidden: Array, batch: Batch, rows: Integers, count: int) -> Array:
    """Return the hidden states ``[T, D]`` of the texts ``rows`` as ``[count, n, D]``, padded with zeros."""
    lengths = np.asarray(batch.lengths)
    columns = np.arange(len(hidden)) - np.repeat(batch.cu_seqlens[:-1], lengths)
    found = np.zeros((count, lengths.max(), hidden.shape[1]), hidden.dtype)
    found[np.repeat(rows, lengths), columns] = hidden
    return found


class StartTokens(NamedTuple):
    """The first tokens of texts, as rows of ids."""

    ids: Integers
    lengths: Sequence[int]
    types: Integers | None = None


def first_tokens(config: GenerationConfig, count: int) -> StartTokens:
    """Return the start token of each of ``count`` targets."""
    starts = tokens_of(config.decoder_start_token_id) or tokens_of(config.bos_token_id)
    if len(starts) != 1:
        raise InputError(
            f"Targets begin with decoder_start_token_id, which is {config.decoder_start_token_id}; give one token, or "
            "set it in generation_config.json."
        )
    return StartTokens(np.full(count, starts[0], np.int64), [1] * count)


def write(
    decoder: TextDecoder,
    rows: Rows,
    config: GenerationConfig,
    threads: int,
    sources: Sources | None = None,
    source_ids: Integers | None = None,  # of the sources, [R, S_source], if all are equally long
    seed: int | None = None,  # for sampling
    **functions: Any,  # logits processors and the like, for `GenerationPlan.of`
) -> Integers:
    """Return the continuations of prompts by a settled config, with the prompts, left-padded: ids ``[R * N, S]``."""
    decoding = Decoding(decoder, rows, threads, sources)
    lengths = np.asarray(rows.lengths, np.int64)
    first = lengths.max(initial=0) - lengths
    mask = np.arange(lengths.max(initial=0)) >= first[:, None]
    ids = np.full(mask.shape, config.pad_token_id or 0, np.int64)
    ids[mask] = rows.ids
    prompts = Prompts(ids, first if first.any() else None, source_ids)
    generator = np.random.default_rng(seed)
    plan = GenerationPlan.of(config, prompts, decoding.limit, generator=generator, **functions)
    # drafts are for a single text; they do not change the result
    can_draft = len(ids) * config.num_return_sequences * config.num_beams == 1 and not config.is_contrastive
    return generate(decoding, ids, plan, PromptLookup.of(config) if can_draft else None).sequences
