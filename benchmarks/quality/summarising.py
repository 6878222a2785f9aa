"""Two BERTs that learn to name a paragraph's most telling sentence: begun with a trained BERT, and from scratch.

python benchmarks/quality/summarising.py WORK                     # all pairs, hours on two cores
python benchmarks/quality/summarising.py WORK --pairs 64 --dev-pairs 16 --steps 4 --threads 1      # a try

The pairs are made of ``../shared/data/corpus.jsonl.xz``: a source is a paragraph of 3 to 8 sentences, its target the
one of them that shares most words (F1) with all others, as Zhang et al. 2020 (PEGASUS, section 3.1) choose it; here it
stays in the source, so that a model has to find it and to write it down. Those to score on come from the ten novels of
``heldout.txt``, which no training of the start has read. Beside both models stands what needs none: the first sentence.

WORK gets the pairs, the two runs, and ``summarising.json`` (figures, curves, samples) with ``summarising.png``. A run
that was interrupted goes on.
"""

import argparse
import json
import lzma
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import DATA, Row

SEED, LEAST, MOST = 0, 3, 8
# characters of a paragraph and of its target
PARAGRAPH, SENTENCE = (200, 1_200), (40, 160)
SAMPLES = 8
START = DATA.parent / "models" / "bertie-mini-uncased"
_EMPTY_LINES = re.compile(r"\n\s*\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="a folder for all that is made")
    parser.add_argument("--pairs", type=int, default=40_000, help="to learn from")
    parser.add_argument("--dev-pairs", type=int, default=500, help="to score on")
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--start", type=Path, default=START, help="the BERT that both halves begin as")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    # before torch is imported: it reads the number of threads once
    os.environ.update(OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    options.work.mkdir(parents=True, exist_ok=True)
    rows = {part: _kept(options.work / f"{part}.jsonl", part, count) for part, count in _sizes(options).items()}
    found = {"pairs": {part: len(each) for part, each in rows.items()}, "the first sentence": _first(rows["dev"])}
    for name, start in (("warm start", options.start), ("from scratch", _untrained(options))):
        found[name] = _learned(name, start, options)
        (options.work / "summarising.json").write_text(json.dumps(found, indent=1, ensure_ascii=False))
    _draw(found, options.work / "summarising.png")
    for name in ("the first sentence", "warm start", "from scratch"):
        print(name, {figure: round(value, 3) for figure, value in found[name]["figures"].items()})
    for sample in found["warm start"]["samples"]:
        print(json.dumps(sample, indent=1, ensure_ascii=False))


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    return {"train": options.pairs, "tune": max(options.dev_pairs // 4, 4), "dev": options.dev_pairs}


# pairs


def pairs(part: str, count: int) -> list[Row]:
    """Return so many pairs: ``dev`` of the held-out novels, ``train`` and ``tune`` of documents of their own."""
    held = set((DATA / "heldout.txt").read_text(encoding="utf-8").split())
    found: list[Row] = []
    with lzma.open(DATA / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for number, record in enumerate(map(json.loads, file)):
            own = "dev" if record["source"] in held else "tune" if number % 20 == 7 else "train"
            if own == part:
                found += pairs_of(record["text"])
            if len(found) >= 4 * count and part != "dev":
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
    return {"figures": scores.figures(), "intervals": scores.intervals()}


def _untrained(options: argparse.Namespace) -> Path:
    """Return a BERT of the same sizes and vocabulary that has learned nothing."""
    import torch

    import bertie

    folder = options.work / "untrained"
    torch.manual_seed(SEED)
    bertie.BertForMaskedLM(bertie.BertConfig.from_pretrained(options.start, dtype=None)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(options.start).save_pretrained(folder)
    return folder


def _learned(name: str, start: Any, options: argparse.Namespace) -> dict[str, Any]:
    import bertie

    out, work = options.work / name.replace(" ", "-"), options.work
    settings = bertie.Settings(
        steps=options.steps,
        learning_rate=options.learning_rate,
        batch_size=32,
        patience=None,
        evaluate_every=max(options.steps // 10, 1),
        seed=SEED,
    )
    parts = {part: str(work / f"{part}.jsonl") for part in ("tune", "dev")}
    result = (
        _saved(out)
        or bertie.finetune(
            "seq2seq",
            str(work / "train.jsonl"),
            model=str(start),
            out=out,
            settings=settings,
            resume=True,
            max_length=256,
            options={"label_smoothing": 0.1, "max_target_length": 64, "generation": {"no_repeat_ngram_size": 3}},
            **parts,
        ).pipeline
    )
    rows = [json.loads(line) for line in (work / "dev.jsonl").read_text().splitlines()[:SAMPLES]]
    written = [answer["generated_text"] for answer in result([row["source"] for row in rows])]
    figures = json.loads((out / "figures.json").read_text())
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        "figures": figures["metrics"],
        "intervals": figures["intervals"],
        "curve": [{"step": record["step"], **record["figures"]} for record in records if "figures" in record],
        "samples": [{**row, "written": text} for row, text in zip(rows, written, strict=True)],
    }


def _saved(out: Path) -> Any:
    """Return the pipeline of a run that has ended; None of another."""
    import bertie

    return bertie.pipeline("seq2seq", out) if (out / "report.md").exists() else None


def _draw(found: dict[str, Any], path: Path) -> None:
    """Draw loss and ROUGE-L of both by step, on the pairs kept for tuning."""
    from bertie.training import drawing

    if drawing.why_no_plots():
        return
    figure, panels = drawing.new_figure(8, 3, 1, 2)
    for name, colour in (("warm start", drawing.BLUE), ("from scratch", drawing.ORANGE)):
        curve = found[name]["curve"]
        for panel, what in zip(panels, ("loss", "rougeL"), strict=True):
            panel.plot([each["step"] for each in curve], [each[what] for each in curve], color=colour, label=name)
            panel.set(xlabel="step", title=what)
    panels[0].legend(fontsize=8)
    drawing.save_figure(figure, path)


if __name__ == "__main__":
    main()
