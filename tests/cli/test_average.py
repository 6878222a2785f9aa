"""``bertie average``: the mean is scored beside each model, or reported unscored. ``bertie compare`` of two runs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from films import write_start

import bertie
from bertie.data.example import Example
from bertie.evaluation.predictions import PREDICTIONS, prediction_writer, read_rows

Run = Callable[..., Any]


def test_average(run: Run, tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", num_hidden_layers=1)
    data = tmp_path / "data.csv"
    lines = [f"a {'good' if number % 2 else 'bad'} film {number % 10},{number % 2}" for number in range(40)]
    data.write_text("text,label\n" + "\n".join(lines) + "\n")
    given = {"model": start, "epochs": 1, "batch_size": 8, "show_progress": False}
    bertie.finetune("classification", str(data), out=tmp_path / "seeds", seed=[1, 2], **given)
    seeds = [tmp_path / "seeds" / f"seed-{number}" for number in (1, 2)]
    ran = run("average", *seeds, "--out", tmp_path / "mean")
    (record,) = ran.records
    assert (ran.code, record["metrics"]) == (0, None)
    assert "the mean is not scored; --data ROWS scores it" in ran.err
    ran = run("average", *seeds, "--out", tmp_path / "again", "--data", data)
    (record,) = ran.records
    assert record["metrics"] == bertie.evaluate("classification", data, model=tmp_path / "again").metrics
    assert set(record["metrics_of_each"]) == set(map(str, seeds))
    assert json.loads((tmp_path / "again" / "average.json").read_text()) == record
    assert [line.split()[0] for line in ran.err.splitlines()[-3:]] == ["mean", *map(str, seeds)]
    compared = run("compare", *seeds)
    assert compared.code == 0, compared.err
    by_hand = [json.loads((seed / "results.json").read_text())["metrics"]["accuracy"] for seed in seeds]
    (record,) = compared.records
    assert [record[name]["metrics"]["accuracy"] for name in ("first", "second")] == by_hand
    assert record["difference"]["accuracy"] == pytest.approx(by_hand[0] - by_hand[1])
    assert [line.split()[0] for line in compared.err.splitlines() if line.startswith("  ")][:2] == [
        "metric",
        "accuracy",
    ]
    assert f"Neither '{start}' nor '{data}' is a run that states its task" in run("compare", start, data).err
    assert f"'{start}' keeps no test rows; name rows" in run("compare", start, seeds[0]).err
    # if the task is unknown, nothing is written
    ran = run("average", start, seeds[0], "--out", tmp_path / "none", "--data", data)
    assert "does not say what task it was trained for; name it with --task" in ran.err
    for rows in (tmp_path / "nowhere.csv", tmp_path / "others.csv"):
        (tmp_path / "others.csv").write_text("text,label\na film,lovely\n")
        ran = run("average", *seeds, "--out", tmp_path / "none", "--data", rows)
        assert ran.code == 2, ran.err
        assert rows.name in ran.err or "'lovely'" in ran.err
    assert not (tmp_path / "none").exists()


def test_row_options_are_read_back(tmp_path: Path) -> None:
    given = [{"where": "a good film", "prediction": 3, "label": "pos"}, {"text": "a film", "label": "neg"}]
    task: Any = SimpleNamespace(to_json=str)
    with prediction_writer(tmp_path / PREDICTIONS, task) as write:
        write([Example("a film", "pos", "line 1", row) for row in given], ["neg", "pos"])
    assert '"prediction": "neg", "where": "line 1"' in (tmp_path / PREDICTIONS).read_text()
    assert read_rows(tmp_path / PREDICTIONS) == given
