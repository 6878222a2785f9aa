"""Embeddings and blocks as graph nodes: ids ``[B, S]`` → hidden states ``[B, S, D]``.

The computation is that of `bertie.engine.embeddings` and `bertie.engine.blocks`, but padded and with a mask.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bertie.config import BertConfig
from bertie.engine.activations import ACTIVATIONS
from bertie.engine.attention import distance_buckets
from bertie.engine.embeddings import dense_table
from bertie.engine.linear import Int8Weight
from bertie.engine.weights import WORDS, Weights
from bertie.export.graph import FLOAT, INT64, Graph
from bertie.export.graph_activations import activated
from bertie.export.graph_layers import layer_norm, linear, without_overflow
from bertie.kernels.activations import ACTIVATION_CODES

LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder in a graph, with its inputs ``[B, S]`` by name: ids, mask and, if the model has them, token types."""

    graph: Graph
    weights: Weights
    config: BertConfig
    ids: str
    mask: str
    types: str | None

    @cached_property
    def hidden(self) -> str:
        """The last hidden states ``[B, S, D]``."""
        x = self._embedded()
        for index in range(self.config.num_hidden_layers):
            x = self._block(x, f"bert.encoder.layer.{index}")
        return x

    @cached_property
    def float_mask(self) -> str:
        """The mask as float32 ``[B, S]``."""
        return self.graph.add("Cast", self.mask, to=FLOAT)

    def end_token(self, values: str, last: bool = False) -> str:
        """Return each text's first or last of ``values [B, S, D]``, ``[B, D]``, wherever its padding is."""
        index = self.graph.add("ArgMax", self.mask, axis=1, keepdims=1, select_last_index=int(last))
        return self.graph.add("GatherND", values, index, batch_dims=1)

    # from ids to vectors

    def _embedded(self) -> str:
        add, prefix = self.graph.add, "bert.embeddings"
        x = self._word_embeddings()
        if self.config.type_vocab_size:
            table = dense_table(self.weights.table(f"{prefix}.token_type_embeddings"))
            stored = self.graph.constant(table, f"{prefix}.token_type_embeddings.weight")
            x = add("Add", x, add("Gather", stored, self.types) if self.types else table[0])
        if self.config.position_embedding_type == "absolute":
            table = dense_table(self.weights.table(f"{prefix}.position_embeddings"))
            stored = self.graph.constant(table, f"{prefix}.position_embeddings.weight")
            x = add("Add", x, add("Gather", stored, self._positions()))
        x = layer_norm(self.graph, x, self.weights.norm(f"{prefix}.LayerNorm", self.config.layer_norm_eps), prefix)
        if self.config.embedding_width != self.config.hidden_size:
            return linear(self.graph, self.weights, x, f"{prefix}.projection")
        return x

    def _word_embeddings(self) -> str:
        table, add = self.weights.table(WORDS), self.graph.add
        if not isinstance(table, Int8Weight):
            return add("Gather", self.graph.constant(table, f"{WORDS}.weight"), self.ids)
        table = without_overflow(table)  # as in a tied masked-LM head
        rows = add("Gather", self.graph.constant(table.weight, f"{WORDS}.weight"), self.ids)
        scales = add("Gather", self.graph.constant(table.scale[:, None], f"{WORDS}.weight_scale"), self.ids)
        return add("Mul", add("Cast", rows, to=FLOAT), scales)

    def _positions(self) -> str:
        """Return positions ``[S]`` by column, or ``[B, S]`` if padding is not counted."""
        if not self.config.family.skips_padding:
            return self._columns
        add = self.graph.add
        real = add("Cast", add("Not", add("Equal", self.ids, self.config.pad_token_id or 0)), to=INT64)
        return add("Add", add("Mul", add("CumSum", real, 1), real), self.config.first_position - 1)

    @cached_property
    def _columns(self) -> str:
        add = self.graph.add
        return add("Range", 0, add("Gather", add("Shape", self.ids), 1), 1)

    # blocks

    def _block(self, x: str, prefix: str) -> str:
        graph, weights, eps = self.graph, self.weights, self.config.layer_norm_eps
        context = self._attended(x, prefix)
        out = linear(graph, weights, context, f"{prefix}.attention.output.dense")
        after = f"{prefix}.attention.output.LayerNorm"
        x = layer_norm(graph, graph.add("Add", out, x), weights.norm(after, eps), after)
        formula = ACTIVATIONS[ACTIVATION_CODES[str(self.config.hidden_act)]]
        wide = activated(graph, formula, linear(graph, weights, x, f"{prefix}.intermediate.dense"))
        out, after = linear(graph, weights, wide, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm"
        return layer_norm(graph, graph.add("Add", out, x), weights.norm(after, eps), after)

    def _attended(self, x: str, prefix: str) -> str:
        """Return the context ``[B, S, D]`` (Vaswani et al. 2017, section 3.2.1)."""
        add, heads = self.graph.add, self.config.num_attention_heads
        own, width = f"{prefix}.attention.self", self.config.hidden_size // self.config.num_attention_heads
        joined = linear(self.graph, self.weights, x, *(f"{own}.{name}" for name in ("query", "key", "value")))
        parts = self.graph.add_many("Split", 3, joined, axis=-1, num_outputs=3)
        q, k, v = (add("Transpose", add("Reshape", part, [0, 0, heads, width]), perm=[0, 2, 1, 3]) for part in parts)
        q = add("Mul", q, width**-0.5)
        scores = add("MatMul", q, add("Transpose", k, perm=[0, 1, 3, 2]))
        for bias in self._biases(q, k, own):
            scores = add("Add", scores, bias)
        probabilities = add("Softmax", add("Add", scores, self._padding_mask), axis=-1)
        context = add("Transpose", add("MatMul", probabilities, v), perm=[0, 2, 1, 3])
        return add("Reshape", context, [0, 0, heads * width])

    @cached_property
    def _padding_mask(self) -> str:
        """The additive mask ``[B, 1, 1, S]``; finite, so that a text of only padding does not give NaN."""
        add = self.graph.add
        return add("Unsqueeze", add("Mul", add("Sub", 1.0, self.float_mask), float(LOWEST)), [1, 2])

    def _biases(self, q: str, k: str, own: str) -> list[str]:
        """Return the relative-position biases of the scores, ``[B, H, S, S]`` or ``[1, H, S, S]``."""
        add, kind = self.graph.add, self.config.position_embedding_type
        if kind == "absolute":
            return [self._bucket_bias] if self.config.family.position_buckets else []
        table = self.graph.constant(self.weights.array(f"{own}.distance_embedding.weight"), f"{own}.distance_embedding")
        vectors = add("Gather", table, self._distances)  # [S, S, K]
        found = [add("Einsum", q, vectors, equation="bhqd,qkd->bhqk")]
        if kind == "relative_key_query":
            scaled = add("Mul", k, (self.config.hidden_size // self.config.num_attention_heads) ** -0.5)
            found.append(add("Einsum", scaled, vectors, equation="bhkd,qkd->bhqk"))
        return found

    @cached_property
    def _bucket_bias(self) -> str:
        most, add = self.config.max_position_embeddings, self.graph.add
        ahead = distance_buckets(most, most)
        buckets = np.concatenate([ahead[:0:-1, 0], ahead[0]])  # of key - query = 1 - most … most - 1
        table = self.weights.array("bert.encoder.relative_attention_bias.weight")[buckets[::-1]]
        stored = self.graph.constant(table, "bert.encoder.relative_attention_bias")
        return add("Unsqueeze", add("Transpose", add("Gather", stored, self._distances), perm=[2, 0, 1]), [0])

    @cached_property
    def _distances(self) -> str:
        """The indices ``query - key + P - 1`` into a table of distances, ``[S, S]``; P: positions."""
        add, columns = self.graph.add, self._columns
        between = add("Sub", add("Unsqueeze", columns, [1]), add("Unsqueeze", columns, [0]))
        return add("Add", between, self.config.max_position_embeddings - 1)
