"""The default model, from texts to its folder: the steps in order, each a command that is printed before it runs.

python benchmarks/pretraining/default_model.py WORK prepare
"""

import argparse
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from bertie.data import records
from bertie.files import atomic
from bertie.hub import DEFAULT_EMBEDDING_MODEL

SHARED = Path(__file__).resolve().parents[3] / "shared"
CORPUS = SHARED / "data" / "corpus.jsonl.xz"
HELD_OUT = SHARED / "data" / "heldout.txt"
# training parts of labelled data, whose texts alone are read: modern and spoken English, which the corpus lacks
OTHERS = ("sentiment", "reviews", "emotions")


def prepare(work: Path) -> None:
    """Write shards of the corpus without the novels that score the model, and of the other texts."""
    documents = work / "corpus.jsonl"
    if not documents.exists():
        write_documents(documents)
    others = [str(SHARED / "data" / name / "train.csv") for name in OTHERS]
    run(f"bertie prepare {documents} {shlex.join(others)} -t {DEFAULT_EMBEDDING_MODEL} --heldout 0.005 -o {work}/data")


def write_documents(out: Path) -> None:
    held_out = set(HELD_OUT.read_text(encoding="utf-8").split())
    with atomic(out) as part, part.open("w", encoding="utf-8") as file:
        for row in records(CORPUS):
            if row.fields["source"] in held_out:
                held_out.remove(str(row.fields["source"]))
            else:
                file.write(json.dumps({"text": row.fields["text"]}) + "\n")
    if held_out:
        raise SystemExit(f"{CORPUS} has no {', '.join(sorted(held_out))}")


def run(command: str) -> None:
    print(f"$ {command}", flush=True)
    subprocess.run(shlex.split(command), check=True)


STEPS: dict[str, Callable[[Path], None]] = {"prepare": prepare}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for all that is made; a step that was stopped goes on")
    parser.add_argument("steps", nargs="+", choices=STEPS)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    for step in asked.steps:
        STEPS[step](asked.work)


if __name__ == "__main__":
    main()
