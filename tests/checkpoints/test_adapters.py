"""peft's adapter folders open like models: merged as by peft, the base found by name, unsupported ones refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import bertie
from bertie.cli.model_summary import describe
from bertie.engine import Engine
from bertie.errors import CheckpointError
from bertie.pipelines.head_tasks import tasks_of
from bertie.tasks.features import Features
from bertie.tasks.sentence_transformers_config import Recipe, read_recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

SIZES = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 24, "max_position_embeddings": 32, "initializer_range": 0.3, "num_labels": 3}
IDS = torch.randint(2, 99, (2, 7), generator=torch.Generator().manual_seed(0))
CLASSIFY, TAG = "AutoModelForSequenceClassification", "AutoModelForTokenClassification"
LORA: dict[str, Any] = {"target_modules": ["query", "dense"], "r": 4, "init_lora_weights": False}
IA3: dict[str, Any] = {"target_modules": ["key", "output.dense"], "init_ia3_weights": False}
ADAPTERS: dict[str, tuple[str, str, Any]] = {
    "lora": ("bert", CLASSIFY, peft.LoraConfig(task_type="SEQ_CLS", **LORA)),
    "rank-stabilised": ("bert", TAG, peft.LoraConfig(task_type="TOKEN_CLS", use_rslora=True, lora_alpha=3, **LORA)),
    "patterns": (
        "bert",
        CLASSIFY,
        peft.LoraConfig(alpha_pattern={"query": 5, "layer.1.output.dense": 2}, rank_pattern={"query": 2}, **LORA),
    ),
    "biases": ("bert", CLASSIFY, peft.LoraConfig(bias="all", lora_bias=True, modules_to_save=["classifier"], **LORA)),
    "embeddings": (
        "bert",
        CLASSIFY,
        peft.LoraConfig(**{**LORA, "target_modules": ["word_embeddings", "value"]}, modules_to_save=["classifier"]),
    ),
    "dora": ("bert", CLASSIFY, peft.LoraConfig(use_dora=True, modules_to_save=["classifier"], **LORA)),
    "ia3": (
        "bert",
        CLASSIFY,
        peft.IA3Config(feedforward_modules=["output.dense"], modules_to_save=["classifier"], **IA3),
    ),
    "roberta": (
        "roberta",
        TAG,
        peft.LoraConfig(target_modules=["query"], modules_to_save=["classifier"], init_lora_weights=False),
    ),
    "distilbert": ("distilbert", CLASSIFY, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["q_lin", "lin2"], r=1)),
}


def make(kind: str, door: str, adapter: Any, folder: Path) -> tuple[Any, Path]:
    """Save a base model and an adapter of it; return peft's merged model, and the adapter's folder."""
    torch.manual_seed(0)
    fields = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24} if kind == "distilbert" else {}
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **fields})
    base = getattr(transformers, door).from_config(config)
    base.save_pretrained(folder / "base")
    adapted = peft.get_peft_model(getattr(transformers, door).from_pretrained(folder / "base", num_labels=3), adapter)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.3)
    adapted.save_pretrained(folder / "adapter")
    return adapted.merge_and_unload().eval(), folder / "adapter"


@pytest.mark.parametrize("name", ADAPTERS)
def test_merged_as_peft_merges(name: str, tmp_path: Path) -> None:
    kind, door, adapter = ADAPTERS[name]
    merged, folder = make(kind, door, adapter, tmp_path)
    ours = getattr(bertie, door).from_pretrained(folder)
    with torch.no_grad():
        expected, found = merged(input_ids=IDS).logits, ours(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    theirs = dict(merged.named_parameters())
    own = {
        each.replace("bert.", f"{kind}.", 1) if kind == "roberta" else each: w for each, w in ours.named_parameters()
    }
    if kind != "distilbert":
        for each, weight in own.items():
            torch.testing.assert_close(weight, theirs[each], rtol=0, atol=1e-6)

    rows = Features(IDS.numpy().reshape(-1), None, [7, 7], [0, 0], [False, False])
    engine = Engine.open(folder, type(ours).__name__)
    np.testing.assert_allclose(engine.logits(rows).reshape(found.shape), found, rtol=0, atol=1e-5)


TIED: dict[str, tuple[str, dict[str, Any]]] = {
    "new words": ("bert", {"target_modules": ["query"], "modules_to_save": ["word_embeddings"]}),
    "changed words": ("roberta", {"target_modules": ["word_embeddings"]}),
    "a changed decoder": ("electra", {"target_modules": ["generator_lm_head", "value"]}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", TIED)
def test_what_was_tied_is_not_where_one_of_them_is_adapted(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    kind, given = TIED[name]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES, embedding_size=16)
    base = transformers.AutoModelForMaskedLM.from_config(config).to(dtype)
    base.save_pretrained(tmp_path / "base")
    adapter = peft.LoraConfig(r=2, init_lora_weights=False, **given)
    adapted = peft.get_peft_model(base.float(), adapter).eval()  # not merged, which changes tied weights together
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * 0.3)
    adapted.save_pretrained(tmp_path / "adapter")

    ours = bertie.AutoModelForMaskedLM.from_pretrained(tmp_path / "adapter", dtype="float32")
    with torch.no_grad():
        expected, found = adapted(input_ids=IDS).logits, ours(input_ids=IDS).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    rows = Features(IDS.numpy().reshape(-1), None, [7, 7], [0, 0], [False, False])
    engine = Engine.open(tmp_path / "adapter", "BertForMaskedLM")
    np.testing.assert_allclose(engine.masked_lm(rows, np.arange(14)), found.flatten(0, 1), rtol=1e-5, atol=1e-4)


def test_filling_pruned_columns_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, folder = make("bert", CLASSIFY, peft.LoraConfig(task_type="SEQ_CLS", **LORA), tmp_path)
    weights = load_file(folder.with_name("base") / "model.safetensors")
    name = "bert.encoder.layer.1.attention.output.dense.weight"
    weights[name][:, :8] = 0
    save_file(weights, folder.with_name("base") / "model.safetensors", {"format": "pt"})
    caplog.clear()
    bertie.AutoModelForSequenceClassification.from_pretrained(folder)
    [said] = [one.message for one in caplog.records if "pruned" in one.message]
    assert said.endswith(f"fills the pruned columns of '{name}', which are no longer skipped")


@pytest.fixture
def lora(tmp_path: Path, mini: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter with a head for three classes, of a base that has a tokenizer and no head."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    fields = {**SIZES, "vocab_size": 30522}
    del fields["num_labels"]
    transformers.BertForPreTraining(transformers.BertConfig(**fields)).save_pretrained("base")
    bertie.AutoTokenizer.from_pretrained(mini).save_pretrained("base")
    model = transformers.BertForSequenceClassification.from_pretrained("base", num_labels=3)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", **LORA))
    adapted.save_pretrained("adapter")
    return tmp_path / "adapter"


def test_pipelines_find_tokenizer_and_classes(lora: Path) -> None:
    pipe = bertie.pipeline("text-classification", str(lora))
    assert isinstance(pipe.model, Engine)
    assert pipe("A text.")[0]["label"].startswith("LABEL_")
    assert pipe.model.config.num_labels == 3
    vectors = bertie.pipeline("embed", str(lora))(["A text."])
    assert vectors.shape == (1, 16)


def test_patterns_match_module_names(lora: Path) -> None:
    folder = lora.with_name("patterned")
    model = transformers.BertForSequenceClassification.from_pretrained("base", num_labels=3)
    adapted = peft.get_peft_model(
        model,
        peft.LoraConfig(task_type="SEQ_CLS", alpha_pattern={"bert.encoder.layer.1.output.dense": 50}, **LORA),
    )
    adapted.save_pretrained(folder)
    expected = adapted.merge_and_unload().bert.encoder.layer[1].output.dense.weight
    found = bertie.BertForSequenceClassification.from_pretrained(folder).bert.encoder.layer[1].output.dense.weight
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_head_follows_the_task_type(lora: Path) -> None:
    assert tasks_of(str(lora)) == ("text-classification",)
    assert bertie.BertConfig.from_pretrained(lora).architectures == ["BertForSequenceClassification"]
    changed(lora, task_type="FEATURE_EXTRACTION")
    assert tasks_of(str(lora))[0] == "embed"


def test_the_head_follows_the_task_type_from_the_hub(lora: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--someone--adapter"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(lora, repository / "snapshots" / ("0" * 40))
    config = bertie.BertConfig.from_pretrained("someone/adapter", cache_dir=tmp_path / "hub", local_files_only=True)
    assert config.architectures == ["BertForSequenceClassification"]


def test_inspect_shows_the_head(lora: Path) -> None:
    found = describe(str(lora))
    assert found["classes"]["BertForSequenceClassification"]["missing"] == []


def test_files_of_the_base_are_copied_to_new_folders(lora: Path) -> None:
    recipe = Recipe(modes=("cls",), is_stated=True)
    write_recipe(Path("base"), recipe, 16)
    (lora / "README.md").write_text("An adapter.")
    expected = bertie.pipeline("embed", str(lora))(["A text."])
    bertie.convert(lora, "converted")
    np.testing.assert_allclose(bertie.pipeline("embed", "converted")(["A text."]), expected, atol=1e-5)
    assert Path("converted/README.md").read_text() == "An adapter."
    assert read_recipe("converted").modes == ("cls",)


def changed(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def without_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def for_more_layers(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name.replace("layer.1.", "layer.7."): each for name, each in tensors.items()}, folder / "x.safetensors")
    (folder / "x.safetensors").rename(folder / "adapter_model.safetensors")


def for_wider_layers(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    wide = {n: torch.cat([each, each], 1) if n.endswith("A.weight") else each for n, each in tensors.items()}
    save_file(wide, folder / "adapter_model.safetensors")


def with_something_else(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(tensors | {"base_model.model.prompt": torch.ones(2)}, folder / "adapter_model.safetensors")


BAD = {
    "no base": (lambda f: changed(f, base_model_name_or_path=None), "doesn't say which model the adapter was made for"),
    "missing base": (lambda f: changed(f, base_model_name_or_path="gone"), "base model can't be read: .*'gone'"),
    "itself": (lambda f: changed(f, base_model_name_or_path="adapter"), "a peft adapter"),
    "another type": (
        lambda f: changed(f, peft_type="PREFIX_TUNING"),
        "peft_type is 'PREFIX_TUNING'; bertie merges LORA",
    ),
    "changed base": (
        lambda f: changed(f, init_lora_weights="pissa"),
        "init_lora_weights is 'pissa', which bertie doesn't",
    ),
    "no weights": (without_weights, "adapter_config.json, but no adapter_model.safetensors or adapter_model.bin"),
    "other names": (for_more_layers, "which its base model in .* doesn't have: it was made for another model"),
    "other shapes": (for_wider_layers, "in its base model .*: it was made for another model, or a part is missing"),
    "other parts": (with_something_else, "'base_model.model.prompt', which bertie cannot merge"),
    "no number": (lambda f: changed(f, alpha_pattern={"query": "5"}), "alpha_pattern has 'query' with '5'"),
    "no name": (lambda f: changed(f, alpha_pattern={"quer[iy]": 5}), r"alpha_pattern has 'quer\[iy\]' with 5"),
    "broken": (lambda f: (f / "adapter_config.json").write_text("{"), "not valid JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_merged_is_refused(name: str, lora: Path) -> None:
    spoil, says = BAD[name]
    spoil(lora)
    for open_it in (bertie.BertForSequenceClassification.from_pretrained, Engine.open):
        with pytest.raises(CheckpointError, match=says) as caught:
            open_it(lora)
        assert "\n" not in str(caught.value)
