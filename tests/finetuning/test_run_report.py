"""The report is complete, and texts of the data cannot break its Markdown."""

import re
from dataclasses import replace
from pathlib import Path

from bertie.finetuning.run_report import (
    Mistake,
    Part,
    Runs,
    RunSummary,
    Tuned,
    render,
    write_report,
)

SUMMARY = RunSummary(
    task="text-classification",
    model="all-MiniLM-L6-v2",
    main="accuracy",
    metrics={"accuracy": 0.8621, "f1_macro": 0.86, "pearson": None},
    intervals={"accuracy": (0.841, 0.8823), "f1_macro": (0.84, 0.88), "pearson": None},
    table=[{"label": "negative", "precision": 0.9, "recall": 0.8, "f1": 0.847, "support": 1428, "predicted": 400}],
    data=[
        Part("train", "train.csv", 12_000, skipped=3, truncated=17),
        Part("dev", "a tenth of train.csv", 1_200),
        Part("test", "dev.csv", 872),
    ],
    settings={"epochs": 3, "learning_rate": 5e-5, "seed": 0},
    seconds=185.2,
    steps=1125,
    best_step=750,
    ended_early="nothing improved",
    tuned=[Tuned("temperature", "1.43", "calibration error 0.091 → 0.034")],
    runs=Runs("seed", {0: {"f1": 0.8621}, 1: {"f1": 0.855}, 2: {"f1": 0.86}}, kept=0),
    pictures={"curves.png": "Loss and accuracy by step"},
    mistakes=[Mistake("a film | to\nforget " + "x" * 300, "negative", "positive", 0.9931, "dev.csv, line 17")],
    warnings=["3 bad rows were left out.", "3 bad rows were left out."],
    made_with="bertie 0.1.0",
)


def test_the_report_is_complete() -> None:
    text = render(SUMMARY)
    for said in (
        "# text-classification: accuracy 0.862\n",
        "on 872 rows (dev.csv), 95% interval 0.841 to 0.882.",
        "| pearson | undefined |  |",
        "| negative | 0.900 | 0.800 | 0.847 | 1,428 |",
        "| train: learned from | train.csv | 12,000 | 3 | 17 |",
        "1,125 steps in 3 min 5 s, ended early because nothing improved; the model of step 750 was kept.",
        "| learning_rate | 5e-05 |",
        "| temperature | 1.43 | calibration error 0.091 → 0.034 |",
        "| mean ± deviation | 0.859 ± 0.004 |",
        "![Loss and accuracy by step](curves.png)",
        "| a film \\| to forget xxx",
        "xxx… | negative | positive | 0.993 | dev.csv, line 17 |",
        "bertie 0.1.0",
    ):
        assert said in text
    assert text.count("3 bad rows") == 1
    assert "\n\n\n" not in text


def test_empty_sections_are_left_out() -> None:
    text = render(RunSummary(task="t", model="m", main="f1", metrics={"f1": 0.5}))
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# t: f1 0.500",
        "## Metrics",
        "## Training",
    ]


def test_every_table_row_has_as_many_cells_as_its_header() -> None:
    rows = [line.replace("\\|", "") for line in render(SUMMARY).splitlines() if line.startswith("|")]
    widths = [row.count("|") for row in rows]
    heads = [at + 1 for at, row in enumerate(rows) if row.startswith("| --- |")]
    for first, end in zip(heads, [*(at - 2 for at in heads[1:]), len(rows)], strict=True):
        assert set(widths[first - 2 : end]) == {widths[first - 2]}


def test_markdown_and_html_are_written(tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_bytes(b"drawn")
    assert write_report(SUMMARY, tmp_path).read_text(encoding="utf-8") == render(SUMMARY)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<img src="data:image/png;base64,ZHJhd24=" alt="Loss and accuracy by step"' in page
    assert "<td>negative</td>\n<td>0.900</td>" in page
    assert "curves.png" not in page


def test_texts_of_the_data_are_escaped(tmp_path: Path) -> None:
    text = '<script>alert(1)</script> [x](javascript:alert(2)) ![](http://a.b/c.png) <img src="curves.png">'
    write_report(replace(SUMMARY, pictures={}, mistakes=[Mistake(text, "a", "b", 0.5, "here")]), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|img|a)\b", page)
