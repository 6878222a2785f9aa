"""The engine's outputs equal transformers', for engines made from all kinds of checkpoints, and from models."""

import copy
import csv
import itertools
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import OUTPUT_TOLERANCE, TINY, pair
from safetensors.torch import load_file, save_file
from torch import Tensor

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.engine import Engine
from bertie.engine.engine import ARCHITECTURES
from bertie.engine.linear import Int8Weight
from bertie.errors import CheckpointError, ConfigError, InputError, InputTypeError
from bertie.kernels import library
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.tasks.features import Features

LENGTHS = [7, 1, 7, 12, 3]
DECODER = "cls.predictions.decoder.weight"
WORDS = np.array([0, 4, 9, 20, 29])


@pytest.fixture
def rows() -> Features:
    return rows_of(LENGTHS)


def rows_of(lengths: list[int]) -> Features:
    chance, total = np.random.default_rng(0), sum(lengths)
    ids, types = chance.integers(0, 99, total), chance.integers(0, 2, total)
    return Features(ids, types, lengths, [0] * len(lengths), [False] * len(lengths))


def packed_of(rows: Features) -> bertie.Packed:
    return bertie.Packed.from_flat(rows.ids, rows.lengths, rows.types)


def rectangle(rows: Features) -> dict[str, Tensor]:
    packed = packed_of(rows)
    given = {
        "input_ids": packed.input_ids,
        "token_type_ids": packed.token_type_ids,
        "attention_mask": torch.ones(len(rows.ids)),
    }
    return {name: packed.pad(values).long() for name, values in given.items() if values is not None}


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def rewrite(folder: Path, changes: dict[str, Tensor | None]) -> None:
    """Replace tensors in a folder's file; None removes one."""
    path = folder / "model.safetensors"
    tensors = load_file(path) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path, {"format": "pt"})


def assert_close(found: Any, wanted: Tensor) -> None:
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    largest = max(1.0, float(wanted.abs().max()))
    assert float(np.abs(found - wanted.detach().numpy()).max()) <= OUTPUT_TOLERANCE * largest


def hidden_states(reference: Any, rows: Features) -> Tensor:
    """Return transformers' hidden states for the tokens of all rows ``[T, D]``."""
    base = getattr(reference, "bert", reference)
    with torch.inference_mode():
        states = base(**rectangle(rows)).last_hidden_state
    return torch.cat([states[row, :length] for row, length in enumerate(rows.lengths)])


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "numpy"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_head_equals_the_reference(
    name: str, compiled: bool, rows: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(library, "best", lambda: None)
    ours, reference = pair(name, {"num_labels": 2 if "Question" in name else 3})
    engine = Engine.open(saved(ours, tmp_path))
    assert engine.architecture == name
    states = hidden_states(reference, rows)
    assert_close(engine.hidden_states(rows), states)
    assert_close(engine.first_tokens(rows), states[np.cumsum([0, *LENGTHS[:-1]])])
    batch = rectangle(rows)
    if name == "BertForMultipleChoice":
        batch = {key: values[:, None] for key, values in batch.items()}
    with torch.inference_mode():
        output = reference(**batch)
    real = rectangle(rows)["attention_mask"].bool()
    if name in ("BertForMaskedLM", "BertForPreTraining"):
        logits = output.logits if name == "BertForMaskedLM" else output.prediction_logits
        assert_close(engine.masked_lm(rows, WORDS), logits[real][WORDS])
    if name in ("BertForNextSentencePrediction", "BertForPreTraining"):
        logits = output.logits if name == "BertForNextSentencePrediction" else output.seq_relationship_logits
        assert_close(engine.next_sentence(rows), logits)
    if name in ("BertForSequenceClassification", "BertForMultipleChoice"):
        assert_close(engine.logits(rows), output.logits)
    if name == "BertForTokenClassification":
        assert_close(engine.logits(rows), output.logits[real])
    if name == "BertForQuestionAnswering":
        assert_close(engine.logits(rows), torch.stack([output.start_logits, output.end_logits], dim=-1)[real])


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "numpy"])
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_every_activation_equals_the_reference(
    activation: str, compiled: bool, rows: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(library, "best", lambda: None)
    ours, reference = pair("BertForMaskedLM", {"hidden_act": activation})
    engine = Engine.of(ours)
    assert_close(engine.hidden_states(rows), hidden_states(reference, rows))
    with torch.inference_mode():
        words = reference(**rectangle(rows)).logits
    assert_close(engine.masked_lm(rows, WORDS), words[rectangle(rows)["attention_mask"].bool()][WORDS])


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_equal_the_models(kind: str, rows: Features, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = bertie.BertModel(bertie.BertConfig(**{**TINY, "position_embedding_type": kind})).eval()
    engine = Engine.open(saved(ours, tmp_path))
    with torch.inference_mode():
        wanted = ours(packed_of(rows)).last_hidden_state
    assert_close(engine.hidden_states(rows), wanted)
    assert_close(engine.first_tokens(rows), wanted[np.cumsum([0, *LENGTHS[:-1]])])


@pytest.mark.parametrize("width", [24, 36, 40])
def test_odd_widths(width: int, rows: Features) -> None:
    ours, reference = pair("BertModel", {"hidden_size": width, "intermediate_size": 50})
    assert_close(Engine.of(ours).hidden_states(rows), hidden_states(reference, rows))


def test_a_quantized_model_answers_as_its_modules_do(mini: Path, tmp_path: Path) -> None:
    tokenizer = bertie.AutoTokenizer.from_pretrained(mini)
    texts = ["Paris is the [MASK] of France.", "A longer text about rivers, and the towns that lie beside them."] * 4
    model = bertie.quantize(bertie.BertForMaskedLM.from_pretrained(mini), "int8", texts=texts, tokenizer=tokenizer)
    engine = Engine.open(saved(model, tmp_path))
    rows = Features.from_rows(tokenizer.rows(texts))
    with torch.inference_mode():
        wanted = model.bert(packed_of(rows)).last_hidden_state.numpy()
    found = engine.hidden_states(rows)
    cosines = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() > 0.999  # on some processors, one of the two multiplies floats and the other integers


def test_int8_vectors_of_texts_that_did_not_calibrate(minilm: Path, shared: Path) -> None:
    tokenizer = bertie.AutoTokenizer.from_pretrained(minilm)
    model = bertie.BertModel.from_pretrained(minilm)
    small = bertie.quantize(model, texts=book_texts(120), tokenizer=tokenizer)
    with (shared / "data" / "emotions" / "dev.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][::10]  # the hardest kind: benchmarks/int8_quality.py
    rows = Features.from_rows(tokenizer.rows(texts))
    found, wanted = (Engine.of(each).hidden_states(rows) for each in (small, model))
    for of_text in (lambda tokens: tokens.mean(axis=0), lambda tokens: tokens[0]):
        pairs = [map(of_text, parts) for parts in zip(rows.by_row(found), rows.by_row(wanted), strict=True)]
        cosines = [one @ other / np.linalg.norm(one) / np.linalg.norm(other) for one, other in pairs]
        assert min(cosines) >= 0.995


def test_half_precision_is_widened(mini: Path) -> None:
    rows = rows_of([5, 9])
    model = bertie.BertModel.from_pretrained(mini)  # float16 in the file
    with torch.inference_mode():
        wanted = model(packed_of(rows)).last_hidden_state
    assert_close(Engine.open(mini, "BertModel").hidden_states(rows), wanted)


def test_a_row_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    ours, _ = pair("BertForSequenceClassification", {"hidden_size": 48, "num_attention_heads": 4})
    engine = Engine.of(ours)
    rows = rows_of([9, 30, 4, 17, 2, 40, 9, 31])
    together = engine.with_threads(4).logits(rows)
    for row in range(len(rows.lengths)):
        assert np.array_equal(engine.with_threads(1).logits(rows.select([row]))[0], together[row])


def test_threads_share_one_engine() -> None:
    ours, _ = pair("BertForTokenClassification")
    engine = Engine.of(ours).with_threads(1)
    batches = [rows_of([length, 3]) for length in range(1, 13)]
    wanted = [engine.logits(batch) for batch in batches]
    found: list[Any] = [None] * len(batches)

    def compute(place: int) -> None:
        found[place] = engine.logits(batches[place])

    threads = [threading.Thread(target=compute, args=(place,)) for place in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_a_forked_process_computes(tmp_path: Path) -> None:
    ours, _ = pair("BertModel")
    code = """
import os, sys
import numpy as np
from bertie.engine import Engine
from bertie.tasks.features import Features
rows = Features(np.arange(40) % 99, None, [30, 10], [0] * 2, [False] * 2)
engine = Engine.open(sys.argv[1]).with_threads(2)
wanted = engine.hidden_states(rows)
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(engine.hidden_states(rows), wanted) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-c", code, str(saved(ours, tmp_path))], check=True, timeout=60)


def test_a_pickle_holds_only_the_folder(rows: Features, tmp_path: Path) -> None:
    ours, _ = pair("BertForTokenClassification")
    engine = Engine.open(saved(ours, tmp_path))
    wanted = engine.logits(rows)
    assert len(pickle.dumps(engine)) < 2_000
    assert np.array_equal(pickle.loads(pickle.dumps(engine)).logits(rows), wanted)  # noqa: S301
    assert copy.deepcopy(engine) is engine
    with pytest.raises(InputTypeError, match="made from a model cannot be pickled"):
        pickle.dumps(Engine.of(ours))


def test_a_relative_folder_is_found_from_another(
    rows: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(pair("BertForTokenClassification")[0], tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    engine = Engine.open("model")
    pickled = pickle.dumps(engine)
    monkeypatch.chdir("/")
    assert np.array_equal(pickle.loads(pickled).logits(rows), engine.logits(rows))  # noqa: S301


def test_later_changes_of_the_model_have_no_effect(rows: Features) -> None:
    torch.manual_seed(0)
    model = bertie.BertModel(bertie.BertConfig(**TINY)).eval()
    engine = Engine.of(model)
    before = engine.hidden_states(rows)
    for parameter in model.parameters():
        parameter.data.zero_()
    model.config.layer_norm_eps = 1.0
    assert np.array_equal(engine.hidden_states(rows), before)


def test_an_untied_decoder_is_its_own(rows: Features, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = bertie.BertForMaskedLM(bertie.BertConfig(**TINY, tie_word_embeddings=False)).eval()
    with torch.inference_mode():
        wanted = model(packed_of(rows)).logits[WORDS]
    assert_close(Engine.open(saved(model, tmp_path)).masked_lm(rows, WORDS), wanted)
    assert_close(Engine.of(model).masked_lm(rows, WORDS), wanted)


def test_a_decoder_stored_with_other_weights_is_not_tied(
    rows: Features, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    model = bertie.BertForMaskedLM(bertie.BertConfig(**TINY, tie_word_embeddings=False)).eval()
    model.config.tie_word_embeddings = True
    model.save_pretrained(tmp_path)
    with torch.inference_mode():
        wanted = model(packed_of(rows)).logits[WORDS]
    with caplog.at_level("WARNING", "bertie"):
        assert_close(Engine.open(tmp_path).masked_lm(rows, WORDS), wanted)
    assert "they are not tied" in caplog.text


@pytest.mark.parametrize("stored", ["another shape", "another type"])
def test_a_decoder_of_another_shape_is_ignored_and_one_of_another_dtype_is_not(
    stored: str, rows: Features, tmp_path: Path
) -> None:
    ours, _ = pair("BertForMaskedLM")
    wanted = Engine.open(saved(ours, tmp_path)).masked_lm(rows, WORDS)
    words = load_file(tmp_path / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    rewrite(tmp_path, {DECODER: words[:50] + 1 if stored == "another shape" else words.half() + 1})
    found = Engine.open(tmp_path).masked_lm(rows, WORDS)
    assert np.array_equal(found, wanted) == (stored == "another shape")
    assert_close(found, bertie.BertForMaskedLM.from_pretrained(tmp_path)(packed_of(rows)).logits[WORDS].detach())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_buffers_of_older_versions_are_ignored(name: str, rows: Features, tmp_path: Path) -> None:
    ours, _ = pair(name)
    folder = saved(ours, tmp_path)
    wanted = Engine.open(folder, name).hidden_states(rows)
    prefix = "" if name == "BertModel" else "bert."
    rewrite(folder, {f"{prefix}embeddings.position_ids": torch.arange(40)[None]})
    assert np.array_equal(Engine.open(folder, name).hidden_states(rows), wanted)


def test_a_bare_models_pooler_is_read_lazily(rows: Features, tmp_path: Path) -> None:
    ours, reference = pair("BertModel", {})
    rewrite(saved(ours, tmp_path), {"pooler.dense.weight": torch.full((32, 32), torch.nan)})
    engine = Engine.open(tmp_path)
    assert_close(engine.hidden_states(rows), hidden_states(reference, rows))
    with pytest.raises(CheckpointError, match=r"'pooler\.dense\.weight' has NaN or infinite weights"):
        engine.pooled(rows)
    classifier = saved(pair("BertForSequenceClassification", {})[0], tmp_path / "classifier")
    rewrite(classifier, {"bert.pooler.dense.weight": torch.full((32, 32), torch.nan)})
    with pytest.raises(CheckpointError, match="has NaN or infinite weights"):  # every output needs it
        Engine.open(classifier)


def test_an_incomplete_pooler_is_ignored(rows: Features, tmp_path: Path) -> None:
    ours, _ = pair("BertModel")
    rewrite(saved(ours, tmp_path), {"pooler.dense.bias": None})
    engine = Engine.open(tmp_path)
    assert_close(engine.hidden_states(rows), ours(packed_of(rows)).last_hidden_state.detach())
    with pytest.raises(InputTypeError, match="BertModel has no pooler"):
        engine.pooled(rows)


def test_a_pooler_that_the_class_lacks_is_not_read(rows: Features, tmp_path: Path) -> None:
    ours, _ = pair("BertForTokenClassification")
    rewrite(saved(ours, tmp_path), {"bert.pooler.dense.weight": torch.full((3, 3), torch.nan)})
    engine = Engine.open(tmp_path)
    assert_close(engine.logits(rows), ours(packed_of(rows)).logits.detach())
    with pytest.raises(InputTypeError, match="BertForTokenClassification has no pooler"):
        engine.pooled(rows)


def test_a_given_config_is_not_changed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bertie.BertForTokenClassification(bertie.BertConfig(**TINY, num_labels=5)).save_pretrained(tmp_path)
    config = bertie.BertConfig(**TINY)
    assert Engine.open(tmp_path, "BertForTokenClassification", config=config).config.num_labels == 5
    assert config.num_labels == 2


def test_unsupported_models_are_refused(rows: Features, tmp_path: Path) -> None:
    ours, _ = pair("BertModel")
    folder = saved(ours, tmp_path)
    with pytest.raises(CheckpointError, match=r"lacks .*classifier.* of BertForSequenceClassification"):
        Engine.open(folder, "BertForSequenceClassification")
    with pytest.raises(ConfigError, match="it is a decoder"):
        Engine.of(pair("BertModel", {"is_decoder": True})[0])
    with pytest.raises(InputTypeError, match="model is a Linear"):
        Engine.of(torch.nn.Linear(2, 2))
    with pytest.raises(InputTypeError, match="BertModel has no masked-LM head"):
        Engine.open(folder).masked_lm(rows, WORDS)
    with pytest.raises(InputError, match="threads is 0"):
        Engine.open(folder).with_threads(0)


def test_adapters_must_be_merged_first() -> None:
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        pair("BertForSequenceClassification")[0], peft.LoraConfig(target_modules=["query"], task_type="SEQ_CLS")
    )
    with pytest.raises(InputTypeError, match="merge adapters into the weights first"):
        Engine.of(adapted.get_base_model())


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([1, 99], [2], "the id 99, but vocab_size is 99"),
        ([1, -1], [2], "the id -1"),
        ([1] * 41, [41], "has 41 tokens, but the model takes at most 40"),
        ([1, 2], [2, 0], "must be 1 or more"),
        ([1, 2], [1], "add up to the 2 ids"),
    ],
)
def test_invalid_rows_are_refused(ids: list[int], lengths: list[int], message: str) -> None:
    engine = Engine.of(pair("BertModel")[0])
    rows = Features(np.array(ids), None, lengths, [0] * len(lengths), [False] * len(lengths))
    with pytest.raises(InputError, match=message):
        engine.hidden_states(rows)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    model = copy.deepcopy(pair("BertModel")[0])
    with torch.no_grad():
        model.encoder.layer[1].output.dense.weight[3, 3] = torch.nan
    folder = saved(model, tmp_path)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        Engine.open(folder)
    rows = rows_of([3])
    states = list(Engine.open(folder, allow_nan=True).layers(rows))
    assert [bool(np.isfinite(each).all()) for each in states] == [True, True, False]


def test_layers_are_those_of_the_model(rows: Features) -> None:
    ours, _ = pair("BertModel")
    with torch.inference_mode():
        wanted = ours(packed_of(rows), output_hidden_states=True).hidden_states
    found = list(Engine.of(ours).layers(rows))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("positions", ["absolute", "relative_key_query"])
def test_attention_weights_are_those_of_the_model(positions: str, rows: Features) -> None:
    torch.manual_seed(0)
    ours = bertie.BertModel(bertie.BertConfig(**{**TINY, "position_embedding_type": positions})).eval()
    with torch.inference_mode():
        wanted = ours(**rectangle(rows), output_attentions=True).attentions
    for layer, weights in enumerate(wanted):
        found = Engine.of(ours).attention_weights(rows, layer)
        for one, other, length in zip(found, weights, LENGTHS, strict=True):
            assert_close(one, other[:, :length, :length])


def test_layers_that_quantize_their_inputs_alike_are_computed_together() -> None:
    weight, scale = np.ones((2, 3), np.int8), np.ones(2, np.float32)
    kinds = [(None, 8), (None, 16), (np.ones(3, np.float32), 8), (np.full(3, 2, np.float32), 8)]
    layers = [Int8Weight(weight, scale, *kind) for kind in kinds]
    for one, other in itertools.product(layers, layers):
        assert one.quantizes_like(other) == (one is other)
    assert layers[2].quantizes_like(layers[2]._replace(input_scale=np.ones(3, np.float32)))


def test_explain(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.of(pair("BertModel")[0])
    best = library.best()
    assert best is None or best.name in engine.explain()
    monkeypatch.setattr(library, "best", lambda: None)
    monkeypatch.setattr(library, "why_no_kernels", lambda: "there is no compiler")
    assert "NumPy's products, because there is no compiler" in Engine.of(pair("BertModel")[0]).explain()
