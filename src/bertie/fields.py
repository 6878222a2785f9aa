"""What the fields of a BertConfig may hold, declared once: the table makes the check, the message and the docs."""

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
    "num_hidden_layers": Rule("layers of the encoder", "integer", 0, 1024),
    "num_attention_heads": Rule("attention heads of a layer; they divide hidden_size", "integer", 1, 1024),
    "intermediate_size": Rule("width of the feed-forward part", "integer", 1, 1_048_576),
    "hidden_act": Rule("activation function of the feed-forward part", "choice", choices=ACTIVATIONS, function=True),
    "hidden_dropout_prob": _probability("dropout after embeddings, attention and feed-forward"),
    "attention_probs_dropout_prob": _probability("dropout of the attention probabilities"),
    "max_position_embeddings": Rule("rows of the position embeddings", "integer", 1, 16_777_216),
    "type_vocab_size": Rule("kinds of token types (first and second text)", "integer", 0, 65_536),
    "embedding_size": Rule("width of ELECTRA's embeddings; None: hidden_size", "integer", 1, 65_536, none=True),
    "initializer_range": Rule("standard deviation of new weights", "number", 0, 1000),
    "layer_norm_eps": Rule("what layer normalisation adds to the variance", "number", 0, 1, above=True),
    "pad_token_id": _token("id of [PAD]"),
    "position_embedding_type": Rule("how positions enter attention", "choice", choices=POSITIONS),
    "use_cache": _switch("a decoder returns its keys and values"),
    "classifier_dropout": _probability("dropout before a classification head; None: hidden_dropout_prob", none=True),
    "is_decoder": _switch("tokens see only those before them"),
    "add_cross_attention": _switch("a decoder's layers attend to an encoder's hidden states too"),
    "tie_word_embeddings": _switch("the masked-LM decoder shares the word embeddings"),
    "bos_token_id": _token("id of the token that begins a generated text"),
    "eos_token_id": _token("id (or ids) of the token that ends a generated text"),
    "sep_token_id": _token("id of [SEP]"),
    "decoder_start_token_id": _token("id that decoding starts with"),
    "problem_type": Rule("which loss a sequence classifier uses", "choice", choices=PROBLEMS, none=True),
    "output_hidden_states": _switch("models return all hidden states"),
    "output_attentions": _switch("models return attention probabilities"),
    "return_dict": _switch("models return output objects (else tuples)"),
    "chunk_size_feed_forward": Rule("rows per feed-forward step; 0: all at once", "integer", 0),
    "gradient_checkpointing": _switch("training keeps the blocks' inputs only; new models begin with it"),
    "is_encoder_decoder": _switch("part of an encoder-decoder"),
    "architectures": Rule("model classes the weights were saved from", "list of texts", none=True),
    "dtype": Rule("element type of the saved weights", "choice", choices=DTYPES, none=True),
    "tokenizer_class": Rule("name of the tokenizer's class", "text", none=True),
    "quantization_config": Rule("how the saved weights are quantised", "mapping", none=True),
    "finetuning_task": Rule("name of the task the model was fine-tuned for", "text", none=True),
    "transformers_version": Rule("version that wrote the file", "text", none=True),
    "_name_or_path": Rule("where the model came from", "text"),
}
# every model has these, BERT or not: to_diff_dict leaves them out while they hold this
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
# what the reference reads, or did once, in a file: fields that change nothing that a model computes here …
_WITHOUT_EFFECT = {
    "chunk_size_feed_forward": "no part of a batch is computed at a time",
    "fusion_config": "bertie chooses its kernels itself",
    "torchscript": "pass return_dict=False to trace a model",
}
# … and fields that would change its answers
_REFUSED = {
    "per_layer_config": "all layers are alike",
    "pruned_heads": "every layer has all its heads",
    "transformers_weights": "weights have their usual names",
}
STATED = (*_WITHOUT_EFFECT, *_REFUSED, "is_causal")
NUMBER_OF_LABELS = Rule("classes of a head", "integer", 1, 10_000_000)


def checked(name: str, value: Any) -> Any:
    """Return ``value`` as the field ``name`` stores it."""
    rule = FIELDS[name]
    if name == "dtype" and value is not None:
        value = str(value).removeprefix("torch.")
    if name == "eos_token_id" and isinstance(value, list) and value and all(map(rule.allows, value)):
        return value
    if not rule.allows(value):
        raise ConfigError(f"{name} is {short(value)}; allowed: {rule.allowed}")
    # NumPy's numbers would not go into JSON
    if rule.kind in ("integer", "number") and value is not None and not isinstance(value, int | float):
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def check_stated(fields: Mapping[str, Any]) -> None:
    """Say which of a file's fields are without effect here."""
    for name, reason in _WITHOUT_EFFECT.items():
        if value := fields.get(name):
            say_once(f"the config's {name} ({short(value)}) is without effect: {reason}")
    for name, reason in _REFUSED.items():
        if value := fields.get(name):
            raise ConfigError(f"{name} is {short(value)}, which bertie does not follow: {reason}")
    if fields.get("is_causal") not in (None, fields["is_decoder"]):
        raise ConfigError(f"is_causal is {fields['is_causal']!r}, which bertie does not follow: is_decoder decides")


def checked_labels(value: Any) -> dict[int, str]:
    """Return ``id2label`` with integer keys in order; they must be 0 … n-1 and the labels distinct texts."""
    try:
        labels = {int(index): label for index, label in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"id2label is {short(value)}; allowed: a mapping from class numbers to texts") from error
    if not labels or sorted(labels) != list(range(len(value))):
        raise ConfigError(f"id2label has the keys {short(list(value))}; allowed: every number from 0 to n-1 once")
    for index, label in labels.items():
        if not isinstance(label, str):
            raise ConfigError(f"id2label[{index}] is {short(label)}; allowed: a text")
    if len(set(labels.values())) < len(labels):
        twice = next(label for label in labels.values() if list(labels.values()).count(label) > 1)
        raise ConfigError(f"id2label has the label {short(twice)} more than once; every class needs a name of its own")
    return dict(sorted(labels.items()))


def checked_indices(value: Any) -> dict[str, int]:
    """Return ``label2id`` with integer values; whether it fits ``id2label`` is for `BertConfig.validate`."""
    try:
        indices = {label: int(index) for label, index in value.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"label2id is {short(value)}; allowed: a mapping from texts to class numbers") from error
    for label in indices:
        if not isinstance(label, str):
            raise ConfigError(f"label2id has the key {short(label)}; allowed: a text")
    return indices


def labels_of_file(number: Any, labels: Any, indices: Any) -> tuple[dict[int, str], list[str]]:
    """Return the ``id2label`` that a file means, and what is to be said of it: an encoder opens whatever stands there.

    ``number``, ``labels`` and ``indices`` are the file's num_labels, id2label and label2id.
    """
    notes = []
    names: dict[int, str] = {}
    try:
        texts = labels
        if isinstance(labels, dict):  # of ratings, such as {"0": 1, "1": 5}
            texts = {index: str(label) if type(label) is int else label for index, label in labels.items()}
        names = checked_labels(_inverse(checked_indices(indices)) if labels is None and indices is not None else texts)
        if texts != labels:
            notes.append(f"the config's id2label {short(labels)} has numbers for names, which are read as texts")
    except ConfigError as error:
        if labels is not None or indices is not None:
            notes.append(f"the config's labels are not used, and its classes have no names: {error}")
    if number is not None and not NUMBER_OF_LABELS.allows(number):
        notes.append(
            f"the config's num_labels is {short(number)}, which is not used; allowed: {NUMBER_OF_LABELS.allowed}"
        )
        number = None
    if number is None:
        number = len(names or (labels if isinstance(labels, dict) else ())) or 2
    elif names and number != len(names):
        notes.append(f"the config's num_labels is {number}, which counts, and its id2label {short(names)}")
    if labels is not None and indices is not None and names and _as_numbers(indices) != _inverse(names):
        notes.append(f"the config's label2id {short(indices)} contradicts its id2label {short(labels)}, which is used")
    # transformers before 2.6 wrote the names of two classes, whatever their number
    return {index: names.get(index, f"LABEL_{index}") for index in range(number)}, notes


def _as_numbers(indices: Any) -> Any:
    try:
        return checked_indices(indices)
    except ConfigError:
        return indices


def _inverse(labels: Mapping[Any, Any]) -> dict[Any, Any]:
    return {value: key for key, value in labels.items()}
