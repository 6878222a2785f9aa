"""The texts of the named workloads: real ones, mixed with a fixed seed; without the data sets, from a novel."""

import csv
import json
import lzma
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bertie.data.bundled_texts import book_sentences

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
QUESTIONS = (
    "how do I bake bread without yeast",
    "What is the capital of Australia?",
    "cheap flights to Lisbon in May",
    "python read csv file line by line",
    "symptoms of iron deficiency",
    "Who wrote Treasure Island?",
    "how long does it take to learn the piano",
    "best way to remove rust from tools",
    "difference between a lake and a pond",
    "does my cat dream",
)


def mixed(count: int) -> list[str]:
    """Return short and long texts: single sentences and, one in eight, whole reviews."""
    if not DATA.is_dir():
        return random.Random(0).sample(book_sentences(), count)
    found = column("sentiment")[: count - count // 8] + column("reviews")[: count // 8]
    random.Random(0).shuffle(found)
    return found


def documents(count: int) -> list[str]:
    """Return whole reviews, or passages of the novel with a similar spread of lengths."""
    if DATA.is_dir():
        return column("reviews")[:count]
    book, chance = iter(book_sentences() * 10), random.Random(0)
    return [" ".join(next(book) for _ in range(chance.randint(10, 60))) for _ in range(count)]


def short(count: int) -> list[str]:
    """Return single sentences."""
    if DATA.is_dir():
        return (column("sentiment") + column("sentiment", "train"))[:count]
    return [sentence for text in book_sentences() for sentence in text.split(". ")][:count]


def prose(characters: int) -> list[str]:
    """Return the paragraphs of novels, about ``characters`` in all."""
    found: list[str] = []
    for text in _novels():
        found += [paragraph for paragraph in map(_one_line, text.split("\n\n")) if paragraph]
        if sum(map(len, found)) >= characters:
            break
    return found


def _novels() -> Iterator[str]:
    if not DATA.is_dir():
        yield "\n\n".join(book_sentences())
        return
    with lzma.open(DATA / "corpus.jsonl.xz", "rt", encoding="utf-8") as file:
        for record in map(json.loads, file):
            if record["source"].startswith("novel/"):
                yield record["text"][:300_000]


def _one_line(paragraph: str) -> str:
    return " ".join(paragraph.split())


def full(count: int, at_least: int, length: Callable[[str], int]) -> list[str]:
    """Return texts of ``at_least`` tokens each, joined from real ones."""
    found, waiting = [], iter(documents(100) * 20)
    while len(found) < count:
        text = next(waiting)
        while length(text) < at_least:
            text = f"{text} {next(waiting)}"
        found.append(text)
    return found


def cut_to(tokens: int, texts: Iterable[str], length: Callable[[str], int]) -> list[str]:
    """Return the texts, each cut at a word boundary to nearly ``tokens`` tokens, and no more."""
    found = []
    for text in texts:
        words = text.split()[:tokens]
        while length(" ".join(words)) > tokens:
            words.pop()
        found.append(" ".join(words))
    return found


def column(name: str, part: str = "dev") -> list[str]:
    """Return the texts of a split of a data set."""
    with (DATA / name / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]
