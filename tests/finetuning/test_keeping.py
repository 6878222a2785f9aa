"""What a fine-tuning keeps besides its model: models by epoch, a TensorBoard log; and callbacks."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from films import write_start

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.training import Event

ROWS = [
    {"text": f"a {'good' if number % 2 else 'bad'} film {number % 10}", "label": str(number % 2)}
    for number in range(60)
]
NUMBERS = [{"text": row["text"], "label": 40.5 + 9 * int(row["label"])} for row in ROWS]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), num_hidden_layers=1)


def finetuned(start: Path, out: Path | None, train: Any = ROWS, **more: Any) -> Any:
    options = {"model": start, "epochs": 4, "learning_rate": 3e-3, "batch_size": 8, "show_progress": False}
    return bertie.finetune("classification", train, out=out, **{**options, **more})


def logits_of(model: Any, folder: Path) -> torch.Tensor:
    texts = [row["text"] for row in ROWS[:6]]
    encoded = bertie.BertTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**encoded).logits


@pytest.mark.parametrize(("train", "lora"), [(ROWS, None), (NUMBERS, 2)], ids=["classes", "numbers and adapters"])
def test_models_of_the_last_epochs(start: Path, tmp_path: Path, train: Any, lora: int | None) -> None:
    out, seen = tmp_path / "run", {}

    def watch(event: Event) -> None:
        if event.kind == "epoch":
            seen[event.record["epoch"]] = logits_of(event.model, start)

    result = finetuned(start, out, train, keep=2, dev=0, lora=lora, callbacks=[watch])
    assert sorted(path.name for path in out.glob("*epoch-*")) == ["epoch-3", "epoch-4"]
    for epoch in (3, 4):
        kept = bertie.BertForSequenceClassification.from_pretrained(out / f"epoch-{epoch}")
        # numbers are standardised for training, and answered in the units of the data
        mean, deviation, near = (0.0, 1.0, 1e-5) if train is ROWS else (45.0, 4.5, 1.0)
        torch.testing.assert_close(logits_of(kept, start), seen[epoch] * deviation + mean, rtol=0, atol=near)
    # without rows for tuning, the last epoch's model is the finished one
    texts = [row["text"] for row in train[:6]]
    assert bertie.pipeline("classification", out / "epoch-4")(texts) == result.pipeline(texts)
    assert json.loads((out / "run.json").read_text())["keep"] == 2


def test_a_log_for_tensorboard_and_the_end_by_a_callback(start: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    lines: list[dict[str, Any]] = []

    def enough(event: Event) -> bool:
        return event.kind == "epoch" and event.record["epoch"] == 2

    result = finetuned(start, tmp_path / "run", report_to=["tensorboard", lines.append], callbacks=[enough])
    assert result.history.asked_to_stop
    assert result.history.records[-1]["epoch"] == 2.0
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))
    plan = json.loads((tmp_path / "run" / "run.json").read_text())
    assert plan["report_to"] == ["tensorboard"]
    assert plan["callbacks"][0] == "test_a_log_for_tensorboard_and_the_end_by_a_callback.<locals>.enough"
    assert lines == [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert "a callback ended it" in (tmp_path / "run" / "report.md").read_text()


def test_invalid_arguments(start: Path, tmp_path: Path) -> None:
    for more, message in (
        ({"keep": 0, "out": tmp_path}, "keep is 0; allowed: an integer of at least 1"),
        ({"keep": 2}, "keep needs out"),
        ({"report_to": "tensorboard"}, "report_to='tensorboard' needs out"),
        ({"callbacks": print}, "callbacks is .*; give a list of functions"),
    ):
        with pytest.raises((InputError, InputTypeError), match=message):
            finetuned(start, **{"out": None, **more})


def test_more_epochs_for_a_finished_run(start: Path, tmp_path: Path) -> None:
    out, constant = tmp_path / "run", bertie.Settings(schedule="constant", warmup=0)
    finetuned(start, out, epochs=1, settings=constant, dev=0)
    with pytest.raises(InputError, match="holds a finished run; more_epochs extends it; or give another"):
        finetuned(start, out, epochs=1, settings=constant, dev=0)
    longer = finetuned(start, out, epochs=1, settings=constant, dev=0, more_epochs=2, keep=1)
    whole = finetuned(start, None, epochs=3, settings=constant, dev=0)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, longer.model.state_dict()[name]), name
    assert longer.metrics == whole.metrics
    assert [path.name for path in out.glob("epoch-*")] == ["epoch-3"]
    saved = bertie.BertForSequenceClassification.from_pretrained(out).state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in whole.model.state_dict().items())
    steps = longer.history.ends[0]
    assert f"finished after step {steps}, and then extended by more" in (out / "report.md").read_text()
    assert json.loads((out / "run.json").read_text())["more_epochs"] == 2

    # interrupted while the results were written: without resume, it would be extended again
    (out / "report.md").unlink()
    with pytest.raises(InputError, match="is not finished; finish it first: resume=True"):
        finetuned(start, out, epochs=1, settings=constant, dev=0, more_epochs=2)
    again = finetuned(start, out, epochs=1, settings=constant, dev=0, more_epochs=2, resume=True)
    assert (again.history.step, again.metrics) == (longer.history.step, longer.metrics)

    for more, message in (
        ({"out": tmp_path / "new"}, "holds no run that more_epochs could continue"),
        ({"out": None}, "more_epochs needs out"),
        ({"out": out, "folds": 2}, "more_epochs continues one run, not several; leave folds out"),
        ({"out": out, "seed": [1, 2]}, "not several; leave seed out"),
    ):
        with pytest.raises(InputError, match=message):
            finetuned(start, **{"epochs": 1, "more_epochs": 1, **more})


def test_the_loss_on_dev_has_no_label_smoothing(start: Path) -> None:
    result = finetuned(start, None, dev=ROWS[:20], epochs=1, label_smoothing=0.9, settings=bertie.Settings(seed=1))
    texts, labels = [row["text"] for row in ROWS[:20]], torch.tensor([int(row["label"]) for row in ROWS[:20]])
    logits = result.model(**result.tokenizer(texts, padding=True, return_tensors="pt")).logits
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    assert result.history.best_metrics["loss"] == pytest.approx(expected, rel=1e-4)
