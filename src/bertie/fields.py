"""The fields of a BertConfig and their allowed values, declared once for checks, messages and documentation."""

import numbers
from collections.abc import Mapping
from typing import Any

from bertie.errors import ConfigError
from bertie.messages import short
from bertie.progress import say_once
from bertie.rules import Rule

ACTIVATIONS = (
    *("gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh"),
    *("gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear", "mish", "quick_gelu"),
    *("relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh"),
)
DTYPES = ("float32", "float16", "bfloat16", "float64")
POSITIONS = ("absolute", "relative_key", "relative_key_query")
PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


def _switch(doc: str) -> Rule:
    return Rule(doc, "true or false")


def _probability(doc: str, none: bool = False) -> Rule:
    return Rule(doc, "number", 0, 1, none=none)


def _token(doc: str) -> Rule:
    return Rule(doc, "integer", 0, none=True)


FIELDS: dict[str, Rule] = {
    "vocab_size": Rule("tokens in the vocabulary", "integer", 1, 10_000_000),
    "hidden_size": Rule("width of the hidden states", "integer", 1, 65_536),
    "num_hidden_layers": Rule("number of encoder layers", "integer", 0, 1024),
    "num_attention_heads": Rule("attention heads per layer; must divide hidden_size", "integer", 1, 1024),
    "intermediate_size": Rule("width of the feed-forward layer", "integer", 1, 1_048_576),
    "hidden_act": Rule("activation function of the feed-forward layer", "choice", choices=ACTIVATIONS, function=True),
    "hidden_dropout_prob": _probability("dropout after embeddings, attention and feed-forward"),
    "attention_probs_dropout_prob": _probability("dropout of the attention probabilities"),
    "max_position_embeddings": Rule("number of position embeddings", "integer", 1, 16_777_216),
    "type_vocab_size": Rule("number of token types (first and second segment)", "integer", 0, 65_536),
    "embedding_size": Rule("width of ELECTRA's embeddings; None: hidden_size", "integer", 1, 65_536, none=True),
    "initializer_range": Rule("standard deviation of new weights", "number", 0, 1000),
    "layer_norm_eps": Rule("epsilon added to the variance in layer normalisation", "number", 0, 1, above=True),
    "pad_token_id": _token("id of [PAD]"),
    "position_embedding_type": Rule("kind of position embedding", "choice", choices=POSITIONS),
    "use_cache": _switch("decoders return their keys and values"),
    "classifier_dropout": _probability("dropout before a classification head; None: hidden_dropout_prob", none=True),
    "is_decoder": _switch("causal attention: tokens attend only to themselves and earlier ones"),
    "add_cross_attention": _switch("a decoder's layers also attend to an encoder's hidden states"),
    "tie_word_embeddings": _switch("the masked-LM decoder shares the word embeddings"),
    "bos_token_id": _token("id of the token that starts a generated text"),
    "eos_token_id": _token("id (or ids) of the token that ends a generated text"),
    "sep_token_id": _token("id of [SEP]"),
    "decoder_start_token_id": _token("id of the token that decoding starts from"),
    "problem_type": Rule("loss of a sequence classifier", "choice", choices=PROBLEMS, none=True),
    "output_hidden_states": _switch("models return all hidden states"),
    "output_attentions": _switch("models return attention probabilities"),
    "return_dict": _switch("models return output objects instead of tuples"),
    "chunk_size_feed_forward": Rule("rows per feed-forward step; 0: all at once", "integer", 0),
    "gradient_checkpointing": _switch("training stores only the blocks' inputs; the initial state of new models"),
    "is_encoder_decoder": _switch("part of an encoder-decoder"),
    "architectures": Rule("model classes the weights were saved from", "list of strings", none=True),
    "dtype": Rule("dtype of the saved weights", "choice", choices=DTYPES, none=True),
    "tokenizer_class": Rule("name of the tokenizer's class", "string", none=True),
    "quantization_config": Rule("how the saved weights are quantised", "mapping", none=True),
    "finetuning_task": Rule("name of the task the model was fine-tuned for", "string", none=True),
    "transformers_version": Rule("version that wrote the file", "string", none=True),
    "_name_or_path": Rule("where the model came from", "string"),
}
# fields of every model, BERT or not; to_diff_dict leaves them out at these values
GENERAL: dict[str, Any] = {
    "architectures": None,
    "chunk_size_feed_forward": 0,
    "dtype": None,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "is_encoder_decoder": False,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "output_attentions": False,
    "output_hidden_states": False,
    "problem_type": None,
    "return_dict": True,
}
# fields of the reference, past or present, that do not affect what a model computes here …
_IGNORED = {
    "chunk_size_feed_forward": "no part of a batch is computed at a time",
    "fusion_config": "bertie chooses its kernels itself",
    "torchscript": "pass return_dict=False to trace a model",
}
# … and fields that would change its answers
_REFUSED = {
    "per_layer_config": "all layers are configured alike",
    "pruned_heads": "every layer has all its heads",
    "transformers_weights": "weights must have their usual names",
}
UNSUPPORTED = (*_IGNORED, *_REFUSED, "is_causal")
NUMBER_OF_LABELS = Rule("classes of a head", "integer", 1, 10_000_000)


def checked(name: str, value: Any) -> Any:
    """Return ``value`` as stored in the field ``name``, or raise ConfigError."""
    rule = FIELDS[name]
    if name == "dtype" and value is not None:
        value = str(value).removeprefix("torch.")
    if name == "eos_token_id" and isinstance(value, list) and value and all(map(rule.allows, value)):
        return value
    if not rule.allows(value):
        raise ConfigError(f"{name} is {short(value)}; allowed: {rule.allowed}")
    # NumPy scalars cannot be written as JSON
    if rule.kind in ("integer", "number") and value is not None and not isinstance(value, int | float):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def check_unsupported(fields: Mapping[str, Any]) -> None:
    """Warn about a file's fields that have no effect here, and refuse those that would change the results."""
    for name, reason in _IGNORED.items():
        if value := fields.get(name):
            say_once(f"the config's {name} ({short(value)}) has no effect: {reason}")
    for name, reason in _REFUSED.items():
        if value := fields.get(name):
            raise ConfigError(f"{name} is {short(value)}, which bertie does not support: {reason}")
    if fields.get("is_causal") not in (None, fields["is_decoder"]):
        raise ConfigError(f"is_causal is {fields['is_causal']!r}, which bertie does not support: is_decoder decides")


def checked_labels(value: Any) -> dict[int, str]:
    """Return ``id2label`` sorted by integer keys, which must be 0 … n-1; the labels must be distinct strings."""
    try:
        labels = {int(index): label for index, label in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"id2label is {short(value)}; allowed: a mapping from class numbers to strings") from error
    if not labels or sorted(labels) != list(range(len(value))):
        raise ConfigError(f"id2label has the keys {short(list(value))}; allowed: every number from 0 to n-1 once")
    for index, label in labels.items():
        if not isinstance(label, str):
            raise ConfigError(f"id2label[{index}] is {short(label)}; allowed: a string")
    if len(set(labels.values())) < len(labels):
        twice = next(label for label in labels.values() if list(labels.values()).count(label) > 1)
        raise ConfigError(f"id2label has the label {short(twice)} more than once; every class needs its own name")
    return dict(sorted(labels.items()))


def checked_indices(value: Any) -> dict[str, int]:
    """Return ``label2id`` with integer values; `BertConfig.validate` checks it against ``id2label``."""
    try:
        indices = {label: int(index) for label, index in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"label2id is {short(value)}; allowed: a mapping from strings to class numbers") from error
    for label in indices:
        if not isinstance(label, str):
            raise ConfigError(f"label2id has the key {short(label)}; allowed: a string")
    return indices


def labels_of_file(number: Any, labels: Any, indices: Any) -> tuple[dict[int, str], list[str]]:
    """Return the ``id2label`` that a file implies, and warnings; invalid labels must not keep an encoder from loading.

    ``number``, ``labels`` and ``indices`` are the file's num_labels, id2label and label2id.
    """
    notes = []
    names: dict[int, str] = {}
    try:
        texts = labels
        if isinstance(labels, dict):  # ratings are often numbers, such as {"0": 1, "1": 5}
            texts = {index: str(label) if type(label) is int else label for index, label in labels.items()}
        names = checked_labels(_inverse(checked_indices(indices)) if labels is None and indices is not None else texts)
        if texts != labels:
            notes.append(f"the config's id2label {short(labels)} has numbers as labels, which are read as strings")
    except ConfigError as error:
        if labels is not None or indices is not None:
            notes.append(f"the config's labels are ignored, so that its classes have no names: {error}")
    if number is not None and not NUMBER_OF_LABELS.allows(number):
        notes.append(
            f"the config's num_labels is {short(number)}, which is ignored; allowed: {NUMBER_OF_LABELS.allowed}"
        )
        number = None
    if number is None:
        number = len(names or (labels if isinstance(labels, dict) else ())) or 2
    elif names and number != len(names):
        notes.append(f"the config's num_labels is {number}, which is used, but its id2label is {short(names)}")
    if labels is not None and indices is not None and names and _checked_or_raw(indices) != _inverse(names):
        notes.append(f"the config's label2id {short(indices)} contradicts its id2label {short(labels)}, which is used")
    # transformers before 2.6 always wrote two labels, whatever num_labels
    return {index: names.get(index, f"LABEL_{index}") for index in range(number)}, notes


def _checked_or_raw(indices: Any) -> Any:
    try:
        return checked_indices(indices)
    except ConfigError:
        return indices


def _inverse(labels: Mapping[Any, Any]) -> dict[Any, Any]:
    return {value: key for key, value in labels.items()}
