"""How a sentence-transformers folder computes a text's vector, read from its small JSON files as plain data."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import CheckpointError
from bertie.files import checked_values, read_json, read_json_value
from bertie.hub import member
from bertie.messages import short
from bertie.rules import Rule
from bertie.tasks.pooling import MODES

# the files of such a folder beside the model itself
SETTINGS = "config_sentence_transformers.json"
MODULES = "modules.json"
FILES = (MODULES, SETTINGS, "sentence_*_config.json", "*_*/*")
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
# the older names of the modes, in the order in which their vectors are concatenated
OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_STATIC = "StaticEmbedding"
_KINDS = ("Transformer", _STATIC, "Pooling", "Dense", "LayerNorm", "Dropout", "Normalize")
# arguments that ``sentence_bert_config.json`` may pass on to transformers and that do not affect bertie's vectors
_WITHOUT_EFFECT = {"trust_remote_code", "attn_implementation", "torch_dtype", "dtype", "use_fast", "add_pooling_layer"}
_PASSED_ON = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")

_MODULE_RULES = {"type": Rule("its class", "string"), "path": Rule("its folder", "string")}
_SETTINGS_RULES = {
    "prompts": Rule("name → text", "mapping", none=True),
    "default_prompt_name": Rule("one of them", "string", none=True),
    "similarity_fn_name": Rule("how vectors are compared", "choice", choices=SIMILARITIES, none=True),
    "truncate_dim": Rule("dimensions kept of a vector", "integer", 1, none=True),
    "model_type": Rule("the class that wrote the folder", "string", none=True),
    "activation_fn": Rule("the class that turns a logit into a score", "string", none=True),
}
_TRANSFORMER_RULES = {
    "max_seq_length": Rule("tokens read of a text", "integer", 1, none=True),
    "do_lower_case": Rule("whether texts are lower-cased", "true or false", none=True),
    "transformer_task": Rule("what is computed", "choice", choices=("feature-extraction",), none=True),
    "module_output_name": Rule("the output passed on", "choice", choices=("token_embeddings",), none=True),
    "unpad_inputs": Rule("without padding", "true or false", none=True),
} | {name: Rule("arguments", "mapping", none=True) for name in (*_PASSED_ON, "modality_config", "processing_kwargs")}
_MODALITY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_POOLING_RULES = {name: Rule("whether it is used", "true or false") for name in OLD_MODES} | {
    "include_prompt": Rule("whether a prompt is pooled", "true or false"),
    "embedding_dimension": Rule("dimension of a token's vector", "integer", 1),
    "word_embedding_dimension": Rule("its older name", "integer", 1),
}


@dataclass(frozen=True)
class Layer:
    """One module of a folder: its kind ("Dense", "LayerNorm", "Dropout" or "Normalize") and the folder of its files."""

    kind: str
    folder: Path | None = None


# the names of prompts in models that encode queries and documents differently
QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def first_prompt(prompts: Mapping[str, str], names: Sequence[str]) -> str | None:
    """Return the first of these names that has a prompt."""
    return next((name for name in names if name in prompts), None)


@dataclass(frozen=True)
class Recipe:
    """From hidden states to vectors."""

    modes: tuple[str, ...] = ("mean",)  # of pooling; the vectors of several are concatenated
    token_layers: tuple[Layer, ...] = ()  # applied to every token's vector before pooling, in order
    layers: tuple[Layer, ...] = ()  # applied to the text's vector after pooling, in order
    truncate_dim: int | None = None  # dimensions of the final vector to keep; None: all
    max_length: int | None = None  # tokens of a text, special ones included; None leaves it to tokenizer and model
    lower_case: bool = False  # whether texts are lower-cased first, whatever the tokenizer does
    prompts: Mapping[str, str] = field(default_factory=dict)  # name → text to put before a text
    default_prompt: str | None = None  # the name of the prompt to use if none is named
    include_prompt: bool = True  # whether a prompt's tokens are pooled
    similarity: str = "cosine"  # how two vectors are compared, one of `SIMILARITIES`
    subfolder: str = ""  # of the model's own files
    is_static: bool = False  # whether token vectors come from a table, without special tokens around a text
    is_stated: bool = False  # whether the model's folder states all this; if not, these are the defaults

    @property
    def normalized(self) -> bool:
        """Whether every vector has length 1."""
        kinds = [layer.kind for layer in self.layers if layer.kind != "Dropout"]
        return kinds[-1:] == ["Normalize"] and self.truncate_dim is None


def read_recipe(folder: str | os.PathLike[str]) -> Recipe:
    """Return the recipe in a model's folder; without ``modules.json`` it is mean pooling without normalization."""
    folder = Path(folder)
    steps, settings = _steps(folder), _settings(folder)
    subfolder = steps[0][1] if steps else ""
    if settings.get("model_type") == "CrossEncoder":  # sentence-transformers, too, uses only its encoder
        return Recipe(subfolder=subfolder)
    if settings.get("model_type") not in (None, "SentenceTransformer"):
        raise CheckpointError(
            f"{str(folder)!r} is a {settings['model_type']:.60} of sentence-transformers, which bertie does not run; "
            "embedding needs a SentenceTransformer"
        )
    own = _transformer(folder / subfolder)
    token_layers, pooling, layers = _split_at_pooling(steps, folder)
    return Recipe(
        modes=_modes(pooling, folder),
        token_layers=token_layers,
        layers=layers,
        truncate_dim=settings.get("truncate_dim"),
        max_length=own.get("max_seq_length"),
        lower_case=bool(own.get("do_lower_case")),
        **_prompts(settings, folder),
        include_prompt=pooling.get("include_prompt", True),
        similarity=settings.get("similarity_fn_name") or "cosine",
        subfolder=subfolder,
        is_static=bool(steps) and steps[0][0] == _STATIC,
        is_stated=bool(steps),
    )


def read_activation(folder: str | os.PathLike[str]) -> str | None:
    """Return the activation class that a cross-encoder's folder names for its scores; None: it names none."""
    folder = Path(folder)
    steps = _steps(folder)
    if len(steps) > 1 and _settings(folder).get("model_type") == "CrossEncoder":
        raise CheckpointError(
            f"{str(folder / MODULES)!r} asks for the module {steps[1][0]!r} after the model; bertie scores with a "
            "classifier's own logits"
        )
    return _settings(folder).get("activation_fn")


def _steps(folder: Path) -> list[tuple[str, str]]:
    """Return (kind, path) of each module in ``modules.json``; empty if there is no such file."""
    path = member(folder, MODULES)
    if not path.exists():
        return []
    where = f"the modules file {str(path)!r}"
    listed = read_json_value(path, "modules")
    if not isinstance(listed, list) or not all(
        isinstance(entry, dict) and _MODULE_RULES.keys() <= entry.keys() for entry in listed
    ):
        raise CheckpointError(f"{where} is not a list of modules with 'type' and 'path'; fetch the model again")
    steps = []
    for entry in listed:
        named = checked_values(entry, _MODULE_RULES, where)["type"]
        package, _, kind = named.rpartition(".")
        if kind not in _KINDS or package.partition(".")[0] != "sentence_transformers":
            raise CheckpointError(
                f"{where} asks for the module {named!r:.90}, which bertie does not have; of sentence-transformers it "
                f"has {', '.join(_KINDS)}"
            )
        member(folder, entry["path"])
        steps.append((kind, entry["path"]))
    if not steps or steps[0][0] not in ("Transformer", _STATIC):
        raise CheckpointError(
            f"{where} does not begin with a Transformer or a {_STATIC}; bertie embeds with BERT models or static tables"
        )
    return steps


def _split_at_pooling(
    steps: Sequence[tuple[str, str]], folder: Path
) -> tuple[tuple[Layer, ...], dict[str, Any], tuple[Layer, ...]]:
    """Return the layers before the pooling, the pooling's config, and the layers after it."""
    if not steps:
        return (), {}, ()
    kinds = [kind for kind, _ in steps]
    if kinds[0] == _STATIC and not {_STATIC, "Pooling", "Transformer"} & set(kinds[1:]):
        after = tuple(Layer(kind, folder / path) for kind, path in steps[1:])
        for layer in after:
            _check_place(layer, "sentence_embedding")
        return (), {}, after
    if kinds.count("Pooling") != 1 or kinds.count("Transformer") != 1:
        raise CheckpointError(
            f"{str(folder / MODULES)!r} asks for {', '.join(kinds)}; a text has one vector with one Transformer and "
            "one Pooling"
        )
    place = kinds.index("Pooling")
    layers = [Layer(kind, folder / path) for kind, path in steps]
    for layer in layers[1:place]:
        _check_place(layer, "token_embeddings")
    for layer in layers[place + 1 :]:
        _check_place(layer, "sentence_embedding")
    pooling = _optional(folder / steps[place][1], "config.json", _POOLING_RULES)
    unknown = [name for name in pooling if name not in _POOLING_RULES and name != "pooling_mode"]
    if unknown:
        raise CheckpointError(f"{str(layers[place].folder)!r} asks for {unknown[0]!r:.60}, which no pooling has")
    return tuple(layers[1:place]), pooling, tuple(layers[place + 1 :])


def _check_place(layer: Layer, reads: str) -> None:
    """Refuse a layer that reads or writes anything but ``reads``."""
    assert layer.folder is not None
    config = _optional(layer.folder, "config.json", {})
    taken = config.get("module_input_name", "sentence_embedding")
    given = taken if config.get("module_output_name") is None else config["module_output_name"]
    if taken != reads or given != reads:
        raise CheckpointError(
            f"{str(layer.folder)!r} turns {taken!r:.60} into {given!r:.60} where a layer on {reads!r} belongs; bertie "
            "has layers on token_embeddings before the pooling and on sentence_embedding after it"
        )


def _transformer(folder: Path) -> dict[str, Any]:
    """Return the settings of the encoder; in old folders their file is named after the kind of model."""
    named = sorted(path.name for path in folder.glob("sentence_*_config.json"))
    name = "sentence_bert_config.json" if "sentence_bert_config.json" in named else (named or [""])[0]
    if not name:
        return {}
    own = _optional(folder, name, _TRANSFORMER_RULES)
    stated = {name: value for name, value in own.items() if value not in (None, {})}
    for key in _PASSED_ON:
        stated[key] = {name: value for name, value in stated.get(key, {}).items() if name not in _WITHOUT_EFFECT}
    unsupported = [key for key in (*_PASSED_ON, "processing_kwargs") if stated.get(key)]
    unsupported += [key for key in stated if key not in _TRANSFORMER_RULES]
    unsupported += ["modality_config"] if stated.get("modality_config", _MODALITY) != _MODALITY else []
    if unsupported:
        key = unsupported[0]
        raise CheckpointError(
            f"{str(folder / name)!r} asks for {key!r:.60}: {short(own[key])}, which bertie does not have; remove it to "
            "embed without it"
        )
    return own


def _settings(folder: Path) -> dict[str, Any]:
    return _optional(folder, SETTINGS, _SETTINGS_RULES)


def _optional(folder: Path, name: str, rules: Mapping[str, Rule]) -> dict[str, Any]:
    path = member(folder, name)
    return read_json(path, rules=rules) if path.exists() else {}


def _modes(pooling: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    stated = pooling.get("pooling_mode")
    if stated is None:
        stated = [mode for name, mode in OLD_MODES.items() if pooling.get(name)] or "mean"
    modes = [stated] if isinstance(stated, str) else stated
    if not isinstance(modes, list) or not modes:
        raise CheckpointError(
            f"{str(folder)!r}: pooling_mode is {short(stated)}; allowed: one or several of {', '.join(MODES)}"
        )
    for mode in modes:
        if not isinstance(mode, str) or mode not in MODES:
            raise CheckpointError(f"{str(folder)!r} asks for the pooling {mode!r:.60}; bertie has {', '.join(MODES)}")
    return tuple(modes)


def _prompts(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    given = settings.get("prompts") or {}
    if not all(isinstance(text, str | None) for text in given.values()):
        raise CheckpointError(f"{str(folder)!r}: 'prompts' must be a mapping of names to texts")
    default = settings.get("default_prompt_name")
    if default is not None and default not in given:
        raise CheckpointError(
            f"{str(folder / SETTINGS)!r}: default_prompt_name is {default!r:.60}, which is not one of its prompts "
            f"({short(list(given))}); correct one or the other"
        )
    return {"prompts": {name: text for name, text in given.items() if text is not None}, "default_prompt": default}
