"""BertConfig: every field checked, files round-trip (with transformers too), and no file can run code."""

import copy
import json
import logging
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie import progress
from bertie.config import AutoConfig, BertConfig
from bertie.errors import CheckpointError, ConfigError, InputTypeError
from bertie.fields import FIELDS

SMALL: dict[str, Any] = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 48, "num_hidden_layers": 2}


@pytest.fixture(autouse=True)
def forget_what_was_said() -> None:
    progress._said.clear()


def written(folder: Path, **fields: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", **SMALL, **fields}))
    return folder


def test_defaults_are_the_references() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertConfig().to_dict()
    del theirs["transformers_version"]
    assert BertConfig().to_dict() == theirs


def test_the_first_arguments_may_be_given_by_position() -> None:
    config = BertConfig(100, 24, 2, 3, 48, "relu", 0.2, 0.3, 64, 4, 0.1, 1e-5, 1)
    assert (config.vocab_size, config.num_attention_heads, config.hidden_act, config.pad_token_id) == (
        100,
        3,
        "relu",
        1,
    )


GROUPS: list[dict[str, Any]] = [
    {},
    {**SMALL, "num_labels": 3, "problem_type": "multi_label_classification"},
    {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}, "dtype": "float16"},
    {"is_decoder": True, "add_cross_attention": True, "eos_token_id": [1, 2], "tie_word_embeddings": False},
    {"position_embedding_type": "relative_key", "classifier_dropout": 0, "architectures": ["BertModel"]},
    {"output_attentions": True, "output_hidden_states": True, "return_dict": False, "chunk_size_feed_forward": 4},
]


@pytest.mark.parametrize("fields", GROUPS)
def test_files_round_trip_with_transformers(tmp_path: Path, fields: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    config = BertConfig(**fields)
    config.added_by_a_trainer = [1, {"a": None}]
    config.save_pretrained(tmp_path / "ours")
    theirs = transformers.BertConfig.from_pretrained(tmp_path / "ours")
    expected = transformers.BertConfig(**fields)
    expected.added_by_a_trainer = [1, {"a": None}]
    assert theirs.to_diff_dict() == expected.to_diff_dict()
    theirs.save_pretrained(tmp_path / "theirs")
    files = [(tmp_path / one / "config.json").read_text().splitlines() for one in ("ours", "theirs")]
    assert files[0] == [line for line in files[1] if "transformers_version" not in line]
    back = BertConfig.from_pretrained(tmp_path / "theirs")
    assert back.transformers_version == transformers.__version__
    back.transformers_version, back.name_or_path = None, ""
    assert back == config


def test_copies_and_pickles_are_equal_and_independent() -> None:
    config = BertConfig(**SMALL, num_labels=3)
    config.extra = {"a": 1}
    config._attn_implementation = "eager"
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301
        assert twin == config
        assert twin._attn_implementation == "eager"
        twin.num_labels = 5
        assert twin != config
    assert config.num_labels == 3
    given = config.to_dict()
    given["extra"]["a"] = 2
    assert config.extra == {"a": 1}


OUT_OF_RANGE: list[tuple[str, Any]] = [
    ("num_attention_heads", 0),
    ("num_hidden_layers", -3),
    ("num_hidden_layers", 1e9),
    ("num_hidden_layers", 10**9),
    ("vocab_size", 10**12),
    ("vocab_size", 10**400),
    ("vocab_size", 0),
    ("hidden_size", None),
    ("hidden_size", 24.0),
    ("hidden_size", True),
    ("hidden_size", "24"),
    ("hidden_size", [24]),
    ("layer_norm_eps", "1e-12"),
    ("layer_norm_eps", 0),
    ("layer_norm_eps", math.inf),
    ("hidden_dropout_prob", math.nan),
    ("hidden_dropout_prob", 1.5),
    ("attention_probs_dropout_prob", -0.1),
    ("classifier_dropout", "0.1"),
    ("initializer_range", math.inf),
    ("hidden_act", "os.system"),
    ("hidden_act", ["gelu"]),
    ("hidden_act", None),
    ("position_embedding_type", "rotary"),
    ("is_decoder", 1),
    ("use_cache", "yes"),
    ("pad_token_id", -1),
    ("eos_token_id", [1, -1]),
    ("problem_type", "ranking"),
    ("architectures", "BertModel"),
    ("dtype", "int8"),
    ("dtype", "os"),
    ("quantization_config", "int8"),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_wherever_it_comes_from(tmp_path: Path, name: str, value: Any) -> None:
    config = BertConfig(**SMALL)
    before = config.to_dict()
    for call in (
        lambda: BertConfig(**{**SMALL, name: value}),
        lambda: setattr(config, name, value),
        lambda: BertConfig.from_dict({}, **{name: value}),
    ):
        with pytest.raises(ConfigError, match=f"^{name} is .*allowed: ") as error:
            call()
        assert FIELDS[name].allowed in str(error.value)
        assert len(str(error.value)) < 600
    assert config.to_dict() == before
    if value is not None:  # null in a file means the default
        with pytest.raises(ConfigError, match=rf"config\.json': {name} is"):
            BertConfig.from_pretrained(written(tmp_path, **{name: value}))


def test_nan_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"hidden_dropout_prob": NaN}')
    with pytest.raises(ConfigError, match="hidden_dropout_prob is nan; allowed: a number from 0 to 1"):
        BertConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"hidden_size": 25, "num_attention_heads": 2}, "not a multiple of num_attention_heads"),
        ({"add_cross_attention": True}, "is_decoder is false"),
        ({"vocab_size": 10, "pad_token_id": 10}, "outside the vocabulary of 10"),
        ({"problem_type": "single_label_classification", "num_labels": 1}, "with one label"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "id2label has 1 labels"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "not the inverse"),
        ({"id2label": {0: "a", 2: "b"}}, "every number from 0 to n-1"),
        ({"id2label": {"0": "a", "00": "b"}}, "every number from 0 to n-1"),
        ({"id2label": {}}, "every number from 0 to n-1"),
        ({"id2label": {0: "a", 1: "a"}}, "'a' more than once"),
        ({"id2label": {0: 0, 1: 1}}, r"id2label\[0\] is 0; allowed: a string"),
        ({"id2label": ["a", "b"]}, "a mapping from class numbers to strings"),
        ({"id2label": {"x": "a"}}, "a mapping from class numbers to strings"),
        ({"label2id": {"a": "x"}}, "a mapping from strings to class numbers"),
        ({"label2id": {1: 0}}, "key 1; allowed: a string"),
        ({"num_labels": 0}, "num_labels is 0; allowed: an integer from 1"),
        ({"num_labels": "3"}, "num_labels is '3'"),
        ({"model_type": "encoder-decoder"}, "a pair of BERTs; open it with EncoderDecoderModel or 'bertie generate'"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; bertie runs models of type bert, roberta, xlm-roberta, "),
    ],
)
def test_fields_that_do_not_fit_each_other(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        BertConfig(**fields)


def test_fields_may_be_changed_one_by_one_and_are_checked_together() -> None:
    config = BertConfig()
    config.num_attention_heads = 7
    with pytest.raises(ConfigError, match="not a multiple"):
        config.validate()
    with pytest.raises(ConfigError, match="not a multiple"):
        config.save_pretrained("never-written")
    config.update({"hidden_size": 70})
    assert not Path("never-written").exists()


def test_labels_follow_each_other() -> None:
    config = BertConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    config.id2label = {"1": "yes", "0": "no"}
    assert (config.num_labels, config.label2id, list(config.id2label)) == (2, {"no": 0, "yes": 1}, [0, 1])
    config.num_labels = 2  # the same number keeps the names
    assert config.id2label[1] == "yes"
    config.num_labels = 4
    assert config.label2id["LABEL_3"] == 3
    assert BertConfig(label2id={"b": 1, "a": 0, "c": 2}).id2label == {0: "a", 1: "b", 2: "c"}


def test_numpy_scalars_become_python_numbers() -> None:
    config = BertConfig(hidden_size=np.int64(24), num_attention_heads=2, layer_norm_eps=np.float32(0.5))
    assert type(config.hidden_size) is int
    assert json.loads(config.to_json_string())["layer_norm_eps"] == 0.5


def test_an_unknown_argument_names_the_nearest_field() -> None:
    with pytest.raises(InputTypeError, match=r"no field 'hiden_size'\. Did you mean 'hidden_size'"):
        BertConfig(hiden_size=24)
    with pytest.raises(InputTypeError, match=r"no field 'num_label'\. Did you mean 'num_labels'"):
        BertConfig.from_dict({}, num_label=2)
    assert BertConfig(pruned_heads=None) == BertConfig.from_dict({}, sliding_window=None) == BertConfig()


@pytest.mark.parametrize(
    ("field", "value"),
    [("torchscript", True), ("chunk_size_feed_forward", 4), ("fusion_config", {"patch_embeddings": True})],
)
def test_fields_without_effect_are_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, field: str, value: Any
) -> None:
    for _ in range(2):
        config = BertConfig.from_pretrained(written(tmp_path, **{field: value}))
        assert getattr(config, field) == value
        BertConfig.from_pretrained(written(tmp_path), **{field: value})
    assert [message for message in caplog.messages if field in message and "has no effect" in message] != []
    assert len(caplog.messages) == 1
    caplog.clear()
    BertConfig.from_pretrained(written(tmp_path, torchscript=False, chunk_size_feed_forward=0, pruned_heads={}))
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pruned_heads", {"0": [1]}),
        ("per_layer_config", {"0": {"hidden_act": "relu"}}),
        ("transformers_weights", "other.safetensors"),
        ("is_causal", True),
    ],
)
def test_fields_that_would_change_answers_are_refused(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json.*{field} is {re.escape(repr(value))}"):
        BertConfig.from_pretrained(written(tmp_path, **{field: value}))
    assert BertConfig.from_pretrained(written(tmp_path, is_decoder=True, is_causal=True)).is_decoder


def test_unknown_keys_of_files_are_kept_and_saved_again(tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(written(tmp_path, gradient_checkpointing=False, my_tool={"a": [1]}))
    assert config.my_tool == {"a": [1]}
    config.later = "set"
    config.save_pretrained(tmp_path / "again")
    again = BertConfig.from_pretrained(tmp_path / "again", gradient_checkpointing=True)
    assert (again.my_tool, again.later, again.gradient_checkpointing) == ({"a": [1]}, "set", True)


def test_a_file_cannot_replace_methods_or_private_state(tmp_path: Path) -> None:
    folder = written(tmp_path, to_dict=1, validate=2, __class__="x", _attn_implementation_internal="os", _private=1)
    config = BertConfig.from_pretrained(folder)
    assert config.to_dict()["model_type"] == "bert"
    assert "_private" not in config.__dict__
    assert type(config) is BertConfig


def test_nothing_in_a_file_can_choose_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit")
    keys = {
        "auto_map": {"AutoModel": "evil.Model"},
        "trust_remote_code": True,
        "_attn_implementation": "someone/kernel",
        "_attn_implementation_internal": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "kernel_config": {"x": "someone/kernel"},
        "use_kernels": True,
    }
    modules = set(sys.modules)
    with caplog.at_level(logging.WARNING, "bertie"):
        config = BertConfig.from_pretrained(written(tmp_path, **keys), trust_remote_code=True)
    said = " ".join(caplog.messages)
    assert all(repr(key) in said for key in keys)
    assert "never runs code" in said
    assert config._attn_implementation is None
    assert not set(keys) & set(config.to_dict())
    assert not {name for name in set(sys.modules) - modules if "evil" in name or "kernel" in name}


def test_the_attention_choice_is_run_time_state() -> None:
    config = BertConfig(attn_implementation="eager")
    assert config._attn_implementation == "eager"
    assert "eager" not in config.to_json_string(use_diff=False)


def test_old_files(tmp_path: Path) -> None:
    fields = {"torch_dtype": "float16", "_num_labels": 5, "id2label": None, "output_attentions": None}
    config = BertConfig.from_pretrained(written(tmp_path, position_embedding_type="relative_key_query", **fields))
    assert (config.num_labels, config.to_dict()["dtype"], config.output_attentions) == (5, "float16", False)
    assert config.position_embedding_type == "relative_key_query"
    assert config.name_or_path == str(tmp_path)


@pytest.mark.parametrize("name", ["layer_norm_eps", "hidden_dropout_prob", "hidden_size", "use_cache", "hidden_act"])
def test_null_means_the_default_where_it_does_in_the_reference(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder = written(tmp_path, **{name: None})
    with pytest.raises(ConfigError, match=f"config.json.*{name} is None; allowed"):
        BertConfig.from_pretrained(folder)
    with pytest.raises(Exception, match=name):
        transformers.BertConfig.from_pretrained(folder)


@pytest.mark.parametrize("value", [1.5, 1.0000001, 0, -1e-12])
def test_layer_norm_eps_has_two_ends(value: float) -> None:
    with pytest.raises(ConfigError, match="layer_norm_eps is .*; allowed: a number above 0 and at most 1"):
        BertConfig(layer_norm_eps=value)
    assert BertConfig(layer_norm_eps=1).layer_norm_eps == 1


@pytest.mark.parametrize(
    ("labels", "read", "said"),
    [
        ({"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "LABEL_0 LABEL_1 LABEL_2", "num_labels is 3"),
        ({"num_labels": 1, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "LABEL_0", "num_labels is 1"),
        ({"id2label": {"0": 0}}, "0", "numbers as labels"),
        ({"id2label": {"0": 1, "1": 5}, "label2id": {"1": 0, "5": 1}}, "1 5", "numbers as labels"),
        ({"id2label": {"0": "a", "2": "b"}}, "LABEL_0 LABEL_1", "every number from 0 to n-1"),
        ({"id2label": {"0": "a", "1": "a"}}, "LABEL_0 LABEL_1", "more than once"),
        ({"id2label": [1], "num_labels": 3}, "LABEL_0 LABEL_1 LABEL_2", "a mapping from class numbers"),
        ({"num_labels": "many"}, "LABEL_0 LABEL_1", "num_labels is 'many'"),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": "0", "b": "1"}}, "a b", ""),
    ],
)
def test_invalid_labels_in_a_file_are_reported_but_load(
    tmp_path: Path, labels: dict[str, Any], read: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = BertConfig.from_pretrained(written(tmp_path, **labels))
    assert list(config.id2label.values()) == read.split()
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)
    caplog.clear()
    progress._said.clear()
    assert BertConfig.from_pretrained(tmp_path, id2label={0: "x", 1: "y"}).label2id == {"x": 0, "y": 1}
    assert BertConfig.from_pretrained(tmp_path, num_labels=4).num_labels == 4
    assert not caplog.records  # an override takes precedence over the file


def test_contradicting_labels_of_a_file_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = written(tmp_path, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    with caplog.at_level(logging.WARNING, "bertie"):
        config = BertConfig.from_pretrained(folder)
    assert config.label2id == {"a": 0, "b": 1, "c": 2}
    assert "contradicts" in caplog.text


def test_overrides_take_the_files_place(tmp_path: Path) -> None:
    folder = written(tmp_path, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1}, torch_dtype="float16")
    assert BertConfig.from_pretrained(folder, num_labels=2).id2label == {0: "a", 1: "b"}
    assert BertConfig.from_pretrained(folder, num_labels=3).num_labels == 3
    assert BertConfig.from_pretrained(folder, id2label={0: "x", 1: "y", 2: "z"}).label2id["z"] == 2
    assert BertConfig.from_pretrained(folder, dtype="float32").to_dict()["dtype"] == "float32"
    assert BertConfig.from_pretrained(folder, hidden_size=36, num_attention_heads=3).hidden_size == 36
    config, unused = BertConfig.from_pretrained(folder, return_unused_kwargs=True, use_cache=False, other=1)
    assert (config.use_cache, unused) == (False, {"other": 1})
    with pytest.raises(InputTypeError, match="no field 'other'"):
        BertConfig.from_pretrained(folder, other=1)


def test_dtype_is_torchs_in_a_program_and_a_name_in_a_file() -> None:
    import torch

    config = BertConfig(torch_dtype=torch.bfloat16)
    assert config.dtype is config.torch_dtype is torch.bfloat16
    assert json.loads(config.to_json_string())["dtype"] == "bfloat16"
    config.dtype = None
    assert config.dtype is None


def test_a_function_as_activation_works_until_it_is_saved(tmp_path: Path) -> None:
    config = BertConfig(hidden_act=math.tanh)
    assert "built-in function tanh" in repr(config)
    with pytest.raises(ConfigError, match=r"hidden_act is .*cannot be saved as JSON; name the activation"):
        config.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_saving_to_impossible_places(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot make the folder"):
        BertConfig().save_pretrained(tmp_path / "file")
    with pytest.raises(CheckpointError, match="does not upload"):
        BertConfig().save_pretrained(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a":' * 100_000, b"\xff"])
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        BertConfig.from_pretrained(tmp_path)


def test_sources_and_older_names(tmp_path: Path) -> None:
    folder = written(tmp_path, vocab_size=77)
    for config in (
        AutoConfig.from_pretrained(str(folder)),
        BertConfig.from_pretrained(folder / "config.json"),
        BertConfig.from_json_file(folder / "config.json"),
        AutoConfig.for_model("bert", **SMALL, vocab_size=77),
    ):
        assert config.vocab_size == 77
        assert config.use_return_dict is True
        assert config.get_text_config(decoder=True) is config
    with pytest.raises(CheckpointError, match=r"there is no config.json in .*; it is empty"):
        BertConfig.from_pretrained((tmp_path / "empty").mkdir() or tmp_path / "empty")


def test_real_configs(mini: Path, minilm: Path) -> None:
    assert BertConfig.from_pretrained(mini).gradient_checkpointing is False
    assert BertConfig.from_pretrained(minilm).num_hidden_layers == 6


def test_every_field_has_its_line_of_documentation() -> None:
    assert FIELDS["hidden_dropout_prob"].doc.startswith("dropout after embeddings")
    assert all(rule.doc and rule.allowed for rule in FIELDS.values())


def test_a_config_needs_no_torch() -> None:
    program = "import sys; from bertie import BertConfig; BertConfig(dtype='float16').to_dict(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=_environment())
    assert answer.returncode == 0, answer.stderr
    assert "torch" not in answer.stdout.split()


def _environment() -> dict[str, str]:
    import os

    import bertie

    return {**os.environ, "PYTHONPATH": str(Path(bertie.__file__).parents[1])}
