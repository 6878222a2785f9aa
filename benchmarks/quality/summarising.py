"""Two BERTs that learn to name a paragraph's most telling sentence: begun with a trained BERT, and from scratch.

python benchmarks/quality/summarising.py WORK                                    # 25 minutes of one core
python benchmarks/quality/summarising.py WORK --pairs 64 --test-pairs 16 --steps 8   # a try

The pairs are made of ``../shared/data/corpus.jsonl.xz``: a source is a short paragraph of 3 to 6 sentences, its target
the one of them that shares most words (F1) with all others, as Zhang et al. 2020 (PEGASUS, section 3.1) choose it; here
it stays in the source, so that a model has to find it and to write it down. Of two sentences each shares as much with
the other, so that there have to be three. Those to score on come from the ten novels of ``heldout.txt``, which no
training of the start has read. Beside the models stands what needs none: the first sentence.

WORK gets the pairs, the runs, and ``summarising.json`` (figures, curves, samples) with ``summarising.png``. A run that
was interrupted goes on.
"""

import argparse
import json
import lzma
import os
import random
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import DATA, Row

SEED, LEAST, MOST = 0, 3, 6
# characters of a paragraph and of its target; tokens read and written
PARAGRAPH, SENTENCE = (60, 240), (20, 90)
READ, WRITTEN = 80, 32
RECIPE = [
    *("--batch-size", "32", "--lr", "1e-3", "--patience", "1000"),
    *("--set", "optimizer=muon", "--set", "precision=bf16", "--set", "evaluate_every=50", "--set", "log_every=25"),
]
SAMPLES = 8
START = "bertie-mini-uncased"
RUNS = {"warm start": "tab:blue", "cross-attention anew": "tab:green", "from scratch": "tab:orange"}
_EMPTY_LINES = re.compile(r"\n\s*\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for all that is made")
    parser.add_argument("--pairs", type=int, default=30_000, help="to learn from; there are 16,530")
    parser.add_argument("--test-pairs", type=int, default=400, help="to score on")
    parser.add_argument("--steps", type=int, default=500, help="of each training")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--layers", type=int, default=2, help="of each half: the lowest of the start")
    parser.add_argument("--start", default=START, help="the BERT that both halves begin as")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    # before torch is imported: it reads the number of threads once
    os.environ.update(OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    options.work.mkdir(parents=True, exist_ok=True)
    rows = {part: _kept(options.work / f"{part}.jsonl", part, count) for part, count in _sizes(options).items()}
    found = {"pairs": {part: len(each) for part, each in rows.items()}, "the first sentence": _first(rows["test"])}
    starts = _starts(options)
    for name in options.runs:
        found[name] = _learned(name, starts[name], options)
        (options.work / "summarising.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    _draw(found, options.work / "summarising.png")
    for name in ("the first sentence", *options.runs):
        print(name, {figure: round(value, 3) for figure, value in found[name]["figures"].items()})
    for sample in found[options.runs[0]]["samples"]:
        print(json.dumps(sample, indent=1, ensure_ascii=False))


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {"train": options.pairs, "dev": max(options.test_pairs * 4 // 25, 4), "test": options.test_pairs}


# pairs


def pairs(part: str, count: int) -> list[Row]:
    """Return so many pairs: ``test`` of the held-out novels, ``train`` and ``dev`` of documents of their own."""
    held = set((DATA / "heldout.txt").read_text(encoding="utf-8").split())
    found: list[Row] = []
    with lzma.open(DATA / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for number, record in enumerate(map(json.loads, file)):
            own = "test" if record["source"] in held else "dev" if number % 20 == 7 else "train"
            if own == part:
                found += pairs_of(record["text"])
            if len(found) >= 4 * count and part != "test":
                break
    random.Random(SEED).shuffle(found)
    return found[:count]


def pairs_of(text: str) -> Iterator[Row]:
    """Yield each fitting paragraph with its most telling sentence."""
    from bertie.data.sentences import sentences

    for paragraph in map(str.strip, _EMPTY_LINES.split(text)):
        if not PARAGRAPH[0] <= len(paragraph) <= PARAGRAPH[1]:
            continue
        parts = list(sentences(paragraph))
        if LEAST <= len(parts) <= MOST:
            target = most_telling(parts)
            if SENTENCE[0] <= len(target) <= SENTENCE[1]:
                yield {"source": " ".join(parts), "target": target}


def most_telling(parts: Sequence[str]) -> str:
    """Return the sentence that shares most words with all others, by F1; of equal ones the first."""
    words = [Counter(re.findall(r"\w+", part.lower())) for part in parts]
    every = sum(words, Counter())

    def likeness(own: Counter) -> float:
        rest = every - own
        return 2 * (own & rest).total() / max(every.total(), 1)

    return parts[max(range(len(parts)), key=lambda place: likeness(words[place]))]


def _kept(path: Path, part: str, count: int) -> list[Row]:
    if not path.exists():
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs(part, count)))
    return [json.loads(line) for line in path.read_text().splitlines()]


# runs


def _first(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of the first sentence of each source."""
    from bertie.data.sentences import sentences
    from bertie.metrics import Scores, TextOverlapMetric

    scores = Scores(TextOverlapMetric(lowercase=True))
    scores.add([next(sentences(row["source"])) for row in rows], [(row["target"],) for row in rows])
    return {"figures": scores.metrics(), "intervals": scores.intervals()}


def _starts(options: argparse.Namespace) -> dict[str, Path]:
    """Write what the runs start from, and return the folders.

    That is a trained BERT of few layers; the same as a pair, whose cross-attention has learned nothing; and a BERT of
    these sizes that has learned nothing at all.
    """
    import torch

    import bertie
    from bertie.models.dequantizing import to_train

    sizes = {"num_hidden_layers": options.layers, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    trained = to_train(bertie.BertForMaskedLM.from_pretrained(options.start, **sizes), options.start)
    torch.manual_seed(SEED)
    folders = {name: options.work / f"start-{name.replace(' ', '-')}" for name in RUNS}
    warm, anew, scratch = folders.values()
    trained.save_pretrained(warm)
    bertie.BertForMaskedLM(trained.config).save_pretrained(scratch)
    bertie.EncoderDecoderModel.from_encoder_decoder_pretrained(warm, warm).save_pretrained(anew)
    for folder in folders.values():
        bertie.BertTokenizer.from_pretrained(options.start).save_pretrained(folder)
    return folders


def _learned(name: str, start: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train on the command line, and return the figures, the curve, and what is written for some sources."""
    import bertie

    out, work = options.work / name.replace(" ", "-"), options.work
    if not (out / "report.md").exists():
        command = ["bertie", "finetune", "seq2seq", "--model", start, "--out", out]
        for part in ("train", "dev", "test"):
            command += [f"--{part}", work / f"{part}.jsonl"]
        command += ["--max-length", READ, "--option", f"max_target_length={WRITTEN}", *RECIPE]
        command += ["--set", f"steps={options.steps}", "--seed", SEED, *(["--resume"] if out.exists() else [])]
        print(*command)
        subprocess.run(list(map(str, command)), check=True)
    result = bertie.pipeline("seq2seq", out)
    rows = [json.loads(line) for line in (work / "test.jsonl").read_text().splitlines()[:SAMPLES]]
    written = [answer["generated_text"] for answer in result([row["source"] for row in rows])]
    figures = json.loads((out / "results.json").read_text())
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        "figures": figures["metrics"],
        "intervals": figures["intervals"],
        "curve": [{"step": record["step"], **record["metrics"]} for record in records if "metrics" in record],
        "samples": [{**row, "written": text} for row, text in zip(rows, written, strict=True)],
    }


def _draw(found: dict[str, Any], path: Path) -> None:
    """Draw loss and ROUGE-L of all runs by step, on the pairs of dev."""
    from bertie.training import drawing

    if drawing.why_no_plots():
        return
    figure, panels = drawing.new_figure(8, 3, 1, 2)
    for name in [each for each in RUNS if each in found]:
        curve, colour = found[name]["curve"], RUNS[name]
        for panel, what in zip(panels, ("loss", "rougeL"), strict=True):
            panel.plot([each["step"] for each in curve], [each[what] for each in curve], color=colour, label=name)
            panel.set(xlabel="step", title=what)
    panels[0].legend(fontsize=8)
    drawing.save_figure(figure, path)


if __name__ == "__main__":
    main()
