"""The scripts in examples/ run as they are and say what they promise."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from labelled import FILES
from small import TINY

import bertie

EXAMPLES = Path(__file__).parents[1] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs an example with arguments and gives what it printed."""

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


@pytest.fixture
def tiny(mini: Path, tmp_path: Path) -> Path:
    """A random BERT that learns in a second."""
    torch.manual_seed(0)
    bertie.BertForPreTraining(bertie.BertConfig(**TINY)).save_pretrained(tmp_path / "tiny")
    bertie.BertTokenizer.from_pretrained(mini, model_max_length=64).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files of labelled rows, where the example is run."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_example_is_run_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tested] == []


def test_accelerate(run: Run, minilm: Path) -> None:
    assert "equal: True" in run("accelerate.py", minilm)


def test_search_by_meaning(run: Run) -> None:
    out = run("search_by_meaning.py")
    assert "array of shape (5, 384)" in out
    for answer in ("invoice", "boiler", "dentist"):
        assert answer in out


def test_fill_mask(run: Run, mini: Path) -> None:
    out = run("fill_mask.py", mini)
    assert "door" in out
    assert "tea" in out


def test_classify(run: Run, mini: Path, tmp_path: Path) -> None:
    labels = {0: "bad", 1: "good"}
    bertie.BertForSequenceClassification.from_pretrained(mini, id2label=labels).save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path)
    lines = run("classify.py", tmp_path).splitlines()
    assert [line.split()[0] in ("bad", "good") for line in lines] == [True] * 3
    assert lines[2].endswith("(490 tokens did not fit and were cut off)")


def test_from_transformers(run: Run, mini: Path) -> None:
    padded, packed, count = run("from_transformers.py", mini).splitlines()
    assert padded.removeprefix("padded:") == packed.removeprefix("packed:")
    assert "table" in padded
    assert count == "27 tokens instead of 36 cells"


def test_a_classifier_from_a_file_is_evaluated(run: Run, tiny: Path, data: Path) -> None:
    out = run("finetune_classifier.py", tiny, "reviews.csv", "runs/classifier")
    assert "in 95 % of other samples" in out
    assert out.count("'label': ") == 2
    assert "worst errors" in Path("runs/classifier/report.md").read_text(encoding="utf-8").lower()
    out = run("evaluate.py", "runs/classifier", "more-reviews.csv")
    assert "accuracy" in out
    assert "'support': 8" in out


def test_several_labels(run: Run, tiny: Path, data: Path) -> None:
    thresholds, some, every = run("several_labels.py", tiny, "emotions.csv").splitlines()
    assert thresholds.startswith("thresholds: [")
    assert every.count("'label'") == 4 >= some.count("'label'")


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("score_pairs.py", 1, "["),
        ("finetune_tagger.py", 0, ""),
        ("answer_questions.py", 2, "'answer'"),
        ("multiple_choice.py", 1, "'choice'"),
        ("next_sentence.py", 1, "'is_next'"),
        ("rerank.py", 2, "score"),
        ("train_embeddings.py", 2, "0."),
    ],
)
def test_rows_in_the_script(name: str, lines: int, said: str, run: Run, tiny: Path) -> None:
    found = run(name, tiny).splitlines()
    assert len(found) == lines or (name == "finetune_tagger.py" and len(found) <= 7)
    assert all(said in line for line in found)


def test_sweep(run: Run, tiny: Path, data: Path) -> None:
    pytest.importorskip("optuna")
    values, accuracy = run("sweep.py", tiny, "reviews.csv", "runs/sweep", 2).splitlines()
    assert "learning_rate" in values
    assert accuracy.startswith("accuracy on test: ")
    assert Path("runs/sweep/report.md").exists()


def test_scikit_learn(run: Run, tiny: Path, data: Path) -> None:
    pytest.importorskip("sklearn")
    folds, predicted = run("scikit_learn.py", tiny, "reviews.csv").splitlines()
    assert folds.startswith("accuracy of each fold: [")
    assert predicted.count("tive'") == 2


def test_adapt_to_texts(run: Run, tiny: Path, data: Path) -> None:
    before, after, _ = run("adapt_to_texts.py", tiny, "corpus.txt", "runs/adapted").splitlines()
    assert before.startswith("masked words before: {")
    assert "accuracy" in after


def test_bert2bert_summarize(run: Run, tiny: Path, data: Path) -> None:
    figures, *summaries = run("bert2bert_summarize.py", tiny, "articles.jsonl", "runs/summariser").splitlines()
    assert figures.startswith("{'rouge1': ")
    assert len(summaries) == 2
    assert Path("runs/summariser/report.md").exists()


def test_a_run_that_is_stopped_goes_on(run: Run, tiny: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertie.finetuning.task_learner import TaskLearner

    loss, calls = TaskLearner.loss, []

    def interrupted(self: TaskLearner, examples: list[int]) -> torch.Tensor:
        calls.append(examples)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss(self, examples)

    monkeypatch.setattr(TaskLearner, "loss", interrupted)
    with pytest.raises(SystemExit, match="Run this again"):
        run("resume.py", tiny, "reviews.csv", "runs/long")
    assert run("resume.py", tiny, "reviews.csv", "runs/long").startswith("6 steps, accuracy ")


def test_long_texts(run: Run, tiny: Path, data: Path) -> None:
    rows = FILES["reviews.csv"].replace("scene after scene", "scene after scene " * 40)
    Path("long.csv").write_text(rows, encoding="utf-8")
    cut, whole = run("long_texts.py", tiny, "long.csv").splitlines()
    assert "lost" in cut
    assert "lost" not in whole


def test_distil(run: Run, tiny: Path, data: Path) -> None:
    bertie.BertModel.from_pretrained(tiny).save_pretrained(tiny)
    (data / "lines.txt").write_text("A cat sat on the mat.\n" * 20, encoding="utf-8")
    assert "times as fast; mean cosine of 1 texts" in run("distil.py", tiny, data / "lines.txt", 1, data / "student")
    assert bertie.pipeline("embed", data / "student")("A cat.").shape == (16,)


def test_the_notebook(data: Path, tiny: Path) -> None:
    notebook = json.loads((EXAMPLES / "classify_films.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        # fewer rows, and a model that learns in a second
        source = "".join(cell["source"]).replace("800)", "40)").replace("200)", "20)")
        exec(source.replace("out=", f"model={str(tiny)!r}, out="), names)
    assert (data / "runs" / "films" / "report.html").exists()
    # what it shows is what came of its cells, in order
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    shown = "".join(line for output in outputs for line in output.get("data", {}).get("text/html", ()))
    assert "<td>accuracy</td>" in shown
    assert "data:image/png;base64" in shown
