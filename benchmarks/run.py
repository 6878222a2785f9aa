"""bertie and its peers on the named workloads: ``make bench`` (quick) and ``make bench-all`` (everything).

Each workload's figures are saved as ``RESULTS/WORKLOAD.json``; ``--report`` measures nothing and prints what is saved,
and ``--docs`` writes it to docs/benchmarks.md. ``--model`` and ``--input`` define a workload of your own model and
texts instead, named "own".
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import workloads
from bertie.errors import BertieError
from bertie.files import atomic
from bertie.hub import default_embedding_model
from comparison import plot, report
from comparison.engines.table import Engine, chosen
from comparison.own import own_workload
from comparison.results import Comparison, read_results, write_results
from comparison.run import compare
from comparison.workload import Workload

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
README_SHOWS = "embed"  # the comparison whose picture stands there
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
QUICK = ("embed", "classify", "query", "train", "tokenize", "start")
# compiling takes longer than all else of a quick workload together
NOT_QUICK = ("transformers compiled",)


def main() -> None:
    options = _options()
    logging.getLogger("bertie").setLevel(logging.ERROR)  # making workloads counts tokens of texts that are cut later
    options.results.mkdir(parents=True, exist_ok=True)
    names = options.workloads or (workloads.NAMES if options.all or options.report or options.docs else QUICK)
    if options.input is not None:
        found = [_measure_one(_own(options), _engines(options), options)]
    elif not (options.report or options.docs):
        found = _measure(names, options)
    else:
        found = _kept(names, options.results)
    if not found:
        raise SystemExit(f"there are no figures in {options.results}; measure first")
    print(report.report(found))
    print(report.LEGEND)
    _draw(found, options.results / "bench.png")
    if options.docs:
        _write_page(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"some of {', '.join(workloads.NAMES)}")
    parser.add_argument("--model", default=str(default_embedding_model()), help="with --input: a folder, or a hub name")
    parser.add_argument("--input", type=Path, help="run a model on this file, a text a line, and nothing else")
    parser.add_argument("--measure", default="throughput", help="with --input: throughput, latency or start")
    parser.add_argument("--all", action="store_true", help="every workload in its whole size")
    parser.add_argument(
        "--engines",
        default="",
        help="names or patterns, with commas: 'bertie*,OpenVINO*'; the default is all (quick: all but compiled ones)",
    )
    parser.add_argument("--threads", type=int, help="for each engine; the default is one for each processor")
    parser.add_argument("--rounds", type=int, help="how often each engine is timed, instead of the workload's number")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="the folder of the figures")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="the folder of converted models")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what is kept")
    parser.add_argument("--docs", action="store_true", help="as --report, and write docs/benchmarks.md")
    options = parser.parse_args()
    for name in options.workloads:
        if name not in workloads.NAMES:
            parser.error(f"there is no workload {name!r}; choose from {', '.join(workloads.NAMES)}")
    return options


def _measure(names: Sequence[str], options: argparse.Namespace) -> list[Comparison]:
    engines = _engines(options)
    return [_measure_one(workloads.make(name, options.all, options.cache), engines, options) for name in names]


def _measure_one(workload: Workload, engines: Sequence[Engine], options: argparse.Namespace) -> Comparison:
    begin = time.monotonic()
    workload = replace(workload, rounds=options.rounds or workload.rounds)
    found = compare(workload, engines, threads=options.threads, device=options.device, cache=options.cache, tell=_tell)
    write_results(options.results / f"{workload.name}.json", [found])
    _tell(f"{workload.name}: done in {time.monotonic() - begin:.0f} s")
    return found


def _own(options: argparse.Namespace) -> Workload:
    texts = [line for line in options.input.read_text(encoding="utf-8").splitlines() if line.strip()]
    return replace(own_workload(options.model, texts, measure=options.measure), name="own")


def _engines(options: argparse.Namespace) -> tuple[Engine, ...]:
    engines = chosen([name for name in options.engines.split(",") if name])
    if options.all or options.engines:
        return engines
    return tuple(engine for engine in engines if engine.name not in NOT_QUICK)


def _kept(names: Sequence[str], folder: Path) -> list[Comparison]:
    paths = [folder / f"{name}.json" for name in names]
    return [one for path in paths if path.exists() for one in read_results(path)]


def _draw(found: Sequence[Comparison], path: Path) -> None:
    if why := plot.why_no_plot():
        _tell(why)
        return
    plot.plot(found, path)
    _tell(f"the picture is {path}")


def _write_page(found: Sequence[Comparison]) -> None:
    """Write tables and picture to the page, between its two markers."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = report.report(found).replace("## ", "### ")  # they stand below a heading of the page's own
    figures = f"{tables}\n{report.LEGEND}\n"
    with atomic(PAGE) as file:
        file.write_text(f"{before}{BEGIN}\n\n{figures}\n{END}{after}", encoding="utf-8")
    plot.plot(found, PAGE.with_suffix(".png"))
    plot.plot([one for one in found if one.name == README_SHOWS], PAGE.with_name(f"{README_SHOWS}.png"))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except BertieError as error:
        sys.exit(f"bertie: {error}")
