"""The names and shapes of each model class's parameters, from a config alone, without building the model."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from bertie.config import BertConfig
from bertie.errors import ConfigError

Shape = tuple[int, ...]
# class → its parts besides embeddings and encoder
_PARTS = {
    "BertModel": ("pooler",),
    "BertForPreTraining": ("pooler", "language model", "next sentence"),
    "BertLMHeadModel": ("language model",),
    "BertForMaskedLM": ("language model",),
    "BertForNextSentencePrediction": ("pooler", "next sentence"),
    "BertForSequenceClassification": ("pooler", "classes"),
    "BertForMultipleChoice": ("pooler", "choices"),
    "BertForTokenClassification": ("classes",),
    "BertForQuestionAnswering": ("answers",),
}
CLASSES = tuple(_PARTS)
# an encoder, and a decoder with cross-attention
PAIR = "EncoderDecoderModel"


def architecture_of(kind: type) -> str:
    """Return the name of bertie's class that a model class is or extends; its own name if there is none."""
    return next((each.__name__ for each in kind.__mro__ if each.__name__ in (*CLASSES, PAIR)), kind.__name__)


class Parameters(NamedTuple):
    """Parameter name → shape, and name of a tied parameter → its other names."""

    shapes: dict[str, Shape]
    aliases: dict[str, list[str]]


def parameters_of(name: str, config: BertConfig) -> Parameters:
    """Return the parameters of bertie's class ``name`` with this config."""
    if name == PAIR:
        return _of_pair(config)
    prefix = "" if name == "BertModel" else "bert."
    parts = () if name == "BertModel" and not config.family.has_pooler else _PARTS[name]
    shapes = {f"{prefix}{inner}": shape for inner, shape in _encoder(config)}
    for part in parts:
        shapes |= dict(_part(part, prefix, config))
    if "language model" not in parts or not config.tie_word_embeddings:
        return Parameters(shapes, {})
    tied = {f"{prefix}embeddings.word_embeddings.weight": "weight", "cls.predictions.bias": "bias"}
    aliases = {source: [f"cls.predictions.decoder.{leaf}"] for source, leaf in tied.items()}
    for (alias,) in aliases.values():
        del shapes[alias]
    return Parameters(shapes, aliases)


def _of_pair(config: Any) -> Parameters:
    found = Parameters({}, {})
    for half, name in (("encoder", "BertModel"), ("decoder", "BertLMHeadModel")):
        shapes, aliases = parameters_of(name, getattr(config, half))
        found.shapes.update({f"{half}.{inner}": shape for inner, shape in shapes.items()})
        found.aliases.update(
            {f"{half}.{inner}": [f"{half}.{alias}" for alias in others] for inner, others in aliases.items()}
        )
    width, out = config.encoder.hidden_size, config.decoder.hidden_size
    found.shapes.update(_linear("enc_to_dec_proj", width, out) if width != out else ())
    return found


def _encoder(config: BertConfig) -> Iterator[tuple[str, Shape]]:
    width = config.embedding_width
    tables = {
        "word": config.vocab_size,
        "position": config.max_position_embeddings,
        "token_type": config.type_vocab_size,
    }
    for table, rows in tables.items():
        if rows:
            yield f"embeddings.{table}_embeddings.weight", (rows, width)
    yield from _norm("embeddings.LayerNorm", width)
    if width != config.hidden_size:
        yield from _linear("embeddings.projection", width, config.hidden_size)
    if buckets := config.family.position_buckets:
        yield "encoder.relative_attention_bias.weight", (buckets, config.num_attention_heads)
    for layer in range(config.num_hidden_layers):
        for name, shape in _block(config):
            yield f"encoder.layer.{layer}.{name}", shape


def _block(config: BertConfig) -> Iterator[tuple[str, Shape]]:
    width, inner = config.hidden_size, config.intermediate_size
    for attention in ("attention", "crossattention") if config.add_cross_attention else ("attention",):
        for name in ("query", "key", "value"):
            yield from _linear(f"{attention}.self.{name}", width, width)
        if attention == "attention" and config.position_embedding_type != "absolute":
            distances = (2 * config.max_position_embeddings - 1, width // config.num_attention_heads)
            yield "attention.self.distance_embedding.weight", distances
        yield from _linear(f"{attention}.output.dense", width, width)
        yield from _norm(f"{attention}.output.LayerNorm", width)
    yield from _linear("intermediate.dense", width, inner)
    yield from _linear("output.dense", inner, width)
    yield from _norm("output.LayerNorm", width)


def _part(part: str, prefix: str, config: BertConfig) -> Iterator[tuple[str, Shape]]:
    width = config.hidden_size
    if part == "answers":
        check_answer_scores(config)
    if part == "language model":
        yield from _linear("cls.predictions.transform.dense", width, config.embedding_width)
        yield from _norm("cls.predictions.transform.LayerNorm", config.embedding_width)
        yield from _linear("cls.predictions.decoder", config.embedding_width, config.vocab_size)
        yield "cls.predictions.bias", (config.vocab_size,)
        return
    name, out = {
        "pooler": (f"{prefix}pooler.dense", width),
        "next sentence": ("cls.seq_relationship", 2),
        "classes": ("classifier", config.num_labels),
        "choices": ("classifier", 1),
        "answers": ("qa_outputs", config.num_labels),
    }[part]
    yield from _linear(name, width, out)


def _linear(name: str, width: int, out: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (out, width)
    yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def check_answer_scores(config: BertConfig) -> None:
    """Raise ConfigError if a config for question answering does not have exactly 2 labels."""
    if config.num_labels != 2:
        raise ConfigError(
            f"num_labels is {config.num_labels}, but answers have 2 scores per token, start and end; "
            "pass num_labels=2 to start with a new head."
        )
