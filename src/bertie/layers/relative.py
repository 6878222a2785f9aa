"""Relative position embeddings (arXiv 1803.02155; 2009.13658, methods 3 and 4), which older checkpoints use."""

import torch
from torch import Tensor

from bertie.attention.request import ScoreBias
from bertie.errors import InputError


class RelativePositions:
    """Adds a learned vector for the distance between two tokens to the scores, by query or by query and key."""

    def __init__(self, kind: str, max_positions: int) -> None:
        self.by_key_too = kind == "relative_key_query"
        self.max_positions = max_positions

    def score_bias(self, embedding: Tensor) -> ScoreBias:
        """Return what ``attend`` adds to the scores, given the table ``[2 * max_positions - 1, K]`` of distances."""

        def bias(query: Tensor, key: Tensor) -> Tensor:
            if key.shape[2] > self.max_positions:
                raise InputError(
                    f"A text of {key.shape[2]} columns is longer than max_position_embeddings = {self.max_positions}, "
                    "beyond which the model knows no distances; truncate it or split it into windows."
                )
            keys = torch.arange(key.shape[2], device=query.device)
            queries = keys[key.shape[2] - query.shape[2] :]
            vectors = embedding[queries[:, None] - keys[None, :] + self.max_positions - 1].to(query.dtype)
            scores = torch.einsum("bhqk,qsk->bhqs", query, vectors)
            if self.by_key_too:
                scores = scores + torch.einsum("bhsk,qsk->bhqs", key, vectors)
            return scores * query.shape[-1] ** -0.5

        return bias
