"""The architectures that the engine computes: their parameters, by the names and shapes that checkpoints have."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from bertie.config import BertConfig

Shapes: TypeAlias = dict[str, tuple[int, ...]]
WORDS = "bert.embeddings.word_embeddings"
DECODER = "cls.predictions.decoder"
# a parameter may be stored under the name of the one it is tied to
TIED = {
    f"{DECODER}.weight": f"{WORDS}.weight",
    f"{DECODER}.weight_scale": f"{WORDS}.weight_scale",
    f"{DECODER}.bias": "cls.predictions.bias",
}


def _classifier(config: BertConfig) -> Shapes:
    return linear("classifier", config.hidden_size, config.num_labels)


def _choice(config: BertConfig) -> Shapes:
    return linear("classifier", config.hidden_size, 1)


def _spans(config: BertConfig) -> Shapes:
    return linear("qa_outputs", config.hidden_size, config.num_labels)


def _next_sentence(config: BertConfig) -> Shapes:
    return linear("cls.seq_relationship", config.hidden_size, 2)


def _masked_lm(config: BertConfig) -> Shapes:
    width, place = config.hidden_size, "cls.predictions.transform"
    return {
        **linear(f"{place}.dense", width, width),
        **norm(f"{place}.LayerNorm", width),
        **linear(DECODER, width, config.vocab_size),
    }


def _pretraining(config: BertConfig) -> Shapes:
    return _masked_lm(config) | _next_sentence(config)


# architecture → its heads' parameters, and whether a pooled vector goes into them
HEADS: Mapping[str, tuple[Callable[[BertConfig], Shapes], bool]] = {
    "BertModel": (lambda _: {}, False),
    "BertForMaskedLM": (_masked_lm, False),
    "BertForMultipleChoice": (_choice, True),
    "BertForNextSentencePrediction": (_next_sentence, True),
    "BertForPreTraining": (_pretraining, True),
    "BertForQuestionAnswering": (_spans, False),
    "BertForSequenceClassification": (_classifier, True),
    "BertForTokenClassification": (_classifier, False),
}


def parameters(config: BertConfig, architecture: str) -> Shapes:
    """Return the name and shape of every parameter of a model."""
    width = config.hidden_size
    heads, is_pooled = HEADS[architecture]
    found = {
        f"{WORDS}.weight": (config.vocab_size, width),
        "bert.embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
        "bert.embeddings.token_type_embeddings.weight": (config.type_vocab_size, width),
        **norm("bert.embeddings.LayerNorm", width),
    }
    for index in range(config.num_hidden_layers):
        found |= _block(config, f"bert.encoder.layer.{index}")
    if is_pooled:
        found |= linear("bert.pooler.dense", width, width)
    return found | heads(config)


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    """Return the parameters of a linear layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    """Return the parameters of a layer normalisation."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _block(config: BertConfig, place: str) -> Shapes:
    width, wide = config.hidden_size, config.intermediate_size
    found: Shapes = {}
    for name in ("self.query", "self.key", "self.value", "output.dense"):
        found |= linear(f"{place}.attention.{name}", width, width)
    if config.position_embedding_type != "absolute":
        distances = (2 * config.max_position_embeddings - 1, width // config.num_attention_heads)
        found[f"{place}.attention.self.distance_embedding.weight"] = distances
    found |= norm(f"{place}.attention.output.LayerNorm", width)
    found |= linear(f"{place}.intermediate.dense", width, wide) | linear(f"{place}.output.dense", wide, width)
    return found | norm(f"{place}.output.LayerNorm", width)
