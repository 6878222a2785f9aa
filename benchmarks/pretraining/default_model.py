"""The default model, from texts to its folder: the steps in order, each a command that is printed before it runs.

python benchmarks/pretraining/default_model.py WORK prepare
"""

import argparse
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

from bertie.data import records
from bertie.files import atomic
from bertie.hub import DEFAULT_EMBEDDING_MODEL

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Training parts of labelled data, of which the texts alone are read, for modern and spoken English; and how many rows
# make a document: of a document of one sentence, nothing ever follows, and short texts would be known by that.
OTHERS = {"reviews": 1, "sentiment": 20, "emotions": 20}
# the end of a sentence in reviews, whose tokens are parted by blanks and have no capital letters
END = re.compile(r" ([.!?])(?= )")


def prepare(work: Path) -> None:
    """Write shards of the corpus, without the novels that score the model, and of the other texts."""
    if not (work / "documents.jsonl").exists():
        write_documents(work / "documents.jsonl")
    run(f"bertie prepare {work}/documents.jsonl -t {DEFAULT_EMBEDDING_MODEL} --heldout 0.005 -o {work}/data")


def write_documents(out: Path) -> None:
    with atomic(out) as part, part.open("w", encoding="utf-8") as file:
        for text in chain(corpus(DATA), *(joined(DATA / name / "train.csv", rows) for name, rows in OTHERS.items())):
            file.write(json.dumps({"text": text}) + "\n")


def corpus(data: Path) -> Iterator[str]:
    """Yield the documents of the corpus that are not held out."""
    held_out = set((data / "heldout.txt").read_text(encoding="utf-8").split())
    for row in records(data / "corpus.jsonl.xz"):
        source = str(row.fields["source"])
        if source not in held_out:
            yield row.text("text")
        held_out.discard(source)
    if held_out:
        raise SystemExit(f"{data / 'corpus.jsonl.xz'} has no {', '.join(sorted(held_out))}")


def joined(file: Path, rows: int) -> Iterator[str]:
    """Yield documents of so many rows of a table, an empty line behind each sentence."""
    texts = (END.sub(r" \1\n\n", row.text("text")) for row in records(file))
    while part := list(islice(texts, rows)):
        yield "\n\n".join(part)


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
