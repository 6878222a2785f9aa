"""Several fine-tunings of one plan: folds with metrics by fold, mean and standard deviation, resumed fold by fold."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from films import write_start

import bertie
from bertie.errors import InputError
from bertie.finetuning import seeds_and_folds

ROWS = [
    {"text": f"a {'good' if number % 2 else 'bad'} film {number} {number % 7}", "label": str(number % 2)}
    for number in range(45)
]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), num_hidden_layers=1)


def finetuned(start: Path, out: Path | None, **more: Any) -> Any:
    options = {"model": start, "epochs": 2, "learning_rate": 3e-3, "batch_size": 8, "show_progress": False, "folds": 3}
    return bertie.finetune("classification", ROWS, out=out, **{**options, **more})


def test_folds_are_scored_in_turn(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    learn = seeds_and_folds.learn

    def seen(job: Any) -> Any:
        learned.append(job.parts)
        return learn(job)

    monkeypatch.setattr(seeds_and_folds, "learn", seen)
    out = tmp_path / "run"
    result = finetuned(start, out)
    assert [len(parts.test) for parts in learned] == [15, 15, 15]
    assert sorted(example.where for parts in learned for example in parts.test) == sorted(
        f"row {number} of train" for number in range(45)
    )
    for parts in learned:
        texts = [{example.text for example in part} for part in (parts.train, parts.dev, parts.test)]
        assert len(set.union(*texts)) == sum(map(len, texts)) == 45
        assert parts.dev
    single = [json.loads((out / f"fold-{number}" / "results.json").read_text()) for number in (1, 2, 3)]
    values = [each["metrics"]["accuracy"] for each in single]
    assert result.spread["accuracy"] == pytest.approx((fmean(values), stdev(values)))
    for name in ("results.json", "run.json"):
        saved = json.loads((out / name).read_text())
        assert saved["spread"]["accuracy"] == pytest.approx({"mean": fmean(values), "deviation": stdev(values)})
        assert [saved["by_fold"][str(number)]["accuracy"] for number in (1, 2, 3)] == values
    assert result.metrics["accuracy"] == values[saved["kept_fold"] - 1]
    kept = out / f"fold-{saved['kept_fold']}"
    assert (out / "model.safetensors").read_bytes() == (kept / "model.safetensors").read_bytes()
    report = (out / "report.md").read_text()
    assert report.startswith(f"# text-classification: accuracy {fmean(values):.3f} ± {stdev(values):.3f}\n")
    assert f"are those of fold {saved['kept_fold']}." in report
    assert not list(out.glob("**/state"))

    # interrupted while the second fold is scored, it is resumed fold by fold
    scored = seeds_and_folds.scored
    calls: list[Any] = []

    def stopping(learned: Any) -> Any:
        calls.append(learned)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scored(learned)

    with monkeypatch.context() as patch:
        patch.setattr(seeds_and_folds, "scored", stopping)
        with pytest.raises(KeyboardInterrupt, match="resume=True continues"):
            finetuned(start, tmp_path / "again")
    again = finetuned(start, tmp_path / "again", resume=True)
    assert again.runs == result.runs


def test_arguments_that_folds_exclude(start: Path) -> None:
    for more, message in (
        ({"folds": 1}, "folds is 1; allowed: an integer of at least 2"),
        ({"test": 0.1}, "folds scores each fold of train in turn; leave test out"),
        ({"seed": [1, 2]}, "folds takes one seed, not 2"),
        ({"folds": 46}, "folds is 46, but the 45 rows have 45 different texts; give at most 45"),
    ):
        with pytest.raises(InputError, match=message):
            finetuned(start, None, **more)


IN_SEVERAL = """
import json, os, sys
import bertie

result = bertie.finetune("text-classification", json.loads(sys.argv[1]), model=sys.argv[2], out=sys.argv[3],
                         epochs=1, batch_size=8, seed=[1, 2], show_progress=False)
with open(f"rank-{os.environ['RANK']}.json", "w") as file:
    json.dump([result.metrics, result.seed, result.spread, result.pipeline("a good film")], file)
"""


@pytest.mark.slow
def test_all_processes_get_the_same_result(start: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(IN_SEVERAL)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "program.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path(bertie.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [*launcher, json.dumps(ROWS), str(start), str(tmp_path / "run")]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert json.loads((tmp_path / "run" / "results.json").read_text())["kept_seed"] == first[1]
