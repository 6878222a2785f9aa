"""BERT's siblings: every head of every family computes, learns and saves what ``transformers``' model of it does."""

import copy
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from harness import scaled_difference
from torch import Tensor

import bertie
from bertie.checkpoints.names import from_family, to_family
from bertie.engine import Engine
from bertie.engine.attention import distance_buckets
from bertie.families import CLASSES, FAMILIES
from bertie.models.optimizing import _outputs
from bertie.tasks.features import Features

SIZES = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 48, "max_position_embeddings": 20}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ROBERTA = {**SIZES, **NO_DROPOUT, "type_vocab_size": 1}
FIELDS: dict[str, dict[str, Any]] = {
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "mpnet": {**SIZES, **NO_DROPOUT},
    "distilbert": {
        "vocab_size": 99,
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 20,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "qa_dropout": 0.0,
        "seq_classif_dropout": 0.0,
    },
    "electra": {**SIZES, **NO_DROPOUT, "embedding_size": 16, "summary_last_dropout": 0.0},
}
LABELS: dict[str, dict[str, Tensor]] = {
    "BertModel": {},
    "BertForMaskedLM": {"labels": torch.tensor([[-100, 7, -100, 9, -100, -100], [-100, 3, -100, -100, -100, -100]])},
    "BertForSequenceClassification": {"labels": torch.tensor([2, 0])},
    "BertForMultipleChoice": {"labels": torch.tensor([1])},
    "BertForTokenClassification": {"labels": torch.tensor([[0, 1, 2, 1, 0, 1], [1, 1, 0, -100, -100, -100]])},
    "BertForQuestionAnswering": {"start_positions": torch.tensor([1, 0]), "end_positions": torch.tensor([4, 2])},
}
CASES = [(kind, name) for kind in FIELDS for name in CLASSES]


class Pair(NamedTuple):
    ours: Any
    theirs: Any
    engine: Engine
    folder: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("siblings")


def door(name: str) -> Any:
    return getattr(bertie, f"Auto{name.removeprefix('Bert')}".replace("AutoFor", "AutoModelFor"))


@cache
def pair(kind: str, name: str, place: Path) -> Pair:
    """A random model of the family that `transformers` has saved, opened by both and by the engine."""
    torch.manual_seed(0)
    labels = {} if name == "BertForQuestionAnswering" else {"num_labels": 3}
    config = transformers.AutoConfig.for_model(kind, **FIELDS[kind], **labels)
    theirs = getattr(transformers, FAMILIES[kind].class_name(name))(config).eval()
    theirs.set_attn_implementation("eager")
    with torch.no_grad():  # fresh biases and LayerNorms are 0 and 1, which would hide a missing one
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = place / f"{kind}-{name}"
    theirs.save_pretrained(folder)
    return Pair(door(name).from_pretrained(folder), theirs, Engine.open(folder), folder)


def batch_of(kind: str, name: str) -> dict[str, Tensor]:
    """Two texts of 6 and 3 tokens; with types where the family has them, and with choices where the class has."""
    pad = FIELDS[kind].get("pad_token_id", FAMILIES[kind].defaults.get("pad_token_id", 0))
    ids = torch.tensor([[5, 17, 42, 98, 33, 6], [8, 77, 6, pad, pad, pad]])
    batch = {"input_ids": ids, "attention_mask": (ids != pad).long()}
    if kind == "electra":
        batch["token_type_ids"] = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0]])
    return {key: value[None] for key, value in batch.items()} if name == "BertForMultipleChoice" else batch


def compare(found: Any, wanted: Any, real: Tensor, names: Any = None) -> float:
    worst = 0.0
    for key in names or wanted:
        got, expected = found[key], wanted[key]
        if expected.shape[:2] == real.shape:
            got, expected = got[real], expected[real]
        worst = max(worst, scaled_difference(got, expected))
    return worst


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_answers_losses_and_gradients(kind: str, name: str, place: Path, record_property: Any) -> None:
    ours, theirs, engine, _ = pair(kind, name, place)
    batch = batch_of(kind, name)
    real = batch["attention_mask"].flatten(0, -2).bool()
    labels = LABELS[name] if name != "BertForQuestionAnswering" else {}  # its loss sees no padding here (decision 1)
    ours.zero_grad(), theirs.zero_grad()
    found, wanted = ours(**batch, **labels), theirs(**batch, **labels)
    assert [*found] == [*wanted]
    worst = compare(found, wanted, real)
    assert worst <= 1e-6
    directions = torch.randn(wanted[0].shape, generator=torch.Generator().manual_seed(1))
    for outputs in (found, wanted):
        (outputs["loss"] if labels else (outputs[0] * directions)[real].sum()).backward()
    gradients = {key: parameter.grad for key, parameter in theirs.named_parameters(remove_duplicate=False)}
    for key, parameter in ours.named_parameters():
        got, expected = parameter.grad, gradients[to_family(key, FAMILIES[kind], name)]
        assert (got is None) == (expected is None), key
        if got is not None:
            assert scaled_difference(got, expected) <= 2e-5, key
    types = batch["token_type_ids"].flatten()[real.flatten()].numpy() if kind == "electra" else None
    ids = batch["input_ids"].flatten(0, -2)[real].numpy()
    rows = Features(ids, types, real.sum(1).tolist(), [0, 0], [False, False])
    for key, value in _outputs(engine, rows).items():
        expected = wanted[key].detach()
        expected = expected[real] if expected.shape[:2] == real.shape else expected.reshape(value.shape)
        worst = max(worst, scaled_difference(torch.from_numpy(value), expected))
    assert worst <= 1e-6
    record_property("outputs", worst)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_saved_folder_is_the_family_s_own(kind: str, name: str, place: Path, tmp_path: Path) -> None:
    ours, theirs, engine, folder = pair(kind, name, place)
    ours.save_pretrained(tmp_path / "model")
    engine.save_pretrained(tmp_path / "engine")
    for saved in ("model", "engine"):
        stated, before = (json.loads((each / "config.json").read_text()) for each in (tmp_path / saved, folder))
        unlike = {key for key in before if stated.get(key) != before[key]}
        assert unlike <= {"transformers_version", "problem_type"}
        again, missing = type(theirs).from_pretrained(tmp_path / saved, output_loading_info=True)
        assert not any(missing.values()), missing
        state, wanted = again.state_dict(), theirs.state_dict()
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[key], value) for key, value in wanted.items())
        assert type(door(name).from_pretrained(tmp_path / saved)).__name__ == name


@pytest.mark.parametrize("kind", FIELDS)
def test_positions(kind: str, place: Path) -> None:
    """Padding at any side, unmasked or within a text, positions of one's own, vectors instead of ids."""
    ours, theirs, engine, _ = pair(kind, "BertModel", place)
    pad, generator = ours.config.pad_token_id, torch.Generator().manual_seed(3)
    ids = torch.randint(5, 99, (3, 7), generator=generator)
    ids[0, :3], ids[1, 5:], ids[2, 3] = pad, pad, pad
    own = torch.tensor([[4, 9, 3, 4, 1, 0, 15]])
    vectors = torch.randn(3, 7, ours.config.embedding_width, generator=generator)
    mask = (ids != pad).long()
    hook = ours.encoder.layer[0].register_forward_hook(lambda *_: None)
    for batch in (
        {"input_ids": ids},
        {"input_ids": ids, "attention_mask": mask},
        {"input_ids": ids, "attention_mask": mask, "position_ids": own},
        {"input_ids": ids, "attention_mask": torch.ones_like(mask).index_fill(1, torch.tensor([0]), 0)},
        {"inputs_embeds": vectors, "attention_mask": mask},
        {"inputs_embeds": vectors},
    ):
        real = batch.get("attention_mask", torch.ones_like(mask)).bool()
        wanted = theirs(**batch)
        assert compare(ours(**batch), wanted, real, ["last_hidden_state"]) <= 1e-6
        hook.remove()
        assert compare(ours(**batch), wanted, real, ["last_hidden_state"]) <= 1e-6
        hook = ours.encoder.layer[0].register_forward_hook(lambda *_: None)
    packed = bertie.Packed.from_lists([ids[0, 3:].tolist(), ids[1, :5].tolist()])
    wanted = torch.cat([theirs(ids[:1, 3:]).last_hidden_state[0], theirs(ids[1:2, :5]).last_hidden_state[0]])
    assert scaled_difference(ours(packed).last_hidden_state, wanted) <= 1e-6  # looked into, it is a rectangle again
    hook.remove()
    assert scaled_difference(ours(packed).last_hidden_state, wanted) <= 1e-6
    rows = Features(ids.flatten().numpy(), None, [7, 7, 7], [0] * 3, [False] * 3)
    wanted = theirs(ids).last_hidden_state.flatten(0, 1)
    assert scaled_difference(torch.from_numpy(engine.hidden_states(rows)), wanted) <= 1e-6


@pytest.mark.parametrize("kind", FIELDS)
def test_the_longest_text(kind: str, place: Path) -> None:
    ours, theirs, engine, _ = pair(kind, "BertModel", place)
    most = ours.config.max_tokens
    assert most == (20 if kind in ("distilbert", "electra") else 18)
    ids = torch.full((1, most), 7)
    assert scaled_difference(ours(ids).last_hidden_state, theirs(ids).last_hidden_state) <= 1e-6
    long = np.full(most + 1, 7)
    with pytest.raises(bertie.InputError, match=f"max_length={most}\\)"):
        ours(torch.from_numpy(long)[None])
    with pytest.raises(bertie.InputError, match=f"takes at most {most} "):
        engine.hidden_states(Features(long, None, [most + 1], [0], [False]))


@pytest.mark.parametrize("kind", FIELDS)
def test_names_are_reversible(kind: str) -> None:
    from bertie.checkpoints.parameters import parameters_of

    config = bertie.AutoConfig.for_model(kind)
    for name in CLASSES:
        for ours in parameters_of(name, config).shapes:
            theirs = to_family(ours, config.family, name)
            back = from_family(theirs, config.family, name)
            assert back.removeprefix("bert.") == ours.removeprefix("bert.")


@pytest.mark.parametrize("kind", FIELDS)
def test_another_head_s_weights_are_not_taken_for_its_own(kind: str, place: Path) -> None:
    folder = pair(kind, "BertForTokenClassification", place).folder
    _, info = bertie.AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    other = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    # of one layer, as token classification has it, a classifier fits DistilBERT's
    mine = {"classifier.weight", "classifier.bias"} if kind != "distilbert" else set()
    assert info["missing_keys"] == other | mine


def test_what_only_bert_has_is_refused(place: Path) -> None:
    folder = pair("distilbert", "BertModel", place).folder
    for name in ("AutoModelForPreTraining", "AutoModelForNextSentencePrediction", "AutoModelForCausalLM"):
        with pytest.raises(
            bertie.ConfigError, match="is for BERT alone, and models of DistilBert are read as BertModel"
        ):
            getattr(bertie, name).from_pretrained(folder)
    with pytest.raises(bertie.ConfigError, match="BertForNextSentencePrediction is for BERT alone"):
        Engine.open(folder, "BertForNextSentencePrediction")
    with pytest.raises(bertie.InputError, match=r"token_type_ids\[0, 1\] is 1"):
        bertie.AutoModel.from_pretrained(folder)(torch.tensor([[5, 6]]), token_type_ids=torch.tensor([[0, 1]]))
    for kind in ("albert", "deberta-v2", "modernbert", "nomic_bert", "t5", "xlm-roberta-xl"):
        with pytest.raises(
            bertie.ConfigError, match=f"model_type is '{kind}'; bertie runs models of type bert, robert"
        ):
            bertie.AutoConfig.for_model(kind)


@pytest.mark.parametrize("kind", FIELDS)
def test_dropout_acts_where_the_family_has_it(kind: str) -> None:
    config = bertie.AutoConfig.for_model(kind, hidden_size=16, num_attention_heads=2, intermediate_size=8)
    model, calls = bertie.AutoModelForSequenceClassification.from_config(config), []
    model.dropout.register_forward_hook(lambda *_: calls.append(1))
    model.train()(torch.tensor([[5, 6, 7]]))
    assert len(calls) == (1 if kind == "distilbert" else 2)


def test_a_summary_that_is_not_computed_is_refused(place: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(pair("electra", "BertForMultipleChoice", place).folder, tmp_path / "electra")
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, "summary_type": "mean"}))
    for opened in (bertie.AutoModelForMultipleChoice.from_pretrained, Engine.open):
        with pytest.raises(
            bertie.ConfigError, match="summary_type is 'mean', but ElectraForMultipleChoice supports only"
        ):
            opened(folder)
    bertie.AutoModel.from_pretrained(folder)


def test_fields_of_other_families_and_strange_widths() -> None:
    for fields, says in (
        ({"model_type": "roberta", "is_decoder": True}, "only a BERT can be a decoder"),
        ({"model_type": "distilbert"}, "type_vocab_size is 2, which no model of type 'distilbert' has"),
        ({"type_vocab_size": 0}, "type_vocab_size is 0"),
        ({"embedding_size": 128}, "only ELECTRA projects"),
        ({"model_type": "camembert", "pad_token_id": None}, "count from the one after it"),
        ({"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 2}, "first token has position 2"),
    ):
        with pytest.raises(bertie.ConfigError, match=says):
            bertie.BertConfig(**fields)
    config = bertie.BertConfig.from_dict({"model_type": "bert", "hidden_size": 24, "embedding_size": 8})
    assert config.embedding_width == 24  # as in the reference, it isn't BERT's
    with pytest.raises(bertie.ConfigError, match="cannot become 'roberta'"):
        config.model_type = "roberta"
    electra = bertie.BertConfig(model_type="electra", hidden_size=24)
    assert bertie.BertConfig.from_dict(json.loads(electra.to_json_string())) == electra


def test_buckets_of_distances() -> None:
    """As far as any text goes; the reference takes logarithms in single precision, and so where ranges begin."""
    reference = transformers.models.mpnet.modeling_mpnet.MPNetEncoder.relative_position_bucket
    wanted = reference(torch.arange(700)[None] - torch.arange(700)[:, None])
    assert np.array_equal(distance_buckets(700, 700), wanted.numpy())


def test_mpnet_s_bias_is_one_parameter_of_all_blocks_and_copies(place: Path) -> None:
    ours = pair("mpnet", "BertModel", place).ours
    copied = copy.deepcopy(ours)
    with torch.no_grad():
        copied.encoder.relative_attention_bias.weight.add_(torch.randn(32, 4))
    ids = torch.tensor([[5, 6, 7, 8]])
    assert not torch.allclose(ours(ids).last_hidden_state, copied(ids).last_hidden_state, atol=1e-3)
    again = Engine.of(copied).hidden_states(Features(ids[0].numpy(), None, [4], [0], [False]))
    assert scaled_difference(torch.from_numpy(again), copied(ids).last_hidden_state[0]) <= 1e-6
