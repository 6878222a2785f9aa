"""The files of sentence-transformers folders, read as data: what they ask for, and every way to be damaged."""

import json
from pathlib import Path

import pytest

from bertie.errors import CheckpointError
from bertie.tasks.recipe import Recipe, read_recipe

OLD = "sentence_transformers.models."


def write(folder: Path, **files: object) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def modules(*kinds: str) -> list[dict[str, str]]:
    return [
        {"type": OLD + kind, "path": "" if kind == "Transformer" else f"{i}_{kind}"} for i, kind in enumerate(kinds)
    ]


def test_a_plain_model_is_pooled_by_the_mean(tmp_path: Path) -> None:
    assert read_recipe(tmp_path) == Recipe(modes=("mean",), normalize=False)


def test_all_minilm(minilm: Path) -> None:
    assert read_recipe(minilm) == Recipe(modes=("mean",), normalize=True, max_length=256, is_stated=True)


def test_everything_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        modules=modules("Transformer", "Pooling", "Dense", "Normalize"),
        sentence_bert_config={"max_seq_length": 77, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"query": "q: ", "none": None}, "default_prompt_name": "query"},
        **{
            "1_Pooling__config": {
                "pooling_mode_cls_token": True,
                "pooling_mode_max_tokens": True,
                "include_prompt": False,
            }
        },
    )
    assert read_recipe(tmp_path) == Recipe(
        modes=("cls", "max"),
        dense=(tmp_path / "2_Dense",),
        normalize=True,
        max_length=77,
        lower_case=True,
        prompts={"query": "q: "},
        default_prompt="query",
        include_prompt=False,
        is_stated=True,
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"modules": "[{"}, "is no list of modules"),
        ({"modules": {"type": "x"}}, "is no list of modules"),
        ({"modules": "[" * 100_000}, "is no list of modules"),
        ({"modules": modules("Pooling")}, "does not begin with a Transformer"),
        ({"modules": modules("Transformer", "Pooling", "LSTM")}, "the module 'LSTM'"),
        ({"modules": [{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "../x"}]}, "leads out of"),
        ({"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"pooling_mode": "median"}}, "'median'"),
        ({"sentence_bert_config": {"max_seq_length": -3}}, "max_seq_length is -3"),
        ({"config_sentence_transformers": {"prompts": [1]}}, "'prompts' must be"),
    ],
)
def test_damage_is_named(tmp_path: Path, files: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_recipe(write(tmp_path, **files))
