"""From ids to vectors: word, position and token-type embeddings, summed and normalised (BERT, figure 2)."""

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.layers.dropout import Dropout
from bertie.packing import Packed


class BertEmbeddings(nn.Module):
    """``E = LayerNorm(word + token type + position)``, then dropout. Shape: a ``Packed`` of T tokens to ``[T, D]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        # Relative positions act in attention instead; checkpoints of that kind still carry this table.
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.absolute = config.position_embedding_type == "absolute"

    def forward(self, packed: Packed) -> Tensor:
        words = packed.inputs_embeds if packed.input_ids is None else self.word_embeddings(packed.input_ids)
        embeddings = words + self.token_type_embeddings(packed.token_type_ids)
        if self.absolute:
            embeddings = embeddings + self.position_embeddings(packed.position_ids)
        return self.dropout(self.LayerNorm(embeddings))
