"""The `Decoder`s of PyTorch models for the search loops in ``generation/``: packed, or in padded rows."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bertie.errors import InputError, counted
from bertie.generation.decoder import StepOutput
from bertie.generation.generation_plan import Prompts
from bertie.packing import HostStats, Packed


class PaddedPrompts(NamedTuple):
    """Texts to continue, in W columns, of which the last S have ids.

    ``ids [B, S]``, ``mask`` bool ``[B, W]`` (False: padding), ``positions`` and ``types [B, W]``; the columns before
    the ids are in a cache, or are given as ``embeds [B, W, D]``.
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor
    types: Tensor
    embeds: Tensor | None = None

    @property
    def columns_before(self) -> int:
        """The number of columns without ids."""
        return self.mask.shape[1] - self.ids.shape[1]

    def limit(self, num_positions: int) -> int:
        """Return the maximum width of ``ids`` at which every token of every text has a position."""
        return self.ids.shape[1] + num_positions - 1 - int(self.positions.max())

    def last(self, values: Tensor) -> Tensor:
        """Return ``values [B, W]`` at each text's last token, ``[B]``."""
        columns = torch.arange(self.mask.shape[1], device=self.mask.device)
        return values.gather(1, (columns * self.mask).amax(dim=1, keepdim=True))[:, 0]

    def to_plan(self, source: Tensor | None = None) -> Prompts:
        """Return the prompts as a `GenerationPlan` needs them; ``source``: the encoder's ids."""
        own = self.mask[:, self.columns_before :]
        has_padding = own.shape[1] > 0 and not bool(own[:, 0].all())
        first = own.to(torch.uint8).argmax(dim=1) if has_padding else None
        return Prompts(self.ids, first, source, embedded=0 if self.embeds is None else self.columns_before)

    def unread(self, lengths: tuple[int, ...]) -> Packed:
        """Return the texts without padding and without the first ``lengths[i]`` tokens of each, which a cache holds."""
        held = torch.tensor(lengths or (0,) * self.mask.shape[0], device=self.mask.device)
        if len(held) != self.mask.shape[0]:
            raise InputError(
                f"past_key_values holds {counted(len(held), 'text')}, but this call has {self.mask.shape[0]}; give "
                "the cache of these texts or none."
            )
        new = self.mask & (self.mask.cumsum(dim=1) > held[:, None])
        start = 0 if self.embeds is not None else self.columns_before
        packed = Packed.from_padded(
            None if self.embeds is not None else self.ids,
            new[:, start:],
            self.types[:, start:],
            self.positions[:, start:],
            self.embeds,
        )
        if 0 in packed.lengths:
            raise InputError(
                f"Prompt {packed.lengths.index(0)} has no token that past_key_values does not hold; give whole texts, "
                "or new tokens with an attention_mask over all."
            )
        return packed


class _CachedDecoder:
    """What both decoders share; ``per_text`` names the attributes with one row per text."""

    per_text: tuple[str, ...]
    _positions: Tensor

    def __init__(self, model: Any, prompts: PaddedPrompts, cache: Any, encoder: Packed | None) -> None:
        self.model, self.config, self.cache, self.encoder = model, model.config, cache, encoder
        self.limit = prompts.limit(model.config.max_position_embeddings)

    def repeat(self, count: int) -> None:
        if count == 1:
            return
        texts = torch.arange(len(self._positions), device=self._positions.device).repeat_interleave(count)
        if self.cache is not None:  # a StaticCache knows no batch_repeat_interleave
            self.cache.reorder_cache(texts)
        self.encoder = None if self.encoder is None else self.encoder.select(texts.tolist())
        for name in self.per_text:
            setattr(self, name, getattr(self, name).index_select(0, texts))

    def reorder(self, texts: Tensor) -> None:
        if self.cache is not None:  # all beams of a text have the same source, so the encoder's states stay
            getattr(self.cache, "self_attention_cache", self.cache).reorder_cache(texts)


class PackedDecoder(_CachedDecoder):
    """A `Decoder` that keeps texts of unequal length in a `Cache`: neither padding nor finished texts are computed."""

    per_text = ("_positions", "_types")

    def __init__(self, model: Any, prompts: PaddedPrompts, cache: Any, encoder: Packed | None = None) -> None:
        super().__init__(model, prompts, cache, encoder)
        self._prompt: Packed | None = prompts.unread(cache.lengths)
        self._positions, self._types = prompts.last(prompts.positions) + 1, prompts.last(prompts.types)
        # kept on the host, so that no step waits for the device
        self._furthest, self._type_range = int(self._positions.max()), (int(self._types.min()), int(self._types.max()))

    def step(self, ids: Tensor, running: Tensor | None = None, with_states: bool = False) -> StepOutput:
        prompt, self._prompt = self._prompt, None
        packed = self._next(ids, running) if prompt is None else prompt
        output = self._forward(packed, 0 if prompt is None else packed.cu_seqlens[1:].long() - 1, with_states)
        logits = output.logits
        if prompt is None and packed.flat_index is not None:
            logits = logits.new_zeros(packed.shape[0], logits.shape[1]).index_copy_(0, packed.flat_index, logits)
        return StepOutput(logits, states=packed.pad(output.hidden_states[-1]) if with_states else None)

    def read(self, tokens: Tensor) -> Tensor:
        count = len(tokens)
        last = self._furthest + count - 1
        output = self._forward(
            Packed(
                input_ids=tokens,
                position_ids=self._positions + torch.arange(count, device=tokens.device),
                token_type_ids=self._types.expand(count),
                cu_seqlens=torch.tensor([0, count], dtype=torch.int32, device=tokens.device),
                shape=(1, count),
                known_stats=HostStats((count,), (0, 0), self._type_range, (0, last)),
            ),
            0,
        )
        self._positions, self._furthest = self._positions + count, last + 1
        return output.logits

    def forget(self, count: int) -> None:
        self.cache.crop(-count)
        self._positions, self._furthest = self._positions - count, self._furthest - count

    def _forward(self, packed: Packed, logits_to_keep: int | Tensor, with_states: bool = False) -> Any:
        return self.model(
            packed,
            encoder_hidden_states=self.encoder,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
            output_hidden_states=with_states,
            return_dict=True,
        )

    def _next(self, ids: Tensor, running: Tensor | None) -> Packed:
        """Return the newest token of each unfinished text."""
        texts, device = ids.shape[0], ids.device
        lengths, rows = (1,) * texts, None
        tokens, positions, types = ids[:, -1].contiguous(), self._positions, self._types
        if running is not None and not all(real := running.tolist()):
            lengths = tuple(map(int, real))
            rows = running.nonzero()[:, 0]
            tokens, positions, types = (each.index_select(0, rows) for each in (tokens, positions, types))
        ends = torch.tensor(lengths, device=device).cumsum(0, dtype=torch.int32)
        ranges = (0, 0), self._type_range, (0, self._furthest)
        packed = Packed(
            input_ids=tokens,
            position_ids=positions,
            token_type_ids=types,
            cu_seqlens=torch.cat([ends.new_zeros(1), ends]),
            shape=(texts, 1),
            flat_index=rows,
            known_stats=HostStats(lengths, *ranges),
        )
        self._positions, self._furthest = self._positions + 1, self._furthest + 1
        return packed


class PaddedDecoder(_CachedDecoder):
    """A `Decoder` of padded rows: for foreign caches, observers, attention weights, and decoding without a cache."""

    per_text = ("_mask", "_positions", "_types")

    def __init__(
        self,
        model: Any,
        prompts: PaddedPrompts,
        cache: Any,
        encoder: Packed | None = None,
        wanted: tuple[str, ...] = (),
    ) -> None:
        super().__init__(model, prompts, cache, encoder)
        self.wanted = wanted
        self._embeds, self._before = prompts.embeds, prompts.columns_before
        self._read = 0 if cache is None else int(cache.get_seq_length())
        self._has_padding = not bool(prompts.mask.all())
        # for all future columns, so that no step allocates tensors of that width
        more = torch.arange(1, max(self.limit - prompts.ids.shape[1], 0) + 1, device=prompts.ids.device)
        self._mask = torch.nn.functional.pad(prompts.mask, (0, len(more)), value=True)
        self._positions = torch.cat([prompts.positions, prompts.last(prompts.positions)[:, None] + more], dim=1)
        self._types = torch.cat([prompts.types, prompts.last(prompts.types)[:, None].expand(-1, len(more))], dim=1)

    def step(
        self,
        ids: Tensor,
        running: Tensor | None = None,  # noqa: ARG002  finished rows are computed too
        with_states: bool = False,
    ) -> StepOutput:
        embeds, self._embeds = self._embeds, None
        if embeds is not None:
            new_tokens = {"inputs_embeds": embeds[:, self._read :]}
        else:
            new_tokens = {"input_ids": ids[:, self._read - self._before :]}
        output = self._forward(self._before + ids.shape[1], 1, with_states, **new_tokens)
        extras = {name: output[name] for name in self.wanted if name in output}
        return StepOutput(output.logits[:, -1], extras, output.hidden_states[-1] if with_states else None)

    def read(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self._forward(self._read + len(tokens), len(tokens), input_ids=tokens[None]).logits
        return logits[0, -len(tokens) :]

    def forget(self, count: int) -> None:
        self.cache.crop(-count)
        self._read -= count

    def _forward(self, width: int, logits_to_keep: int, with_states: bool = False, **new_tokens: Tensor) -> Any:
        """Read the new columns of rows that are ``width`` columns wide."""
        new = slice(self._read, width)
        asked = {*self.wanted, *(("hidden_states",) if with_states else ())} - {"cross_attentions"}
        output = self.model(
            **new_tokens,
            attention_mask=self._mask[:, :width] if self._has_padding else None,
            position_ids=self._positions[:, new],
            token_type_ids=self._types[:, new],
            encoder_hidden_states=self.encoder,
            past_key_values=self.cache,
            use_cache=self.cache is not None,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **{f"output_{name}": True for name in asked},
        )
        if self.cache is not None:
            self._read = width
        return output
