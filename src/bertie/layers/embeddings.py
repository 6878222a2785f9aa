"""From ids to vectors: word, position and token-type embeddings, summed and normalised (BERT, figure 2)."""

from typing import Any

import torch
from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.packing import Packed


class BertEmbeddings(nn.Module):
    """``E = LayerNorm(word + token type + position)``, then dropout."""

    position_ids: Tensor
    token_type_ids: Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        # Relative positions act in attention instead; checkpoints of that kind still carry this table.
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.absolute = config.position_embedding_type == "absolute"
        # No file holds their numbers, so they exist even in a model that is made without memory.
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
        """Return the embeddings ``[B, S, D]`` of ids or vectors; of a `Packed`, ``[T, D]``.

        Without positions columns are counted from ``past_key_values_length``; without token types all are 0.
        """
        if isinstance(input_ids, Packed):
            packed = input_ids
            words: Any = packed.inputs_embeds if packed.input_ids is None else self.word_embeddings(packed.input_ids)
            return self._sum(words, packed.token_type_ids, packed.position_ids)
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        shape = words.shape[:2]
        if position_ids is None:
            end = past_key_values_length + shape[1]
            columns = self.position_ids if end <= self.position_ids.shape[1] else torch.arange(end)[None]
            position_ids = columns[:, past_key_values_length:end].to(words.device)
        if token_type_ids is None:
            token_type_ids = self.token_type_ids[:, :1].to(words.device).expand(shape)
        return self._sum(words, token_type_ids, position_ids)

    def _sum(self, words: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        embeddings = words + self.token_type_embeddings(types)
        if self.absolute:
            embeddings = embeddings + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(embeddings))
