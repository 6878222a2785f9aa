"""The files of sentence-transformers folders, read as data: all they can ask for, and every kind of damage."""

import json
from pathlib import Path

import pytest

from bertie.errors import CheckpointError
from bertie.tasks.sentence_transformers_config import Layer, Recipe, read_activation, read_recipe

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


def test_a_plain_model_is_mean_pooled(tmp_path: Path) -> None:
    assert read_recipe(tmp_path) == Recipe(modes=("mean",))


def test_all_minilm(minilm: Path) -> None:
    normalize = Layer("Normalize", minilm / "2_Normalize")
    assert read_recipe(minilm) == Recipe(layers=(normalize,), max_length=256, is_stated=True)


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
        layers=(Layer("Dense", tmp_path / "2_Dense"), Layer("Normalize", tmp_path / "3_Normalize")),
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
        ({"modules": "[{"}, "not valid JSON"),
        ({"modules": {"type": "x"}}, "is not a list of modules"),
        ({"modules": [{"type": 5, "path": ""}]}, "'type' is 5; allowed: a string"),
        ({"modules": "[" * 100_000}, "nested too deeply"),
        ({"modules": modules("Pooling")}, "does not begin with a Transformer"),
        ({"modules": modules("Transformer", "Pooling", "LSTM")}, "the module 'sentence_transformers.models.LSTM'"),
        ({"modules": modules("Transformer")}, "one Transformer and one Pooling"),
        ({"modules": modules("Transformer", "Pooling", "Pooling")}, "one Transformer and one Pooling"),
        ({"modules": [{"type": "mine.Transformer", "path": ""}]}, "the module 'mine.Transformer'"),
        ({"modules": modules("Transformer", "LayerNorm", "Pooling")}, "where a layer on 'token_embeddings' belongs"),
        ({"modules": modules("Transformer", "Dense", "Pooling")}, "where a layer on 'token_embeddings' belongs"),
        (
            {
                "modules": modules("Transformer", "Pooling", "Dense"),
                "2_Dense__config": {"module_output_name": "scores"},
            },
            "turns 'sentence_embedding' into 'scores'",
        ),
        (
            {"modules": [{"type": OLD + "Transformer", "path": ""}, {"type": OLD + "Pooling", "path": "../x"}]},
            "leads out",
        ),
        ({"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"pooling_mode": "median"}}, "'median'"),
        (
            {"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"pooling_mode": []}},
            r"pooling_mode is \[\]",
        ),
        (
            {"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"include_prompt": 0}},
            "include_prompt' is 0",
        ),
        (
            {"modules": modules("Transformer", "Pooling"), "1_Pooling__config": {"pooling_mode_first": True}},
            "mode_first",
        ),
        ({"sentence_bert_config": {"max_seq_length": -3}}, "max_seq_length' is -3"),
        ({"sentence_bert_config": {"do_lower_case": "yes"}}, "do_lower_case' is 'yes'"),
        ({"sentence_bert_config": {"transformer_task": "fill-mask"}}, "transformer_task' is 'fill-mask'"),
        ({"sentence_bert_config": {"query_length": 32}}, "asks for 'query_length': 32"),
        ({"sentence_bert_config": {"model_args": {"num_hidden_layers": 2}}}, "asks for 'model_args'"),
        ({"sentence_roberta_config": {"max_seq_length": 0}}, "max_seq_length' is 0"),
        ({"config_sentence_transformers": {"prompts": [1]}}, "'prompts' is "),
        ({"config_sentence_transformers": {"prompts": {"a": 1}}}, "'prompts' must be"),
        (
            {"config_sentence_transformers": {"prompts": {"a": "b"}, "default_prompt_name": "c"}},
            "not one of its pro",
        ),
        ({"config_sentence_transformers": {"truncate_dim": 0}}, "truncate_dim' is 0"),
        ({"config_sentence_transformers": {"similarity_fn_name": "near"}}, "similarity_fn_name' is 'near'"),
        ({"config_sentence_transformers": {"model_type": "SparseEncoder"}}, "is a SparseEncoder"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, files: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_recipe(write(tmp_path, **files))


def test_settings_that_do_not_affect_vectors_are_accepted(tmp_path: Path) -> None:
    own = {
        "model_args": {"attn_implementation": "sdpa"},
        "tokenizer_args": {},
        "query_length": None,
        "unpad_inputs": True,
    }
    assert read_recipe(write(tmp_path, sentence_bert_config=own)) == Recipe()


def test_only_the_encoder_of_a_cross_encoder_is_used(tmp_path: Path) -> None:
    settings = {
        "model_type": "CrossEncoder",
        "activation_fn": "torch.nn.modules.activation.Tanh",
        "prompts": {"a": "b"},
    }
    write(tmp_path, modules=modules("Transformer"), config_sentence_transformers=settings)
    assert read_recipe(tmp_path) == Recipe()
    assert read_activation(tmp_path) == "torch.nn.modules.activation.Tanh"
    write(tmp_path, modules=modules("Transformer", "Dense"))
    with pytest.raises(CheckpointError, match="the module 'Dense' after the model"):
        read_activation(tmp_path)
