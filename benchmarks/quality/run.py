"""bertie's fine-tuning beside transformers' Trainer on real data: quality and wall time, by named experiments.

Each training has a fresh process; systems take turns, seed by seed. Figures are kept as ``RESULTS/NAME.json``:
``--report`` trains nothing and prints them, and ``--docs`` puts them into docs/quality.md.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # `comparison` lies beside this folder
PAGE = HERE.parents[1] / "docs" / "quality.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main() -> None:
    """Run what the command line names."""
    options = _options()
    # before torch is imported: it reads the number of threads once
    os.environ.update(OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    import tables
    from experiments import ALL, BY_NAME

    for name in options.names:
        if name not in BY_NAME:
            raise SystemExit(f"there is no experiment {name!r}; choose from {', '.join(BY_NAME)}")
    names = options.names or [each.name for each in ALL]
    logging.getLogger("bertie").setLevel(logging.ERROR)
    if not (options.report or options.docs):
        options.results.mkdir(parents=True, exist_ok=True)
        for name in names:
            _measure(name, options)
    paths = [options.results / f"{name}.json" for name in names]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not found:
        raise SystemExit(f"there are no figures in {options.results}; measure first")
    print(tables.report(found))
    if options.docs:
        _write_page(tables.report(found, level=3))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the experiments; the default is all")
    parser.add_argument("--quick", action="store_true", help="one seed and few rows")
    parser.add_argument("--seeds", type=int, help="how many, instead of the experiment's number")
    parser.add_argument("--rows", type=int, help="to learn from, instead of the experiment's number")
    parser.add_argument("--dev-rows", type=int, help="to score on, instead of the experiment's number")
    parser.add_argument("--epochs", type=int, help="instead of the experiment's number")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every system; default: processors")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="the folder of the figures")
    parser.add_argument("--report", action="store_true", help="train nothing, print what is kept")
    parser.add_argument("--docs", action="store_true", help="as --report, and write docs/quality.md")
    return parser.parse_args()


def _measure(name: str, options: argparse.Namespace) -> None:
    from experiments import BY_NAME
    from measuring import Measuring, resized

    experiment = BY_NAME[name]
    size = resized(experiment.quick if options.quick else experiment.whole, options)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"quality-{name}-") as folder:
        measuring = Measuring(experiment, size, options.threads, Path(folder), everyone=not options.quick)
        found = measuring.run(lambda line: _tell(f"{name}: {line}"))
    found["quick"] = options.quick
    path = options.results / f"{name}.json"
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    _tell(f"{name}: done in {(time.monotonic() - begin) / 60:.1f} minutes; {path}")


def _write_page(tables: str) -> None:
    from bertie.files import atomic

    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    with atomic(PAGE) as file:
        file.write_text(f"{before}{BEGIN}\n\n{tables}\n{END}{after}", encoding="utf-8")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
