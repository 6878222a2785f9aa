"""The contents of a model's folder as plain data; no code in it is run, and no weights are read."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import bertie
from bertie.checkpoints import Checkpoint, fit, main_dtype, other_classes
from bertie.checkpoints.fitting import other_head
from bertie.checkpoints.folder import Place, open_weights
from bertie.checkpoints.names import canonical
from bertie.checkpoints.parameters import CLASSES, parameters_of
from bertie.checkpoints.quantization import check_declaration, integers_in
from bertie.config import BertConfig
from bertie.errors import BertieError, CheckpointError
from bertie.hub import member, resolve
from bertie.progress import quietly
from bertie.tasks.sentence_transformers_config import read_recipe

_FILES = ("*.json", "vocab.txt", "model.safetensors", "model-*.safetensors", "*_*/*")
# a prefix of canonical tensor names → the head it belongs to
_HEADS = {
    "bert.pooler.": "pooler",
    "cls.predictions.": "masked words",
    "cls.seq_relationship.": "next sentence",
    "classifier.": "classifier",
    "qa_outputs.": "question answering",
}
_CONFIG_FIELDS = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "max_tokens",
    "type_vocab_size",
    "hidden_act",
    "position_embedding_type",
)


def describe(name_or_path: str) -> dict[str, Any]:
    """Return the contents of a folder or hub name."""
    folder = resolve(name_or_path, files=_FILES)
    config = BertConfig.from_pretrained(folder)
    tokenizer = _tokenizer(folder, config)
    try:
        checkpoint = open_weights(Place(name_or_path))
        weights = _weights(checkpoint, config)
    except CheckpointError as error:
        weights = {"problem": str(error)}
    else:
        with quietly(logging.CRITICAL):  # the warnings of loading are the answer here
            classes = [name for name in CLASSES if config.family.has_class(name)]
            weights["classes"] = {name: _fit_of(name, config, checkpoint) for name in classes}
    return {
        "model": name_or_path,
        "folder": str(folder),
        "files": {str(path.relative_to(folder)): path.stat().st_size for path in _files(folder)},
        "architectures": config.family.written_fields({"architectures": config.architectures})["architectures"],
        "config": {field: getattr(config, field) for field in _CONFIG_FIELDS},
        "labels": list(config.id2label.values()),
        "tokenizer": tokenizer,
        "embedding": _embedding(folder, config, tokenizer),
        **weights,
    }


def _files(folder: Path) -> list[Path]:
    """Return the files in the folder and one level below; unsafe links are an error."""
    paths = [path for path in sorted(folder.glob("*")) + sorted(folder.glob("*/*")) if not path.name.startswith(".")]
    return [path for path in paths if member(folder, str(path.relative_to(folder))).is_file()]


def _weights(checkpoint: Checkpoint, config: BertConfig) -> dict[str, Any]:
    architecture = (config.architectures or [""])[0]
    checkpoint = checkpoint.unwrapped().in_bert_names(config.family, architecture)
    # buffers in old files have no canonical name
    known = {new: info for name, info in checkpoint.infos.items() if (new := canonical(name)) is not None}
    infos, names = list(known.values()), list(known)
    # the largest tensors of an int8 model are not floating-point
    is_int8 = any(info.dtype == "int8" for info in infos)
    return {
        "parameters": sum(info.elements for info in infos),
        "tensors": len(infos),
        "dtype": "int8" if is_int8 else main_dtype(infos),
        "heads": [head for start, head in _HEADS.items() if any(name.startswith(start) for name in names)],
    }


def _fit_of(name: str, config: BertConfig, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the parameters that the class would miss in the checkpoint, and how many it would not use."""
    try:
        check_declaration(config.quantization_config, str(checkpoint.path.parent))
        shapes, aliases = parameters_of(name, config)
        checkpoint = checkpoint.unwrapped(shapes).in_bert_names(config.family, name)
        if classes := other_classes(shapes, config, checkpoint):
            config = deepcopy(config)
            config.num_labels = classes
            shapes, aliases = parameters_of(name, config)
        integers = () if config.quantization_config is None else integers_in(checkpoint, shapes, aliases)
        tied = config.tie_word_embeddings
        found = fit(shapes, checkpoint, aliases, ignore_mismatched_sizes=True, integers=integers, is_tied=tied)
    except BertieError as error:
        return {"problem": str(error)}
    mismatched = [parameter for parameter, _, _ in found.mismatched]
    other = other_head(config, name)
    return {
        "missing": sorted([*found.missing, *mismatched]),
        "unused": len(found.unexpected),
        **({"head_of": other} if other else {}),
    }


def _tokenizer(folder: Path, config: BertConfig) -> dict[str, Any]:
    try:
        tokenizer = bertie.AutoTokenizer.from_pretrained(folder)
    except BertieError as error:
        return {"problem": str(error)}
    size = len(tokenizer)
    found: dict[str, Any] = {"tokens": size, "model_max_length": tokenizer.model_max_length}
    if size > config.vocab_size:
        found["problem"] = f"it has {size} tokens, the model's embeddings only {config.vocab_size}"
    return found


def _embedding(folder: Path, config: BertConfig, tokenizer: dict[str, Any]) -> dict[str, Any] | None:
    """Return how the folder says a text's vector is made, or None."""
    if not member(folder, "modules.json").exists():
        return None
    try:
        recipe = read_recipe(folder)
    except BertieError as error:
        return {"problem": str(error)}
    stated = recipe.max_length or tokenizer.get("model_max_length", config.max_tokens)
    return {
        "pooling": list(recipe.modes),
        "token_layers": [layer.kind for layer in recipe.token_layers],
        "layers": [layer.kind for layer in recipe.layers],
        "truncate_dim": recipe.truncate_dim,
        "normalized": recipe.normalized,
        "similarity": recipe.similarity,
        "max_length": min(stated, config.max_tokens),
        "prompts": dict(recipe.prompts),
    }
