"""The rows that are learned from and scored on: real data, seeded subsets, and what a script makes of it."""

import csv
import json
import lzma
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

Row = dict[str, Any]
Read = Callable[[str], list[Row]]
"""``train`` or ``dev`` → all rows of that part."""

CHOICES = 4
# of a made choice, characters of each sentence
SHORTEST, LONGEST = 40, 160
# prompts made of each document
PROMPTS = 60
# of questions with an answer, how many are asked again of another article's paragraph
UNANSWERABLE = 0.5


def sampled(rows: Sequence[Row], count: int | None, names: Callable[[Row], Sequence[str]]) -> list[Row]:
    """Return all rows shuffled by a fixed seed, or the first ``count``; rows with a label not seen yet come first.

    A label that is in dev is so in every subset of train as well.
    """
    rows = list(rows)
    random.Random(0).shuffle(rows)
    seen: set[str] = set()
    first, rest = [], []
    for row in rows:
        (rest if seen.issuperset(names(row)) else first).append(row)
        seen.update(names(row))
    return [*first, *rest][:count]


def no_names(row: Row) -> Sequence[str]:
    """Return no label names: what the rows hold are numbers."""
    del row
    return ()


def labelled(name: str) -> Read:
    """Return what reads texts with one label."""
    return partial(_table, name)


def emotions(part: str) -> list[Row]:
    """Return texts with several labels."""
    return [{"text": row["text"], "labels": row["labels"].split("|")} for row in _table("emotions", part)]


def similarity(part: str) -> list[Row]:
    """Return pairs of sentences with a score from 0 to 5."""
    return [{**row, "score": float(row["score"])} for row in _table("similarity", part)]


def entities(part: str) -> list[Row]:
    """Return words with tags."""
    found: list[Row] = []
    for block in (DATA / "entities" / f"{part}.conll").read_text(encoding="utf-8").split("\n\n"):
        pairs = [line.split("\t") for line in block.splitlines() if line.strip()]
        if pairs:
            found.append({"words": [pair[0] for pair in pairs], "tags": [pair[-1].strip() for pair in pairs]})
    return found


def questions(part: str) -> list[Row]:
    """Return questions that their context answers."""
    return [{name: row[name] for name in ("id", "question", "context", "answers")} for row in _asked(part)]


def unanswerable(part: str) -> list[Row]:
    """Return the same, and half of the questions once more with a paragraph of another article and no answer."""
    chance, asked = random.Random(1), _asked(part)
    found = questions(part)
    for row in asked:
        if chance.random() < UNANSWERABLE:
            other = chance.choice([each for each in asked if each["title"] != row["title"]])
            found.append(
                {
                    "id": f"{row['id']}-none",
                    "question": row["question"],
                    "context": other["context"],
                    "answers": {"text": [], "answer_start": []},
                }
            )
    return found


def choices(part: str) -> list[Row]:
    """Return sentences of novels, and which of four sentences of the same novel follows.

    Dev is made of the novels that `heldout.txt` names, which no pretraining of the start has seen.
    """
    held = set((DATA / "heldout.txt").read_text(encoding="utf-8").split())
    chance, found = random.Random(2), []
    for source, text in _novels():
        if (source in held) == (part == "dev"):
            found += _choices_of(text, chance)
    return found


def _choices_of(text: str, chance: random.Random) -> Iterator[Row]:
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    fits = [SHORTEST <= len(sentence) <= LONGEST for sentence in sentences]
    follows = [place for place in range(1, len(sentences)) if fits[place - 1] and fits[place]]
    for place in chance.sample(follows, min(PROMPTS, len(follows))):
        others = chance.sample([other for other in follows if other != place], CHOICES - 1)
        texts = [sentences[other] for other in (place, *others)]
        order = chance.sample(range(CHOICES), CHOICES)
        yield {
            "prompt": sentences[place - 1],
            "choices": [texts[number] for number in order],
            "label": order.index(0),
        }


def _novels() -> Iterator[tuple[str, str]]:
    with lzma.open(DATA / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for record in map(json.loads, file):
            if record["source"].startswith("novel/"):
                yield record["source"], record["text"]


def _asked(part: str) -> list[Row]:
    """Return the questions of a file in SQuAD's layout, with the title of their article."""
    articles = json.loads((DATA / "questions" / f"{part}.json").read_text(encoding="utf-8"))["data"]
    return [
        {
            "id": asked["id"],
            "title": article["title"],
            "question": asked["question"],
            "context": paragraph["context"],
            "answers": {name: [answer[name] for answer in asked["answers"]] for name in ("text", "answer_start")},
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


def _table(name: str, part: str) -> list[Row]:
    with (DATA / name / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]
