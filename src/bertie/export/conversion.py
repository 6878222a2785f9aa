"""bertie.convert: write a model's folder with its weights in another format, from stored weights only."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bertie.checkpoints import Checkpoint, fit, write_checkpoint
from bertie.checkpoints.fitting import correct_classes, refuse_untrained, with_untied
from bertie.checkpoints.flax_file import write_flax
from bertie.checkpoints.folder import CONFIG_FILES, Place, open_weights, weight_files
from bertie.checkpoints.foreign_weights import FLAX_FILE, KERAS_FILE, LIBRARIES, folder_and_index, open_foreign
from bertie.checkpoints.keras_file import write_keras
from bertie.checkpoints.names import canonical, in_names_of
from bertie.checkpoints.new_folder import check_new, copy_other_files
from bertie.checkpoints.parameters import CLASSES, parameters_of
from bertie.checkpoints.tensors import all_finite
from bertie.config import BertConfig
from bertie.errors import BertieError, CheckpointError, InputError, nearest, spelled
from bertie.export.gguf_file import GGUF_FILE, write_gguf
from bertie.files import atomic_folder, write_json, write_text
from bertie.hub import listing, member, path_or_name, resolve
from bertie.messages import listed
from bertie.progress import quietly, say_once
from bertie.tasks.sentence_transformers_config import FILES, Recipe, read_recipe
from bertie.tokenization.auto import AutoTokenizer

Arrays = Mapping[str, NDArray[Any]]
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_KEPT_TYPES = ("float32", "float16", "float64")


@dataclass(frozen=True)
class StoredModel:
    """A model as stored in its files."""

    config: BertConfig
    architecture: str  # BERT's name of its class
    tensors: Arrays  # under that class's parameter names
    folder: Path  # of tokenizer and config
    recipe: Recipe  # how it embeds texts


def convert(model: str | os.PathLike[str], out: str | os.PathLike[str], to: str = "safetensors") -> Path:
    """Write a model into the new folder ``out`` with its weights in another format, all or nothing.

    ``bertie.convert("uncased_L-12_H-768_A-12", "bert")``

    Args:
        model: a folder or hub name with model.safetensors, pytorch_model.bin, tf_model.h5, flax_model.msgpack or a
            TensorFlow 1 checkpoint; also the path of such a checkpoint.
        out: the folder; the tokenizer and the other files that accompany the weights are copied to it.
        to: one of `FORMATS`: ``"safetensors"``, ``"h5"`` (for ``TFBertFor…``), ``"msgpack"``
            (``FlaxBertFor…``) or ``"gguf"`` (llama.cpp).

    Returns:
        ``out``.

    Raises:
        BertieError: h5py, msgpack or gguf is needed but not installed.
        CheckpointError: files are missing, damaged or inconsistent, or ``out`` is not empty.
        ConfigError: the config does not describe a BERT.
        InputError: there is no such format, or it cannot hold a model of this kind.
    """
    if to not in FORMATS:
        hint = " 'bertie export onnx' writes that." if to == "onnx" else nearest(str(to), FORMATS)
        raise InputError(f"{spelled('to')} is {to!r}; allowed: {', '.join(FORMATS)}.{hint}")
    target = check_new(out)
    found, source, subfolder = _open_whole(path_or_name(model))
    with atomic_folder(target) as temporary:
        copy_other_files(source, temporary, subfolder)
        place = temporary / subfolder
        place.mkdir(exist_ok=True)
        FORMATS[to](place, found)
        if not any((place / name).exists() for name in _TOKENIZER) and (place / "vocab.txt").is_file():
            _write_case(place, source)
    return target


def _open_whole(name: str) -> tuple[StoredModel, Path, str]:
    """Return a model, its folder, and the subfolder of the model's own files."""
    source, index = folder_and_index(name)
    folder = resolve(source, files=["*.json", "*.txt", "*.md", *FILES, *CONFIG_FILES])
    recipe = read_recipe(resolve(source, files=[*CONFIG_FILES, *FILES]))  # an adapter has its base model's recipe
    subfolder = recipe.subfolder
    place = Place(source, subfolder=subfolder)
    config = BertConfig.from_pretrained(source, subfolder=subfolder)
    if config.quantization_config is not None:
        raise InputError(f"{name!r} has int8 weights; dequantize it first: bertie dequantize MODEL OUT")
    checkpoint = _open_any(place, listing(source, folder), index).unwrapped()
    architecture = _architecture(config, checkpoint)
    checkpoint = checkpoint.in_bert_names(config.family, architecture)
    config.architectures = [architecture]
    tensors = _tensors(checkpoint, config, architecture)
    return StoredModel(config, architecture, tensors, folder / subfolder, recipe), folder, subfolder


def _open_any(place: Place, there: list[str], index: Path | None) -> Checkpoint:
    """Open the weights of a model whose folder has the files ``there``; PyTorch formats are preferred."""
    if index is not None:
        return open_foreign(place, "tf", index)
    own = [name.removeprefix(f"{place.subfolder}/") for name in there]
    if not any(fnmatchcase(name, ours) for ours in (*weight_files(True), *weight_files(False)) for name in own):
        for library, row in LIBRARIES.items():
            if any(fnmatchcase(name, theirs) for theirs in row.files for name in own):
                return open_foreign(place, library)
    return open_weights(place)


def _architecture(config: BertConfig, checkpoint: Checkpoint) -> str:
    """Return the class that the config names, or else the one that uses most of the stored tensors."""
    named = [name for name in config.architectures or () if name in CLASSES]
    if named:
        return named[0]
    unused = {}
    with quietly():
        for name in CLASSES:
            try:
                shapes, aliases = parameters_of(name, config)
                found = fit(shapes, checkpoint, aliases, True, is_tied=config.tie_word_embeddings)
            except BertieError:
                continue
            if not [each for each in found.missing if "pooler" not in each or name != "BertModel"]:
                unused[name] = len(found.unexpected), name == "BertLMHeadModel"  # BertForMaskedLM has the same weights
    best = min(unused, key=unused.__getitem__, default="BertModel")
    say_once(f"{str(checkpoint.path)!r}: its config names no class; judging by its weights, it is a {best}")
    return best


def _tensors(checkpoint: Checkpoint, config: BertConfig, architecture: str) -> dict[str, NDArray[Any]]:
    """Return all parameters of a class, including an untied decoder's; a bare encoder need not have a pooler."""
    source = str(checkpoint.path)
    correct_classes(config, parameters_of(architecture, config).shapes, checkpoint, source)
    shapes, aliases = with_untied(parameters_of(architecture, config), checkpoint)
    found = fit(shapes, checkpoint, aliases, is_tied=config.tie_word_embeddings)
    bare = architecture == "BertModel"
    refuse_untrained(source, [name for name in found.missing if not bare or "pooler" not in name], architecture, config)
    if found.unexpected:
        say_once(f"{source!r}: a {architecture} does not use {listed(found.unexpected)}, which are left out")
    return {name: _stored_array(checkpoint, stored) for name, stored in found.stored.items()}


def _stored_array(checkpoint: Checkpoint, name: str) -> NDArray[Any]:
    """Return a tensor as stored, or in float32 if other programs may not support its dtype."""
    kept = checkpoint.infos[name].dtype in _KEPT_TYPES
    array = checkpoint.array(name) if kept else checkpoint.float32(name)
    if not all_finite(array):
        raise CheckpointError(f"{str(checkpoint.path)!r}: the tensor {name!r} has NaN or infinite weights")
    return array


def _write_safetensors(folder: Path, model: StoredModel) -> None:
    tensors = in_names_of(model.config.family, model.tensors, model.architecture)
    write_checkpoint(folder, tensors, model.config.to_json_string())


def _write_keras(folder: Path, model: StoredModel) -> None:
    _check_writable(model, "h5")
    whole = {canonical(name) or name: tensor for name, tensor in model.tensors.items()}
    write_keras(whole, folder / KERAS_FILE, model.architecture)
    write_text(folder / CONFIG_FILES[0], model.config.to_json_string())


def _write_flax(folder: Path, model: StoredModel) -> None:
    _check_writable(model, "msgpack")
    write_flax(model.tensors, folder / FLAX_FILE)
    write_text(folder / CONFIG_FILES[0], model.config.to_json_string())


def _write_gguf(folder: Path, model: StoredModel) -> None:
    whole = {canonical(name) or name: tensor for name, tensor in model.tensors.items()}
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    write_gguf(folder / GGUF_FILE, model.config, whole, tokenizer, model.recipe)
    write_text(folder / CONFIG_FILES[0], model.config.to_json_string())


def _check_writable(model: StoredModel, to: str) -> None:
    """Raise InputError for models that ``transformers`` 4 has no TensorFlow or Flax class for."""
    if not model.config.family.is_bert:
        raise InputError(f"model_type is {model.config.model_type!r}: {to} can hold only a BERT; give to='safetensors'")
    if "cls.predictions.decoder.weight" in model.tensors:
        raise InputError(f"{to} cannot hold a decoder that is not tied to the word embeddings")


def _write_case(folder: Path, source: Path) -> None:
    """Write a tokenizer_config.json with do_lower_case guessed from vocab.txt: false if any token has a capital."""
    tokens = member(folder, "vocab.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    cased = any(token != token.lower() and not token.startswith("[") for token in tokens)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": not cased, "tokenizer_class": "BertTokenizer"})
    say_once(
        f"{str(source)!r} has {'capitals' if cased else 'no capitals'} in its vocabulary: do_lower_case is set to "
        f"{str(not cased).lower()} in tokenizer_config.json; correct it there if necessary"
    )


# the value of --to → the function that writes the model's own files to a new folder
FORMATS: dict[str, Callable[[Path, StoredModel], None]] = {
    "safetensors": _write_safetensors,
    "h5": _write_keras,
    "msgpack": _write_flax,
    "gguf": _write_gguf,
}
