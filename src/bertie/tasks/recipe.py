"""How a sentence-transformers folder makes a text's vector: its small JSON files, read as data, and written."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import CheckpointError
from bertie.files import atomic, make_folder, read_bytes, read_json, write_json
from bertie.hub import member
from bertie.tasks.pooling import MODES

# what a folder of this kind holds beside the model itself
SETTINGS = "config_sentence_transformers.json"
FILES = ("modules.json", SETTINGS, "sentence_bert_config.json", "*_*/*")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# the older way to name the modes, in the order in which their vectors are joined
_OLD_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Recipe:
    """From hidden states to vectors.

    Attributes:
        modes: how the tokens' vectors become one; several are concatenated.
        dense: the folders of linear layers that follow, in order.
        normalize: whether vectors have length 1 at the end.
        max_length: tokens of a text, special ones included; None leaves it to tokenizer and model.
        lower_case: whether texts are lower-cased first, whatever the tokenizer does.
        prompts: name → what is put before a text.
        default_prompt: the name of the one to use when none is named.
        include_prompt: whether a prompt's tokens take part in the pooling.
        subfolder: where the model's own files lie.
        is_stated: whether the model's folder says all this; where none does, it is the usual.
    """

    modes: tuple[str, ...] = ("mean",)
    dense: tuple[Path, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True
    subfolder: str = ""
    is_stated: bool = False


def read_recipe(folder: str | os.PathLike[str]) -> Recipe:
    """Return the recipe in a model's folder; without ``modules.json`` it is the mean, not normalised.

    Raises:
        CheckpointError: a file is damaged or unsafe, or asks for a module that bertie does not have.
    """
    folder = Path(folder)
    steps = _steps(folder)
    prompts = _optional(folder, SETTINGS)
    subfolder = steps[0][1] if steps else ""
    own = _optional(folder / subfolder, "sentence_bert_config.json")
    pooling: dict[str, Any] = {}
    dense: list[Path] = []
    normalize = False
    for kind, path in steps[1:]:
        if kind == "Pooling" and not dense and not normalize:
            pooling = _optional(folder / path, "config.json")
        elif kind == "Dense" and not normalize:
            dense.append(folder / path)
        elif kind == "Normalize":
            normalize = True
        else:
            raise CheckpointError(
                f"{str(folder / 'modules.json')!r} asks for the module {kind!r} in a place bertie does not know; "
                "it knows Transformer, Pooling, Dense and Normalize, in this order"
            )
    return Recipe(
        modes=_modes(pooling, folder),
        dense=tuple(dense),
        normalize=normalize,
        max_length=_length(own.get("max_seq_length"), folder),
        lower_case=own.get("do_lower_case") is True,
        prompts=_prompts(prompts, folder),
        default_prompt=prompts.get("default_prompt_name"),
        include_prompt=pooling.get("include_prompt", True) is not False,
        subfolder=subfolder,
        is_stated=bool(steps),
    )


def read_activation(folder: str | os.PathLike[str]) -> str | None:
    """Return the class that a cross-encoder's folder names for what turns a logit into a score; None: it names none.

    Raises:
        CheckpointError: the file is damaged or unsafe.
    """
    named = _optional(Path(folder), SETTINGS).get("activation_fn")
    return named if isinstance(named, str) else None


def write_recipe(folder: str | os.PathLike[str], recipe: Recipe, width: int) -> None:
    """Write a recipe beside a model's own files, so that bertie and sentence-transformers read it.

    Args:
        folder: with the model and its tokenizer, whatever ``recipe.subfolder`` was before.
        recipe: its linear layers are copied from where they lie.
        width: D, of a token's vector.

    Raises:
        CheckpointError: a file cannot be written, or a linear layer's cannot be read.
    """
    folder = Path(folder)
    kinds = ["Pooling", *["Dense"] * len(recipe.dense), *["Normalize"] * recipe.normalize]
    steps = [("Transformer", ""), *((kind, f"{number}_{kind}") for number, kind in enumerate(kinds, 1))]
    for _, path in steps[1:]:
        make_folder(folder / path)
    write_json(folder / "1_Pooling" / "config.json", _pooling(recipe, width))
    for number, source in enumerate(recipe.dense, 2):
        _copy(source, folder / f"{number}_Dense")
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": recipe.max_length, "do_lower_case": recipe.lower_case},
    )
    write_json(
        folder / SETTINGS,
        {
            "prompts": dict(recipe.prompts),
            "default_prompt_name": recipe.default_prompt,
            "similarity_fn_name": "cosine",
        },
    )
    # last: a folder with this file has all that it names
    write_json(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, path) in enumerate(steps)
        ],
    )


def _pooling(recipe: Recipe, width: int) -> dict[str, Any]:
    """Return the pooling's config, by flags, which every version of sentence-transformers reads, if they can say it."""
    if tuple(mode for mode in _OLD_MODES.values() if mode in recipe.modes) != recipe.modes:
        return {
            "embedding_dimension": width,
            "pooling_mode": list(recipe.modes),
            "include_prompt": recipe.include_prompt,
        }
    flags = {name: mode in recipe.modes for name, mode in _OLD_MODES.items()}
    return {"word_embedding_dimension": width, **flags, "include_prompt": recipe.include_prompt}


def _copy(source: Path, target: Path) -> None:
    """Copy a linear layer's files."""
    if source.resolve() == target.resolve():
        return
    names = [name for name in ("config.json", *_WEIGHTS) if member(source, name).exists()]
    for name in names:
        with atomic(target / name) as temporary:
            shutil.copyfile(member(source, name), temporary)


def _steps(folder: Path) -> list[tuple[str, str]]:
    """Return (kind, path) of each module in ``modules.json``; empty if there is no such file."""
    path = member(folder, "modules.json")
    if not path.exists():
        return []
    try:
        listed = json.loads(read_bytes(path, "modules"))
        steps = [(str(entry["type"]).rpartition(".")[2], str(entry["path"])) for entry in listed]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{str(path)!r} is no list of modules with 'type' and 'path'; fetch the model again"
        ) from error
    if not steps or steps[0][0] != "Transformer":
        raise CheckpointError(f"{str(path)!r} does not begin with a Transformer; bertie embeds with BERT models only")
    for _, place in steps:
        member(folder, place)
    return steps


def _optional(folder: Path, name: str) -> dict[str, Any]:
    path = member(folder, name)
    return read_json(path) if path.exists() else {}


def _modes(pooling: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    asked = pooling.get("pooling_mode")
    if asked is None:
        asked = [mode for name, mode in _OLD_MODES.items() if pooling.get(name)] or "mean"
    modes = (asked,) if isinstance(asked, str) else tuple(asked)
    for mode in modes:
        if mode not in MODES:
            raise CheckpointError(f"{str(folder)!r} asks for the pooling {mode!r:.60}; bertie has {', '.join(MODES)}")
    return modes


def _length(value: Any, folder: Path) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise CheckpointError(f"{str(folder)!r}: max_seq_length is {value!r:.60}; it must be a positive integer or null")


def _prompts(config: Mapping[str, Any], folder: Path) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise CheckpointError(f"{str(folder)!r}: 'prompts' must be a mapping of names to texts")
    return {name: text for name, text in prompts.items() if text is not None}
