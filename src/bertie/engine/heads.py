"""The heads: from hidden states ``[…, D]`` and pooled vectors ``[R, D]`` to logits."""

from dataclasses import dataclass

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.linear import Linear
from bertie.engine.normalization import Norm
from bertie.engine.weights import DECODER, Weights
from bertie.kernels.activations import ACTIVATION_CODES


@dataclass(frozen=True, eq=False)
class Pooler:
    """``tanh(dense(first token))``, or with the family's own activation."""

    dense: Linear
    activation: int  # its code

    @classmethod
    def of(cls, weights: Weights, config: BertConfig) -> "Pooler":
        return cls(weights.linear("bert.pooler.dense"), ACTIVATION_CODES[config.family.pooler_act])

    def __call__(self, first_tokens: Array, threads: int) -> Array:
        """Return the pooled vectors ``[R, D]``."""
        return self.dense(first_tokens, self.activation, threads=threads)


@dataclass(frozen=True, eq=False)
class MaskedLMHead:
    """``decoder(LayerNorm(activation(dense(x))))``; most models tie the decoder to the word embeddings."""

    dense: Linear
    activation: int  # its code
    norm: Norm
    decoder: Linear

    @classmethod
    def of(cls, weights: Weights, config: BertConfig) -> "MaskedLMHead":
        place = "cls.predictions.transform"
        return cls(
            weights.linear(f"{place}.dense"),
            ACTIVATION_CODES[str(config.transform_act)],
            weights.norm(f"{place}.LayerNorm", config.layer_norm_eps),
            weights.linear(DECODER),
        )

    def __call__(self, hidden: Array, threads: int) -> Array:
        """Return the logits ``[M, V]`` of hidden states ``[M, D]``."""
        transformed = self.norm(self.dense(hidden, self.activation, threads=threads), threads)
        return self.decoder(transformed, threads=threads)
