"""Writes a recipe as the small JSON files of a sentence-transformers folder."""

import os
import shutil
from pathlib import Path
from typing import Any

from bertie.files import atomic, make_folder, write_json
from bertie.hub import member
from bertie.tasks.sentence_transformers_config import MODULES, OLD_MODES, SETTINGS, Layer, Recipe

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def write_recipe(folder: str | os.PathLike[str], recipe: Recipe, width: int) -> None:
    """Write a recipe beside a model's own files, so that bertie and sentence-transformers read it.

    The files of its layers are copied; ``width`` is D, the dimension of a token's vector.
    """
    folder = Path(folder)
    layers = [*recipe.token_layers, Layer("Pooling"), *recipe.layers]
    steps = [("Transformer", ""), *((layer.kind, f"{number}_{layer.kind}") for number, layer in enumerate(layers, 1))]
    for layer, (kind, path) in zip(layers, steps[1:], strict=True):
        make_folder(folder / path)
        if kind == "Pooling":
            write_json(folder / path / "config.json", _pooling(recipe, width))
        elif layer.folder is not None:
            _copy(layer.folder, folder / path)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": recipe.max_length, "do_lower_case": recipe.lower_case},
    )
    settings = {
        "prompts": dict(recipe.prompts),
        "default_prompt_name": recipe.default_prompt,
        "similarity_fn_name": recipe.similarity,
    }
    cut = {} if recipe.truncate_dim is None else {"truncate_dim": recipe.truncate_dim}
    write_json(folder / SETTINGS, settings | cut)
    # last, so that a folder with this file has everything it names
    write_json(
        folder / MODULES,
        [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, path) in enumerate(steps)
        ],
    )


def _pooling(recipe: Recipe, width: int) -> dict[str, Any]:
    """Return the pooling's config, if possible as flags, which all versions of sentence-transformers read."""
    if tuple(mode for mode in OLD_MODES.values() if mode in recipe.modes) != recipe.modes:
        return {
            "embedding_dimension": width,
            "pooling_mode": list(recipe.modes),
            "include_prompt": recipe.include_prompt,
        }
    flags = {name: mode in recipe.modes for name, mode in OLD_MODES.items()}
    return {"word_embedding_dimension": width, **flags, "include_prompt": recipe.include_prompt}


def _copy(source: Path, target: Path) -> None:
    if source.resolve() == target.resolve():
        return
    names = [name for name in ("config.json", *_WEIGHTS) if member(source, name).exists()]
    for name in names:
        with atomic(target / name) as temporary:
            shutil.copyfile(member(source, name), temporary)
