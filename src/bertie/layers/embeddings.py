"""From ids to vectors: word, position and token-type embeddings, added and normalized (BERT, figure 2)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.layers.linear import Linear
from bertie.packing import Packed


class BertEmbeddings(nn.Module):
    """``E = LayerNorm(word + token type + position)``, then dropout, projected to ``hidden_size`` if E is narrower.

    ``token_type_embeddings`` is None if the config has no token types.
    """

    position_ids: Tensor
    token_type_ids: Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.embedding_width
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        # Checkpoints with relative positions, which act in attention, contain this table all the same.
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width) if config.type_vocab_size else None
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.projection = Linear(width, config.hidden_size) if width != config.hidden_size else None
        self.first_position = config.first_position
        self.padding_id = config.pad_token_id if config.family.skips_padding else None
        self.absolute = config.position_embedding_type == "absolute"
        # No file contains these buffers, so they are real even in a model on the meta device.
        device = "cpu" if torch.get_default_device().type == "meta" else None
        columns = torch.arange(config.max_position_embeddings, device=device).expand(1, -1)
        self.register_buffer("position_ids", columns, persistent=False)
        self.register_buffer("token_type_ids", torch.zeros_like(columns), persistent=False)

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """Return the embeddings ``[B, S, D]`` of ids or vectors, or ``[T, D]`` of a `Packed`.

        Positions default to columns counted from ``past_key_values_length``, token types to 0. The positions of a
        `Packed` count from 0, whatever the model's first position is.
        """
        if isinstance(input_ids, Packed):
            packed = input_ids
            words: Any = packed.inputs_embeds if packed.input_ids is None else self.word_embeddings(packed.input_ids)
            positions = packed.position_ids + self.first_position if self.first_position else packed.position_ids
            return self._sum(words, packed.token_type_ids, positions)
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        shape = words.shape[:2]
        if position_ids is None and self.padding_id is not None:
            position_ids = self.first_position + positions_of(words.shape, input_ids, self.padding_id, words.device)
        if position_ids is None:
            end = past_key_values_length + shape[1]
            columns = self.position_ids if end <= self.position_ids.shape[1] else torch.arange(end)[None]
            position_ids = columns[:, past_key_values_length:end].to(words.device)
        if token_type_ids is None:
            token_type_ids = self.token_type_ids[:, :1].to(words.device).expand(shape)
        return self._sum(words, token_type_ids, position_ids)

    def _sum(self, words: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        embeddings = words if self.token_type_embeddings is None else words + self.token_type_embeddings(types)
        if self.absolute:
            embeddings = embeddings + self.position_embeddings(positions)
        embeddings = self.dropout(self.LayerNorm(embeddings))
        return embeddings if self.projection is None else self.projection(embeddings)


def positions_of(shape: Sequence[int], ids: Tensor | None, padding_id: int, device: torch.device) -> Tensor:
    """Return the positions ``[B, S]`` of ids that are not padding, counted from 0; padding has -1.

    Without ids (``inputs_embeds``), padding is unknown and every column is counted.
    """
    if ids is None:
        return torch.arange(shape[1], device=device).expand(shape[0], -1)
    real = (ids != padding_id).long()
    return real.cumsum(1) * real - 1
