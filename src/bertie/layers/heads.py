"""The pooler, and the pretraining heads for masked words and next sentences."""

import torch
from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.activations import activation
from bertie.layers.fused import can_fuse, project
from bertie.layers.linear import Linear
from bertie.packing import Packed


class BertPooler(nn.Module):
    """``tanh(dense(first token))``: ``[B, S, D]``, or ``[T, D]`` with its `Packed`, to ``[B, D]``.

    Some families have another activation, or dropout before the dense layer. A packed text without tokens gets zeros
    (decision 5).
    """

    dropout: nn.Module | None

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.dropout = None
        name = config.family.pooler_act
        self.activation = nn.Tanh() if name == "tanh" else activation(name)

    def forward(self, hidden_states: Tensor, packed: Packed | None = None) -> Tensor:
        first = hidden_states[:, 0] if packed is None else packed.first(hidden_states)
        pooled = self.activation(self.dense(first if self.dropout is None else self.dropout(first)))
        if packed is None:
            return pooled
        empty = packed.empty()
        return pooled if empty is None else pooled.masked_fill(empty[:, None], 0)


class BertPredictionHeadTransform(nn.Module):
    """``LayerNorm(activation(dense(x)))``: ``[..., D]`` to the width of the embeddings."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.embedding_width)
        self.transform_act_fn = activation(config.transform_act)
        self.LayerNorm = nn.LayerNorm(config.embedding_width, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.transform_act_fn(self.dense(hidden_states)))


class BertLMPredictionHead(nn.Module):
    """``[..., D]`` to logits ``[..., V]``; the decoder is tied to the word embeddings, its bias to ``bias``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = Linear(config.embedding_width, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden_states: Tensor) -> Tensor:
        transformed = self.transform(hidden_states)
        return (
            project(transformed, self.decoder)[0] if can_fuse(transformed, self.decoder) else self.decoder(transformed)
        )


class BertOnlyMLMHead(nn.Module):
    """The masked-LM head, by its name in checkpoints, ``cls.predictions``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)

    def forward(self, sequence_output: Tensor) -> Tensor:
        return self.predictions(sequence_output)


class BertOnlyNSPHead(nn.Module):
    """The next-sentence head, by its name in checkpoints: ``[B, D]`` to ``[B, 2]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.seq_relationship = Linear(config.hidden_size, 2)

    def forward(self, pooled_output: Tensor) -> Tensor:
        return self.seq_relationship(pooled_output)


class BertPreTrainingHeads(nn.Module):
    """Both heads: ``[..., D]`` and ``[B, D]`` to ``[..., V]`` and ``[B, 2]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.predictions = BertLMPredictionHead(config)
        self.seq_relationship = Linear(config.hidden_size, 2)

    def forward(self, sequence_output: Tensor, pooled_output: Tensor) -> tuple[Tensor, Tensor]:
        return self.predictions(sequence_output), self.seq_relationship(pooled_output)


def classifier_dropout(config: BertConfig) -> float:
    """Return the dropout before a classifier: its own if the config has one, else that of the hidden states."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
