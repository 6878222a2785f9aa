"""What a default model is worth: words and sentences of novels that it never saw, and its sentence vectors."""

import json
import lzma
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import bertie
from bertie.data.sentences import sentences
from bertie.hub import DEFAULT_EMBEDDING_MODEL

SHARED = Path(__file__).resolve().parents[3] / "shared"
CORPUS, HELD_OUT = SHARED / "data" / "corpus.jsonl.xz", SHARED / "data" / "heldout.txt"
SIMILARITY = SHARED / "data" / "similarity" / "dev.csv"
TOOL = SHARED / "tools" / "heldout_figures.py"
# the tool imports transformers; bertie, which has its class names, computes an int8 model as it is
ON_BERTIE = "import sys, bertie, runpy; sys.modules['transformers'] = bertie; "
RUN = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
FIGURES = re.compile(r"loss (?P<loss>[\d.]+), accuracy (?P<accuracy>[\d.]+); .* accuracy (?P<next_sentence>[\d.]+)")
PAIRS = 1_000


def figures(model: Path, on_bertie: bool) -> dict[str, float]:
    """Return all figures of a folder; masked words and pairs as transformers computes them, or bertie."""
    found = {**heldout(model, on_bertie), "short_pairs": short_pairs(model), "spearman": spearman(str(model))}
    print(json.dumps({"model": str(model), **found}), flush=True)
    return found


def heldout(model: Path, on_bertie: bool) -> dict[str, float]:
    novels = ",".join(HELD_OUT.read_text(encoding="utf-8").split())
    program = ON_BERTIE + RUN if on_bertie else RUN
    command = [sys.executable, "-c", program, str(TOOL), str(model), str(CORPUS), "--only", novels]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = FIGURES.search(said)
    if not found:
        raise SystemExit(f"{TOOL} printed {said!r}")
    return {name: float(value) for name, value in found.groupdict().items()}


def short_pairs(model: Path) -> float:
    """Return the share of pairs of two single sentences that are told right: half of them follow in their novel."""
    draw, novels = Random(0), list(heldout_sentences())
    pairs, follows = [], []
    for number in range(PAIRS):
        novel = draw.choice(novels)
        place = draw.randrange(len(novel) - 1)
        follows.append(number % 2 == 0)
        others = [one for one in novels if one is not novel]
        pairs.append((novel[place], novel[place + 1] if follows[-1] else draw.choice(draw.choice(others))))
    answers = bertie.pipeline("next-sentence", str(model), device="cpu")(pairs)
    return sum(answer["is_next"] == right for answer, right in zip(answers, follows, strict=True)) / PAIRS


def heldout_sentences() -> Iterator[list[str]]:
    held_out = set(HELD_OUT.read_text(encoding="utf-8").split())
    with lzma.open(CORPUS, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["source"] in held_out:
                yield [sentence for sentence in sentences(row["text"]) if len(sentence) > 20]


def spearman(model: str = DEFAULT_EMBEDDING_MODEL) -> float:
    """Return the rank correlation of a model's cosines with human scores of similarity."""
    return float(bertie.evaluate("embed", str(SIMILARITY), model=model).metrics["spearman"] or 0)
