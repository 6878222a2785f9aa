"""Figures: medians, ratios and percentiles, the table and the picture made of them, and JSON."""

import json
from pathlib import Path

import pytest

from bertie.errors import CheckpointError
from comparison import report
from comparison.checking import Check
from comparison.plot import plot
from comparison.results import Comparison, Figures, read_results, write_results

EQUAL = Check(difference=1e-7)


def comparison(**fields: object) -> Comparison:
    """Four engines, of which one could not be run; medians 4, 2 and 1 seconds for 8 texts of 40 tokens."""
    figures = (
        Figures("transformers", "transformers 5", "fp32", "", (4.0, 5.0, 3.0), 900_000_000, 0, True, EQUAL),
        Figures(
            "OpenVINO int8", "openvino 1", "int8", "", (1.0, 1.0, 1.0), 500_000_000, 0, False, Check(0.1, 0.99, 0.97)
        ),
        Figures("CTranslate2 fp32", skipped="ctranslate2 is not installed."),
        Figures("bertie", "bertie 0", "fp32", "", (2.0, 2.5, 1.5), 700_000_000, 0, True, EQUAL),
    )
    values = {
        "name": "embed",
        "title": "vectors of texts",
        "task": "embed",
        "measure": "throughput",
        "texts": 8,
        "tokens": 320,
        "bytes": 4_000_000,
        "batch_size": 32,
        "rounds": 3,
        "threads": 2,
        "device": "cpu",
        "machine": "AMD Zen 3 (AVX2), 2 cores",
        "reference": "transformers sorted",
        "others": 0.02,
        "torch_peak": 200_000_000,
        "figures": figures,
    }
    return Comparison(**{**values, **fields})


def rows(found: Comparison, baseline: str | None = None) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in report.table(found, baseline)]


def test_the_table_has_the_fastest_first_and_ratios_to_the_first_engine() -> None:
    heading, rule, *lines = rows(comparison())
    assert heading == ["engine", "texts/s", "tokens/s", "×", "spread", "peak MB", "above torch", "cosine", "differs"]
    assert set("".join(rule)) == {"-", ":"}
    assert lines == [
        ["OpenVINO int8", "8.0", "320", "4.00", "0%", "500", "", "0.9900 / 0.9700", ""],
        ["**bertie**", "4.0", "160", "2.00", "50%", "700", "500", "1", "1e-07"],
        ["transformers", "2.0", "80", "1.00", "50%", "900", "700", "1", "1e-07"],
    ]


def test_the_baseline_may_be_named() -> None:
    assert [row[3] for row in rows(comparison(), "bertie")[2:]] == ["2.00", "1.00", "0.50"]
    # one that was not run gives way to the first
    assert [row[3] for row in rows(comparison(), "CTranslate2 fp32")[2:]] == ["4.00", "2.00", "1.00"]


def test_a_section_says_what_was_run_what_follows_and_who_was_not_run() -> None:
    text = report.section(comparison())
    assert "Other programs took 2%" in text
    assert "8 texts, 320 tokens; peers' batches of 32; 3 rounds in turn; 2 threads; AMD Zen 3 (AVX2), 2 cores." in text
    assert "- bertie: 2.00 × the best fp32 peer, transformers." in text
    assert "- CTranslate2 fp32: ctranslate2 is not installed." in text


def test_bertie_is_compared_with_the_best_peer_of_its_precision_and_with_the_baseline() -> None:
    ours = Figures("bertie int8", precision="int8", seconds=(0.5,), peak=1, check=EQUAL)
    found = comparison(figures=(*comparison().figures, ours))
    assert report.verdicts(found)[0] == "- bertie int8: 2.00 × the best int8 peer, OpenVINO int8; 8.00 × transformers."


def test_latency_has_percentiles_of_all_samples() -> None:
    samples = tuple(number / 1000 for number in range(1, 101))
    one = Figures("bertie", seconds=samples, peak=1, check=EQUAL)
    found = comparison(measure="latency", figures=(one,))
    assert rows(found)[0][1:3] == ["p50 ms", "p99 ms"]
    assert rows(found)[2][1:3] == ["50.50", "99.00"]


@pytest.mark.parametrize(
    ("measure", "task", "names", "shown"),
    [("start", "embed", ["seconds"], ["2.00"]), ("throughput", "tokenize", ["texts/s", "MB/s"], ["4", "2.0"])],
)
def test_other_measures_have_columns_of_their_own(measure: str, task: str, names: list[str], shown: list[str]) -> None:
    found = comparison(measure=measure, task=task, figures=comparison().figures[3:])
    assert rows(found)[0][1 : 1 + len(names)] == names
    assert rows(found)[2][1 : 1 + len(shown)] == shown


def test_nothing_timed_is_a_section_without_a_table() -> None:
    text = report.section(comparison(figures=comparison().figures[2:3]))
    assert "|" not in text
    assert "Not run" in text


def test_results_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, [comparison(), comparison(name="other")])
    assert read_results(path) == [comparison(), comparison(name="other")]


@pytest.mark.parametrize("change", [{"format": 99}, {"comparisons": [{}]}, {"comparisons": None}])
def test_other_files_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "results.json"
    write_results(path, [comparison()])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match="measure again"):
        read_results(path)


def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot([comparison(), comparison(measure="latency")], tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
