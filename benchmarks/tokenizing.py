"""Text to ids on one thread beside ``tokenizers``: texts of three kinds at first sight and seen, one query, and floods.

First sight means a new tokenizer for every pass, which knows its vocabulary and has met no text. Both take turns in
one process; the median of the passes counts. Ids are compared before anything is timed.
"""

import os

os.environ.update({"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"})

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

import bertie
import texts
from bertie.hub import default_embedding_model
from comparison.machine import describe

MODEL = Path(default_embedding_model())
LATIN, CYRILLIC = "abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщъыьэюя"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="passes of each tokenizer over each kind of texts")
    rounds = parser.parse_args().rounds
    ours = bertie.BertTokenizer.from_pretrained(MODEL)
    theirs = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    print(f"One thread; {describe()}; medians of {rounds} passes.\n")
    print(
        "| texts | characters each | tokenizers MB/s | first sight MB/s | × | seen MB/s | × | packed, seen MB/s | × |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, found in kinds().items():
        print(_row(name, found, ours, theirs, rounds), flush=True)
    print("\n| one query | tokenizers | lists | packed |\n|---|--:|--:|--:|")
    print(_query(ours, theirs))
    print("\n| flood, first sight | million characters | s | s with offsets | tokenizers s |\n|---|--:|--:|--:|--:|")
    for name, text in floods().items():
        print(_flood(name, text, ours, theirs), flush=True)


def kinds() -> dict[str, list[str]]:
    """Return the texts by their kind."""
    prose = texts.prose(2_000_000)
    return {"prose": prose, "short texts": texts.short(10_000), "few short texts": texts.short(1000)} | {
        "reviews": texts.documents(200)
    }


def floods() -> dict[str, str]:
    """Return texts of one kind of word or character."""
    chance = random.Random(0)

    def words(letters: str) -> str:
        return " ".join("".join(chance.choices(letters, k=99)) for _ in range(20_000))

    return {
        "99-letter words, Latin": words(LATIN),
        "99-letter words, Cyrillic": words(CYRILLIC),
        "no space": "".join(chance.choices(LATIN, k=1_000_000)),
        "signs": "a." * 500_000,
        "combining accents": "a" + "\u0301" * 1_000_000,
        "accented letters": "e\u0301" * 500_000,
        "ideographs": "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(1_000_000)),
        "marks that tokenizers must read": "a\u302e " * 300_000,
    }


def _row(name: str, found: Sequence[str], ours: Any, theirs: Any, rounds: int) -> str:
    def ids(tokenizer: Any) -> Any:
        return tokenizer(found, verbose=False)["input_ids"]

    expected = [row.ids for row in theirs.encode_batch_fast(found)]
    if ids(copy.deepcopy(ours)) != expected:
        raise SystemExit(f"{name}: the ids differ")
    seconds: dict[str, list[float]] = {"theirs": [], "new": [], "seen": [], "packed": []}
    for _ in range(rounds):
        fresh = copy.deepcopy(ours)
        seconds["theirs"].append(_time(lambda: [row.ids for row in theirs.encode_batch_fast(found)]))
        seconds["new"].append(_time(lambda fresh=fresh: ids(fresh)))
        seconds["seen"].append(_time(lambda fresh=fresh: ids(fresh)))
        seconds["packed"].append(_time(lambda fresh=fresh: fresh(found, verbose=False, return_tensors="packed")))
    size = sum(len(text.encode()) for text in found) / 1e6
    base = statistics.median(seconds.pop("theirs"))
    cells = [name, f"{sum(map(len, found)) / len(found):.0f}", f"{size / base:.1f}"]
    for each in map(statistics.median, seconds.values()):
        cells += [f"{size / each:.1f}", f"{base / each:.1f}"]
    return f"| {' | '.join(cells)} |"


def _query(ours: Any, theirs: Any) -> str:
    ways: list[Callable[[str], Any]] = [
        lambda text: theirs.encode(text).ids,
        lambda text: ours(text)["input_ids"],
        lambda text: ours(text, return_tensors="packed"),
    ]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(300):
        for way, found in zip(ways, times, strict=True):
            found += [_time(lambda text=text, way=way: way(text)) for text in texts.QUESTIONS]
    return f"| median | {' | '.join(f'{statistics.median(found) * 1e6:.0f} µs' for found in times)} |"


def _flood(name: str, text: str, ours: Any, theirs: Any) -> str:
    plain, placed = copy.deepcopy(ours), copy.deepcopy(ours)
    times = [
        _time(lambda: plain(text, verbose=False)),
        _time(lambda: placed(text, verbose=False, return_offsets_mapping=True)),
        _time(lambda: theirs.encode(text).ids),
    ]
    return f"| {name} | {len(text) / 1e6:.1f} | {' | '.join(f'{seconds:.2f}' for seconds in times)} |"


def _time(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - begin
    del found
    return seconds


if __name__ == "__main__":
    main()
