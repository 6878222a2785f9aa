"""From 100 MB of text to an adapted model within an hour, and what a task of that kind of text gains from it.

python benchmarks/pretraining/adaptation.py WORK --budget 50m

A step that WORK has the result of is left out: called again, this goes on where it was stopped.

The texts are those of the default model, mostly novels; all-MiniLM-L6-v2 is adapted to them. The task is to tell which
of four sentences of a novel follows a given one. Models fine-tuned from both starts answer rows of ten novels that none
of them has read. Prints the seconds of each step, both accuracies, and their difference with its interval.
"""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import default_model
import model_figures

import bertie
from bertie.data.sentences import sentences
from bertie.hub import DEFAULT_EMBEDDING_MODEL
from bertie.metrics.streaming import interval

LONG = 20  # characters that a sentence has at least
FINETUNE = "bertie finetune multiple-choice --train {{work}}/train.jsonl --model {model} -o {{work}}/{out} --resume"
RESULTS = ("manifest.json", "results.json")  # of a step that is done
# by the folder that each makes
COMMANDS = {
    "data": "bertie prepare {work}/documents.jsonl -t {start} --heldout 0.005 -o {work}/data",
    "adapted": "bertie pretrain --data {work}/data --from {start} --budget {budget} --masking 0.2 --batch-tokens 4096 "
    "--learning-rate 4e-4 --dropout 0 -o {work}/adapted --resume",
    "before": FINETUNE.format(model="{start}", out="before"),
    "after": FINETUNE.format(model="{work}/adapted", out="after"),
}


def questions(novels: list[list[str]], count: int) -> Iterator[str]:
    """Yield rows, as JSON: a sentence, and four of the same novel, one of which follows it."""
    draw = Random(0)
    for _ in range(count):
        novel = draw.choice(novels)
        place = draw.randrange(len(novel) - 1)
        others = [each for each in draw.sample(novel, 5) if each != novel[place + 1]][:3]
        label = draw.randrange(4)
        choices = [*others[:label], novel[place + 1], *others[label:]]
        yield json.dumps({"prompt": novel[place], "choices": choices, "label": label})


def novels_to_learn_from() -> Iterator[list[str]]:
    """Yield the sentences of the longest documents that are not held out: the novels."""
    for text in default_model.corpus(default_model.DATA):
        if len(text) > 200_000:
            yield [each for each in sentences(text) if len(each) > LONG]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for all that is made")
    parser.add_argument("--budget", default="50m", help="of the adaptation itself")
    parser.add_argument("--rows", type=int, default=2_000, help="to learn from")
    parser.add_argument("--test-rows", type=int, default=2_000)
    parser.add_argument("--novels", type=int, default=None, help="the first so many alone, to try it")
    asked = parser.parse_args()
    work: Path = asked.work
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "documents.jsonl").exists():
        default_model.write_documents(work / "documents.jsonl")
    rows = {
        "train": questions(list(islice(novels_to_learn_from(), asked.novels)), asked.rows),
        "test": questions(list(islice(model_figures.heldout_sentences(), asked.novels)), asked.test_rows),
    }
    for name, lines in rows.items():
        (work / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for step, command in COMMANDS.items():
        if any((work / step / name).exists() for name in RESULTS):
            continue
        began = time.perf_counter()
        default_model.run(command.format(work=work, start=DEFAULT_EMBEDDING_MODEL, budget=asked.budget))
        print(f"{step}: {time.perf_counter() - began:,.0f} s", flush=True)
    found = [
        bertie.evaluate("multiple-choice", work / "test.jsonl", model=str(work / name)) for name in ("before", "after")
    ]
    for name, each in zip(("before", "after"), found, strict=True):
        print(f"accuracy {name}: {each.metrics['accuracy']:.1%}, 95 % interval {shown(each.intervals['accuracy'])}")
    before, after = (each.scored.scores.resampled()["accuracy"] for each in found)
    gain = found[1].metrics["accuracy"] - found[0].metrics["accuracy"]  # type: ignore[operator]
    print(f"gain: {gain:+.1%}, 95 % interval {shown(interval(after - before))}, row by row")


def shown(interval: tuple[float, float] | None) -> str:
    return "none" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


if __name__ == "__main__":
    main()
