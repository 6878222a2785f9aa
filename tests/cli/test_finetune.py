"""``bertie finetune`` and ``bertie evaluate``: from a file to a model and its metrics, and errors in one sentence."""

import csv
import io
import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie.training.signals import Signals

Run = Callable[..., Any]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a"]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    bertie.BertModel(bertie.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **shape)).save_pretrained(
        tmp_path / "start"
    )
    bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    lines = [f"{'a ' * (number % 11)}{'good' if number % 2 else 'bad'} film,{number % 2}" for number in range(80)]
    path.write_text("Body,Kind\n" + "\n".join(lines) + "\n")
    return path


def test_several_files_of_different_formats(run: Run, start: Path, tmp_path: Path) -> None:
    for part in range(2):
        rows = [f"{'été ' * (number % 5)}{'good' if number % 2 else 'bad'} film|{number % 2}" for number in range(40)]
        (tmp_path / f"part-{part}.csv").write_text("text|label\n" + "\n".join(rows) + "\n", "cp1252")
    first, second = tmp_path / "part-0.csv", tmp_path / "part-1.csv"
    said = ("--delimiter", "|", "--encoding", "cp1252", "--quoting", "none")
    out = tmp_path / "run"
    given = ("finetune", "sequence-classification", "--model", start, "--out", out, "--epochs", 1, "--dev", 0)
    ran = run(*given, "--train", first, "--train", second, *said)
    assert ran.code == 0, ran.err
    plan = json.loads((out / "run.json").read_text())
    assert plan["train"] == [str(first), str(second)]
    assert plan["form"] == {"delimiter": "|", "encoding": "cp1252", "quoting": "none"}
    assert f"2 files are read as one: {first}, {second}." in (out / "report.md").read_text()
    ran = run("evaluate", "sequence-classification", "--model", out, "--data", tmp_path / "part-*.csv")
    assert ran.records[0]["rows"] == 80
    assert f"{second} is not UTF-8; it is read as cp1252 (--encoding names another)." in ran.records[0]["notes"]
    assert f"The columns of {first} are separated by bars (--delimiter names others)." in ran.records[0]["notes"]


def test_config_repeats_a_run_with_changes(run: Run, start: Path, table: Path, tmp_path: Path) -> None:
    columns = ("--column", "text=Body", "--column", "label=Kind")
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    said = ("--epochs", 1, "--test", 0, "--max-length", 16, "--seed", 3, "--class-weights", "auto", "--keep", 1)
    ran = run("finetune", "classify", "--train", table, "--model", start, "--out", first, *columns, *said)
    assert ran.code == 0, ran.err
    config = first / "run.json"
    assert run("finetune", "--config", config, "--out", again).code == 0
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    assert (again / "epoch-1").is_dir()
    ran = run("finetune", "--config", first, "--out", other, "--lr", "1e-3", "--test", 0.25, "--overlap", 2)
    assert ran.code == 0, ran.err
    before, now = (json.loads((folder / "run.json").read_text()) for folder in (first, other))
    assert now["options"] == {"max_length": 16, "overlap": 2}
    assert now["test"] == 0.25
    differ = {name for name, value in now["settings"].items() if value != before["settings"][name]}
    assert differ == {"learning_rate"}
    ran = run("finetune", "--config", config, "--dry-run")
    assert ran.records[0]["counts"]["test"] == 0
    assert "The task is missing" in run("finetune", "--out", other, "--train", table).err
    assert "--train is missing" in run("finetune", "classify", "--out", other).err


def test_train_evaluate_classify(run: Run, start: Path, table: Path, tmp_path: Path) -> None:
    columns = ("--column", "text=Body", "--column", "label=Kind")
    settings = ("--epochs", 8, "--set", "lr=5e-3", "--batch-size", 8, "--set", "warmup=0.2", "--class-weights", "auto")
    out = tmp_path / "run"
    ran = run(
        "finetune", "sequence-classification", "--train", table, "--model", start, "--out", out, *columns, *settings
    )
    assert (ran.code, "report.html" in ran.err) == (0, True)
    (record,) = ran.records
    assert record["model"] == str(out)
    assert record["metrics"]["accuracy"] == 1.0
    # the table of bertie evaluate, and what to type next
    assert ran.err.index("  accuracy               1.0000") < ran.err.index("  label  ") < ran.err.index("report.html")
    *_, answer, share = ran.err.splitlines()
    assert answer == f'  bertie classify "A text." --model {out}'
    assert run(*shlex.split(answer)[1:]).code == 0
    kept = ("report.*", "predictions.jsonl", "run.json", "state/*")
    assert share == f"  hf upload YOUR-NAME/run {out} " + " ".join(f"--exclude '{one}'" for one in kept)
    plan = json.loads((out / "run.json").read_text())
    assert plan["settings"]["warmup"] == 0.2
    assert plan["columns"] == {"text": "Body", "label": "Kind"}

    told = tmp_path / "predictions.jsonl"
    ran = run("evaluate", "text-classification", "--model", out, "--data", table, *columns, "--predictions", told)
    (record,) = ran.records
    rows = [json.loads(line) for line in told.read_text().splitlines()]
    assert len(rows) == 80
    assert rows[0] == {"Body": "bad film", "Kind": "0", "prediction": "0", "where": f"{table}, line 2"}
    assert all(row["prediction"] == row["Kind"] for row in rows)
    assert record["rows"] == 80
    assert record["metrics"]["accuracy"] == 1.0
    assert {"f1_macro", "f1_micro", "precision", "recall", "f1"} <= set(record["metrics"])
    assert [row["label"] for row in record["classes"]] == ["0", "1"]
    assert "80 rows" in ran.err
    assert "accuracy" in ran.err

    ran = run("classify", "good film", 'bad "film", a', "--model", out, "--to", "csv")
    found = list(csv.DictReader(io.StringIO(ran.out)))
    assert [(row["text"], row["label"]) for row in found] == [("good film", "1"), ('bad "film", a', "0")]
    # of a file, the columns of the training are read, and all columns are written
    ran = run("classify", "--input", table, "--model", out, "--to", "csv")
    found = list(csv.DictReader(io.StringIO(ran.out)))
    assert list(found[0]) == ["Body", "Kind", "label", "score"]
    assert all(row["label"] == row["Kind"] for row in found)
    ran = run("evaluate", "text-classification", "--model", out, "--data", table)
    assert ran.records[0]["read_as"].startswith("text = Body; label = Kind")
    (other := tmp_path / "other.jsonl").write_text('{"text": "good film", "Body": 1}\n{"text": "bad film"}\n')
    assert "There is no text in 'Body'" in run("classify", "--input", other, "--model", out).err
    ran = run("classify", "--input", other, "--model", out, "--column", "text=text")
    assert [record["label"] for record in ran.records] == ["1", "0"]
    assert run("classify", "a", "--model", out, "--to", "xml").err.startswith("bertie: --to is 'xml'")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "epoch=2"), "There is no setting 'epoch'; there are epochs"),
        (("--set", "warmup"), "--set is 'warmup'; write NAME=VALUE."),
        (("--column", "text"), "--column is 'text'; write ROLE=NAME"),
        (("--class-weights", "auto,1"), "write auto, CLASS=2,OTHER=1, or numbers separated by commas"),
        (("--dev", "missing.csv"), "'missing.csv'"),
        (("--on-bad-row", "warn"), "--on-bad-row is 'warn'"),
        (("--column", "text=Text"), "There is no column 'Text'"),
        (("--option", "top=1"), "no option 'top'"),
        (("--metric", "acuracy"), "--metric acuracy: text-classification has no such metric; it has accuracy, "),
        (("--metric", "acuracy"), "Did you mean 'accuracy'?"),
        (("--kind", "multilabel"), "There is no kind 'multilabel'"),
        (("--set", "schedule=lineer"), "--set schedule is 'lineer'; allowed: one of 'linear', "),
        (("--set", "schedule=lineer"), "Did you mean 'linear'?"),
        (("--set", "freeze=embedings"), "Did you mean 'embeddings'?"),
        (("--option", "window_scores=men"), "--option window_scores is 'men'; it must be one of 'mean', 'max'."),
        (("--device", "gpu"), "device is 'gpu'"),
    ],
)
def test_a_mistake_is_one_sentence(
    run: Run, start: Path, table: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    given = ("--train", table, "--model", start, "--out", tmp_path / "run", "--column", "label=Kind")
    columns = () if "text=Text" in more else ("--column", "text=Body")
    ran = run("finetune", "sequence-classification", *given, *columns, *more)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert message in ran.err
    assert ran.out == ""
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_says_how_to_resume(
    run: Run, start: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    given = ("--train", table, "--model", start, "--out", tmp_path / "run", "--column", "text=Body")
    given = ("finetune", "sequence-classification", *given, "--column", "label=Kind", "--epochs", 1)
    with monkeypatch.context() as patched:
        patched.setattr(Signals, "__enter__", lambda self: setattr(self, "received", number) or self)
        ran = run(*given)
    assert ran.code == code
    assert "bertie: Training was stopped after step 1 of " in ran.err
    assert f"--resume continues from {str(tmp_path / 'run' / 'state')!r}" in ran.err
    assert run(*given, "--resume").code == 0


def test_the_best_of_several_settings(run: Run, start: Path, table: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    given = ("--train", table, "--model", start, "--out", tmp_path / "run", "--column", "text=Body")
    ran = run("finetune", "sequence-classification", *given, "--column", "label=Kind", "--sweep", 2, "--seed", 1)
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert "learning_rate" in record["settings"]
    assert (tmp_path / "run" / "trials.jsonl").read_text().count("\n") == 2
    many = ("--sweep", 2, "--seed", 1, "--seed", 2)
    assert run("finetune", "sequence-classification", *given, *many).err == "bertie: A sweep takes only one --seed.\n"


def test_the_columns_read_are_reported(run: Run, start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = [f"{'a ' * (number % 11)}{'good' if number % 2 else 'bad'} film" for number in range(44)]
    lines = [f"{number},{text},a {number},{number % 2},{1 - number % 2}" for number, text in enumerate(words)]
    (tmp_path / "train.csv").write_text("\n".join(["id,comment_text,title,toxic,obscene", *lines]) + "\n")
    line = (
        "text = comment_text; labels = toxic, obscene (0/1 columns); several labels, 2 classes: toxic, obscene; "
        "ignored columns: id, title"
    )
    overlooked = "The column 'title' holds texts and is not read; --column text=comment_text+title reads both."
    given = ("finetune", "classification", "--train", tmp_path / "train.csv", "--model", start)
    ran = run(*given, "--dry-run")
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert record["read_as"] == line
    assert sum(record["counts"].values()) == 44
    assert min(record["counts"].values()) > 0
    assert record["labels"] == ["toxic", "obscene"]
    assert record["warnings"] == [overlooked]
    assert len(record["rows"]) == 3
    assert all(row["label"] == ["toxic" if "good" in row["text"] else "obscene"] for row in record["rows"])
    # outside of tests, what is logged goes to standard error
    assert caplog.messages == [line, overlooked]
    assert ran.err.count("  →  ") == 3
    assert not (tmp_path / "run").exists()
    folded = run(*given, "--dry-run", "--folds", 4)
    assert "to score on in the first of 4 folds; the first as they will be learned:" in folded.err
    assert 9 <= folded.records[0]["counts"]["test"] <= 13
    assert run(*given).err == "bertie: --out is missing: name the new folder of the run (--dry-run needs none).\n"

    out = tmp_path / "run"
    caplog.clear()
    ran = run(*given, "--out", out, "--epochs", 1, "--test", 0, "--max-length", 3)
    assert ran.code == 0, ran.err
    said = caplog.messages
    assert said.count(line) == 1
    assert len(said) == len(set(said))
    assert any(sentence.endswith("tokens; --windows reads them whole.") for sentence in said)
    plan, report = json.loads((out / "run.json").read_text()), (out / "report.md").read_text()
    assert plan["read_as"] == line
    assert (plan["settings"]["batch_size"], plan["settings"]["epochs"]) == (32, 1)
    assert f"Read as: {line.replace('_', chr(95))}" in report
    assert "| batch_size | 32 |" in report
    cut = next(row for row in report.splitlines() if row.startswith("| dev: chosen by |")).split(" | ")
    assert (cut[2], cut[3], cut[4]) == (cut[2], "0", f"{cut[2]} |")
    assert "| thresholds | toxic 0." in report

    ran = run("evaluate", "classification", "--data", tmp_path / "train.csv", "--model", out)
    assert ran.records[0]["read_as"] == line.replace(" (0/1 columns)", "")  # the model's columns, without guessing


def test_a_single_document_cannot_be_split(run: Run, start: Path, tmp_path: Path) -> None:
    rows = [{"question": f"good {number}", "context": "a film", "answer": "film"} for number in range(48)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ("finetune", "qa", "--train", tmp_path / "train.jsonl", "--model", start, "--out", tmp_path / "run")
    assert run(*given).err.splitlines()[-1] == (
        "bertie: All 48 rows have the same context, and scoring needs another: name a separate file (--test …), or "
        "do without (--test 0: nothing is scored)."
    )
    assert "choosing needs another: name a separate file (--dev …)" in run(*given, "--test", "0").err
    ran = run(*given, "--test", "0", "--dev", "0", "--epochs", 1, "--batch-size", 24)
    assert (ran.code, ran.records[0]["metrics"]) == (0, {})


def test_leakage_between_train_and_dev_is_reported(run: Run, start: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("text,label\n" + "".join(f"word {number},{number % 2}\n" for number in range(10)))
    given = ("finetune", "classification", "--train", path, "--model", start, "--dry-run")
    said = [
        f"10 of 10 texts of {name} are in {known} too: the metrics on {name} look better than they are."
        for name, known in (("test", "train"), ("dev", "train"), ("test", "dev"))
    ]
    assert run(*given, "--dev", path, "--test", path).records[0]["warnings"] == said
    assert run(*given, "--dev", path, "--test", 0).records[0]["warnings"] == said[1:2]
    assert run(*given, "--dev", 0.2, "--test", 0.2).records[0]["warnings"] == []


def test_a_bad_row_suggests_skipping(run: Run, start: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("text,label\na,x\nb,y\nc,\n")
    ran = run("finetune", "classification", "--train", path, "--model", start, "--dry-run")
    remedy = "--on-bad-row skip leaves out and counts such rows."
    assert (ran.code, ran.err) == (2, f"bertie: There is no label in {path}, line 4. {remedy}\n")
    path = tmp_path / "f.jsonl"
    path.write_text("no JSON\n")
    ran = run("embed", "--model", start, "--input", path)
    assert (ran.code, "is not JSON" in ran.err, "--on-bad-row" in ran.err) == (2, True, False)


def test_a_dry_run_and_files_follow_a_model_with_classes(
    run: Run, start: Path, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = ("finetune", "classification", "--column", "text=Body", "--column", "label=Kind", "--epochs", 1)
    out = tmp_path / "run"
    ran = run(*given, "--train", table, "--model", start, "--out", out, "--dev", 0, "--batch-size", 128)
    assert ran.code == 0, ran.err
    assert "1 step in " in (out / "report.md").read_text()
    more = tmp_path / "more.csv"
    more.write_text(table.read_text().replace("film,0", "film,2"))
    ran = run(*given, "--train", more, "--model", out, "--dry-run")
    said = "The model's head keeps 1, is newly initialised for 2, drops 0, which no row has."
    assert said in caplog.messages
    assert said in ran.records[0]["warnings"]

    written = tmp_path / "written.csv"
    data = ("--data", table, "--column", "text=Body", "--column", "label=Kind")
    ran = run("evaluate", "classification", "--model", out, *data, "--predictions", written)
    assert ran.code == 0, ran.err
    rows = list(csv.DictReader(written.open()))
    assert (len(rows), list(rows[0])) == (80, ["Body", "Kind", "prediction", "where"])
    assert run("classify", "--model", out, "a film", "--output", written).code == 0
    (row,) = csv.DictReader(written.open())
    assert (row["text"], row["label"] in "01") == ("a film", True)
