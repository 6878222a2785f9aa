"""finetune("seq2seq") and ``bertie finetune seq2seq``: an encoder-decoder of two BERTs, and errors."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_run import same_weights

import bertie
from bertie import progress
from bertie.cli import main
from bertie.errors import ConfigError, InputError, InputTypeError
from bertie.finetuning.warm_start import load_decoder

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "ada",
    "alan",
    "grace",
    "went",
    "to",
    "rome",
    "paris",
    "in",
    "rain",
]
SETTINGS = bertie.Settings(epochs=15, learning_rate=1e-2, batch_size=8, evaluate_every=30)
SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 16}
SIZES |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def pairs(count: int, seed: int = 0) -> list[dict[str, str]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        who, where = random.choice(["ada", "alan", "grace"]).item(), random.choice(["rome", "paris"]).item()
        rain = " in rain" * int(random.integers(3))
        found.append({"document": f"{who} went to {where}{rain}", "summary": f"{who} {where}"})
    return found


def bert(folder: Path, width: int = 32, words: list[str] = WORDS) -> Path:
    torch.manual_seed(width)
    config = bertie.BertConfig(vocab_size=len(words), hidden_size=width, initializer_range=0.1, **SIZES)
    bertie.BertForMaskedLM(config).save_pretrained(folder)
    bertie.BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("narrow"), 16)


def finetuned(model: Any, out: Path | None = None, train: Any = None, **more: Any) -> Any:
    train = pairs(80) if train is None else train
    given = {"settings": SETTINGS, "show_progress": False, **more}
    return bertie.finetune("seq2seq", train, model=model, out=out, **given)


@pytest.fixture(scope="module")
def trained(start: Path, narrow: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return finetuned((start, narrow), tmp_path_factory.mktemp("run") / "out", test=pairs(20, 1))


def test_a_model_learns_to_write(trained: Any, start: Path, narrow: Path) -> None:
    assert set(trained.metrics) == {"rouge1", "rouge2", "rougeL", "bleu", "chrf"}
    assert trained.metrics["rougeL"] > 0.8
    low, high = trained.intervals["chrf"]
    assert low <= trained.metrics["chrf"] <= high
    first, *_, last = [record["metrics"] for record in trained.history.records if "metrics" in record]
    assert last["loss"] < first["loss"] / 2
    assert trained.pipeline("alan went to rome in rain") == [{"generated_text": "alan rome"}]
    report = (trained.folder / "report.md").read_text()
    assert "target = summary; source = document; the target is to be generated from the source" in report
    assert json.loads((trained.folder / "run.json").read_text())["model"] == [str(start), str(narrow)]
    assert (trained.folder / "curves.png").is_file()


def test_the_folder_opens_in_transformers(trained: Any) -> None:
    theirs = transformers.EncoderDecoderModel.from_pretrained(trained.folder).eval()
    ours = bertie.EncoderDecoderModel.from_pretrained(trained.folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained.folder)
    batch = tokenizer([row["document"] for row in pairs(6, 2)], padding=True, return_tensors="pt")
    given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    assert torch.equal(ours.generate(**given), theirs.generate(**given))
    assert theirs.generation_config.max_length == 4
    assert (theirs.config.decoder.is_decoder, theirs.config.decoder.add_cross_attention) == (True, True)


def test_evaluate_scores_what_the_run_scored(trained: Any, tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    found = bertie.evaluate("seq2seq", pairs(20, 1), model=trained.folder, predictions=told)
    assert found.metrics == pytest.approx(trained.metrics)
    written = [json.loads(line)["prediction"] for line in told.read_text().splitlines()]
    summaries = bertie.pipeline("summarization", trained.folder)([row["document"] for row in pairs(20, 1)])
    assert written == [each["summary_text"] for each in summaries]  # by the engine
    beams = bertie.evaluate("seq2seq", pairs(20, 1), model=trained.folder, generation={"num_beams": 2})
    assert beams.rows == 20


def test_cross_attention_begins_as_self_attention_where_it_is_new(start: Path, tmp_path: Path) -> None:
    decoder = load_decoder(start, {})
    block = decoder.bert.encoder.layer[0]
    own = block.attention.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in block.crossattention.state_dict().items())
    block.crossattention.self.query.weight.data += 1
    decoder.save_pretrained(tmp_path)
    again = load_decoder(tmp_path, {}).bert.encoder.layer[0].crossattention
    assert torch.equal(again.self.query.weight, block.crossattention.self.query.weight)


def test_int8_halves_are_dequantized(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_said", set())
    settings = bertie.Settings(steps=1, batch_size=4)
    finetuned("bertie-mini-uncased", train=pairs(8), dev=0, test=0, settings=settings)
    assert (
        caplog.text.count(
            "The weights of 'bertie-mini-uncased' are int8; training starts from their dequantised float32"
        )
        == 1
    )


class Interrupted(Exception):
    """Ends a run in the middle."""


def test_an_interrupted_run_is_resumed(start: Path, tmp_path: Path) -> None:
    settings = bertie.Settings(steps=6, learning_rate=1e-2, batch_size=8, save_every=2, evaluate_every=3)
    options = {"settings": settings, "test": 0, "options": {"label_smoothing": 0.1}}
    finetuned(start, tmp_path / "whole", **options)

    def stop(event: Any) -> None:
        if event.record.get("step", 0) >= 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        finetuned(start, tmp_path / "half", callbacks=[stop], **options)
    with pytest.raises(InputError, match="the weights to start from"):
        finetuned((start, bert(tmp_path / "other", 16)), tmp_path / "half", resume=True, **options)
    finetuned(start, tmp_path / "half", resume=True, **options)
    same_weights(tmp_path / "whole", tmp_path / "half")


def test_a_trained_encoder_decoder_is_trained_further(trained: Any, tmp_path: Path) -> None:
    again = finetuned(trained.folder, test=pairs(20, 1), epochs=1, settings=None, options={"max_target_length": 3})
    assert again.model.generation_config.max_length == 3
    adapted = finetuned(trained.folder, test=0, dev=0, epochs=1, settings=None, lora=2)
    adapted.model.save_pretrained(tmp_path)
    ids = torch.tensor([[2, 6, 8, 9, 10, 3]])
    theirs = transformers.EncoderDecoderModel.from_pretrained(tmp_path).eval().generate(ids)
    assert torch.equal(adapted.model.generate(ids), theirs)


def test_the_command(start: Path, narrow: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    table, out = tmp_path / "pairs.jsonl", tmp_path / "run"
    table.write_text("".join(json.dumps(row) + "\n" for row in pairs(40)))

    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bertie", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), *capsys.readouterr()

    given = ("finetune", "seq2seq", "--train", table, "--epochs", 1, "--label-smoothing", 0.1)
    code, told, err = run(
        *given, "--encoder", start, "--decoder", narrow, "--out", out, "--option", "max_target_length=4"
    )
    assert code == 0, err
    assert set(json.loads(told)["metrics"]) == {"rouge1", "rouge2", "rougeL", "bleu", "chrf"}
    model = bertie.EncoderDecoderModel.from_pretrained(out)
    assert (model.encoder.config.hidden_size, model.decoder.config.hidden_size) == (32, 16)
    code, told, err = run("evaluate", "seq2seq", "--model", out, "--data", table)
    assert (code, json.loads(told)["rows"]) == (0, 40)
    code, told, err = run(*given, "--encoder", start, "--dry-run")
    assert json.loads(told)["rows"][0]["label"] in (
        ["ada rome"],
        ["alan paris"],
        *([row["summary"]] for row in pairs(40)),
    )
    for wrong, says in (
        (("--model", start, "--encoder", start), "--model stands for both --encoder and --decoder"),
        (("--encoder", start, "--windows"), "This task has no option 'windows'"),
        (("--encoder", start, "--set", "epoch=1"), "There is no setting 'epoch'"),
    ):
        code, told, err = run(*given, "--out", tmp_path / "none", *wrong)
        assert (code, says in err, told) == (2, True, ""), err


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"lora": 2}, InputError, "lora adapts trained weights, but the cross-attention between two BERTs"),
        (
            {"metric": "accuracy"},
            InputError,
            "text2text-generation has no such metric; it has rouge1, rouge2, rougeL, bleu, chrf, loss",
        ),
        ({"options": {"max_target_length": 40}}, InputError, "max_target_length is 40; allowed are 1 to 16"),
        ({"options": {"generation": {"beams": 4}}}, InputTypeError, "GenerationConfig has no field 'beams'"),
        ({"options": {"generation": {"num_beams": 0}}}, ConfigError, "num_beams is 0"),
        ({"options": {"label_smoothing": 2}}, InputError, "label_smoothing is 2; allowed"),
        ({"class_weights": "auto"}, InputError, "class_weights needs a classification with classes"),
        (
            {"columns": {"text": "document"}},
            InputError,
            "text2text-generation has no column for 'text'; it has 'target'",
        ),
    ],
)
def test_invalid_arguments(start: Path, more: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        finetuned(start, **more)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"document": "ada went"}] * 3, "No column is known to hold the target: the columns are 'document'"),
        ([{"document": "ada", "summary": ""}] * 3, "The target in row 0 of train is empty"),
        ([{"document": "ada", "summary": 3}] * 3, "The target in row 0 of train is 3, not a text"),
        ([{"document": "", "summary": "ada"}] * 3, "The source in row 0 of train is empty"),
        (pairs(1), "train has one row; training needs 2 or more"),
    ],
)
def test_rows_that_cannot_be_used(start: Path, rows: list[Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        finetuned(start, train=rows)


def test_mismatched_models(start: Path, tmp_path: Path) -> None:
    other = bert(tmp_path / "other", 16, [*WORDS, "snow"])
    with pytest.raises(InputError, match=r"different vocabularies \(14 and 15 entries; 1 are not in both"):
        finetuned((start, other))
    with pytest.raises(InputTypeError, match=r"needs a bertie.EncoderDecoderModel, but the model is a BertM"):
        finetuned(bertie.BertModel.from_pretrained(start))
    with pytest.raises(InputError, match="two folders or names; combine models with bertie.EncoderDecoderModel first"):
        finetuned((bertie.BertModel.from_pretrained(start), start))
    rows = [{"text": f"ada went {number}", "label": number % 2} for number in range(20)]
    with pytest.raises(InputError, match="text-classification has no separate encoder and decoder; give one model"):
        bertie.finetune("classification", rows, model=(start, start))
