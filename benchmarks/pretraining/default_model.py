"""The default model, from texts to its folder: the steps in order, each a command that is printed before it runs.

python benchmarks/pretraining/default_model.py WORK [STEP ...]

All that is made lies in the folder WORK: documents.jsonl and data/ (prepare), a folder for each training and each mean,
of which run/ is the last, int8/ (quantize) and figures.json (score); ``ship`` puts the model, its card and what the
pages show of it into the repository. To ship a model that was trained otherwise, make WORK/run a link to its folder and
begin with ``quantize``.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path

import model_figures

import bertie
from bertie.data import records
from bertie.files import atomic
from bertie.hub import DEFAULT_EMBEDDING_MODEL, DEFAULT_PRETRAINED_MODEL

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MODEL = ROOT / "models" / DEFAULT_PRETRAINED_MODEL
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
CARD = Path(__file__).with_name("card.md")
# pages that show what commands print
PAGES = [ROOT / "README.md", ROOT / "docs" / "tasks" / "fill-mask.md", ROOT / "docs" / "tasks" / "next-sentence.md"]
SHOWN = re.compile(r"^(\$ (.*bertie (?:fill-mask|next-sentence) .*)\n)\{.*\}$", re.MULTILINE)
PRETRAIN = (
    "bertie pretrain --data {{work}}/data --from {start} --teacher {{start}} --teacher-weight 3 --budget {budget} "
    "--masking 0.2 --batch-tokens 8192 --learning-rate {rate} --warmup 0.02 --optimizer muon --dropout 0 "
    "--precision bf16 --seed {seed} -o {{work}}/{out} --resume"
)
TRAININGS = {
    "first": PRETRAIN.format(start="{start}", budget="2h", rate="1e-3", seed=0, out="first"),
    "second": PRETRAIN.format(start="{work}/first", budget="114m", rate="1e-3", seed=1, out="second"),
    "third": PRETRAIN.format(start="{work}/mean", budget="48m", rate="6e-4", seed=2, out="third"),
    "fourth": PRETRAIN.format(start="{work}/second-mean", budget="108m", rate="8e-4", seed=3, out="fourth"),
    "fifth": PRETRAIN.format(start="{work}/third-mean", budget="100m", rate="8e-4", seed=4, out="fifth"),
}
COMMANDS = {
    "prepare": "bertie prepare {work}/documents.jsonl -t {start} --heldout 0.005 -o {work}/data",
    "first": TRAININGS["first"],
    "second": TRAININGS["second"],
    # means are as good at masked words as the later training, and as near to the teacher's vectors as the earlier
    "mean": "bertie average {work}/first {work}/second -o {work}/mean",
    "third": TRAININGS["third"],
    "second-mean": "bertie average {work}/mean {work}/third -o {work}/second-mean",
    "fourth": TRAININGS["fourth"],
    "third-mean": "bertie average {work}/second-mean {work}/fourth -o {work}/third-mean",
    "fifth": TRAININGS["fifth"],
    "run": "bertie average {work}/third-mean {work}/fifth -o {work}/run",
    "quantize": "bertie quantize {work}/run {work}/int8 --check {data}/emotions/dev.csv",
}
EXAMPLES = (
    "She opened the [MASK] and walked into the garden.",
    "He drank a cup of [MASK].",
    "The ship sailed into the [MASK] at dawn.",
    "I have never seen such a [MASK] film.",
    "London is the capital of [MASK].",
)
# Training parts of labelled data, of which the texts alone are read, for modern and spoken English; and how many rows
# make a document: of a document of one sentence, nothing ever follows, and short texts would be known by that.
OTHERS = {"reviews": 1, "sentiment": 20, "emotions": 20}
# the end of a sentence in reviews, whose tokens are parted by blanks and have no capital letters
END = re.compile(r" ([.!?])(?= )")


def prepare(work: Path) -> None:
    """Write shards of the corpus, without the novels that score the model, and of the other texts."""
    if not (work / "documents.jsonl").exists():
        write_documents(work / "documents.jsonl")
    _run_step("prepare", work)


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


def score(work: Path) -> None:
    """Write the figures of the model as it was trained and as it is shipped, and its teacher's."""
    found = {
        "wide": model_figures.figures(work / "run", on_bertie=False),
        "int8": model_figures.figures(work / "int8", True),
    }
    (work / "figures.json").write_text(json.dumps({**found, "teacher": model_figures.spearman()}), encoding="utf-8")


def ship(work: Path) -> None:
    """Put the model, its card and what it says in the pages in the place of those in the repository."""
    for name in FILES:
        shutil.copyfile(work / "int8" / name, MODEL / name)
    figures = json.loads((work / "figures.json").read_text(encoding="utf-8"))
    manifest = json.loads((work / "data" / "manifest.json").read_text(encoding="utf-8"))
    tokens = f"{sum(shard['tokens'] for shard in manifest['train']) / 1e6:.0f} million"
    commands = "\n".join(f"$ {command(step, Path('WORK'), 'DATA')}" for step in COMMANDS)
    answers = bertie.pipeline("fill-mask")(list(EXAMPLES), top_k=4)
    rows = (
        f"| {text} | {', '.join('{token_str} ({score:.2f})'.format(**one) for one in answer)} |"
        for text, answer in zip(EXAMPLES, answers, strict=True)
    )
    read = "; ".join(_read_by(work / training) for training in TRAININGS)
    figures |= {"tokens": tokens, "read": read, "commands": commands, "examples": "\n".join(rows)}
    (MODEL / "README.md").write_text(CARD.read_text(encoding="utf-8").format(**figures), encoding="utf-8")
    for page in PAGES:
        page.write_text(SHOWN.sub(printed, page.read_text(encoding="utf-8")), encoding="utf-8")


def _read_by(training: Path) -> str:
    lines = map(json.loads, (training / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    last = max((line for line in lines if "tokens" in line), key=lambda line: line["step"])
    return f"{last['step']:,} steps, {last['tokens'] / 1e6:.1f} million tokens"


def printed(found: re.Match[str]) -> str:
    """Return a command of a page with the line that it prints now."""
    command = f'bertie() {{ {shlex.quote(sys.executable)} -m bertie "$@"; }}\n{found[2]}'
    line = subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]
    return f"{found[1]}{line}"


def command(step: str, work: Path, data: Path | str = DATA) -> str:
    return COMMANDS[step].format(work=work, data=data, start=DEFAULT_EMBEDDING_MODEL)


def _run_step(step: str, work: Path) -> None:
    run(command(step, work))


def run(command: str) -> None:
    """Run a command of bertie by the Python that runs this, whether or not its folder is in PATH."""
    print(f"$ {command}", flush=True)
    subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)


STEPS: dict[str, Callable[[Path], None]] = {
    **{step: partial(_run_step, step) for step in COMMANDS},
    "prepare": prepare,
    "score": score,
    "ship": ship,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for all that is made")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"{', '.join(STEPS)}; all of them if none is named")
    asked = parser.parse_args()
    if unknown := [step for step in asked.steps if step not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}; there are {', '.join(STEPS)}")
    asked.work.mkdir(parents=True, exist_ok=True)
    for step in asked.steps or STEPS:
        STEPS[step](asked.work)


if __name__ == "__main__":
    main()
