"""Text to ids on one thread: bertie, ``tokenizers``, and nanotoken if installed, on prose, 194 languages and one query.

"First sight" is the first call of a new tokenizer with an empty cache, "seen" the same call again. All take turns in
one process; the median processor time of the passes counts. Ids are compared before anything is timed.
"""

import os

os.environ.update({"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"})

import argparse
import copy
import importlib.util
import json
import lzma
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

import bertie
import texts
from bertie.hub import default_embedding_model
from bertie.kernels.text_reader import Cut
from bertie.tokenization.rows import flat_ids
from comparison.machine import describe

MODEL = Path(default_embedding_model())
LATIN, CYRILLIC = "abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщъыьэюя"
HAS_NANOTOKEN = importlib.util.find_spec("nanotoken") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="passes of each tokenizer over each kind of texts")
    parser.add_argument("--floods", action="store_true", help="also adversarial texts")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    ours = bertie.BertTokenizer.from_pretrained(MODEL)
    theirs = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    print(f"One thread; {describe()}; medians of {rounds} passes, MB/s.\n")
    for name, found in kinds().items():
        print(_kind(name, found, ours, theirs, rounds), flush=True)
    print("\n| one query | tokenizers | lists | packed |\n|---|--:|--:|--:|")
    print(_query(ours, theirs))
    print(_more(ours))
    if not arguments.floods:
        return
    print("\n| flood, first sight | million characters | s | s with offsets | tokenizers s |\n|---|--:|--:|--:|--:|")
    for name, text in floods().items():
        print(_flood(name, text, ours, theirs), flush=True)


def kinds() -> dict[str, list[str]]:
    """Return the texts, by kind."""
    found = {"prose": texts.prose(4_000_000), "short texts": texts.short(10_000), "reviews": texts.documents(200)}
    languages = texts.DATA / "languages.jsonl.xz"
    if languages.is_file():
        with lzma.open(languages, "rt", encoding="utf-8") as file:
            found["languages"] = [line for record in file for line in json.loads(record)["text"].split("\n") if line]
    return found


def floods() -> dict[str, str]:
    """Return adversarial texts, each of one kind of word or character."""
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


def _kind(name: str, found: Sequence[str], ours: Any, theirs: Any, rounds: int) -> str:
    def packed(tokenizer: Any) -> Any:
        return flat_ids(tokenizer.rows(found)).ids

    def placed(tokenizer: Any) -> Any:
        return tokenizer._backend._reader.read(found, Cut(), with_spans=True).spans

    expected = [id_ for row in theirs.encode_batch_fast(found) for id_ in row.ids]
    if packed(ours).tolist() != expected:
        raise SystemExit(f"{name}: the ids differ")
    seconds: dict[str, list[float]] = {}

    def took(way: str, run: Callable[[], Any]) -> None:
        seconds.setdefault(way, []).append(_time(run))

    for _ in range(rounds):
        fresh = copy.deepcopy(ours)
        fresh("hello")
        took("tokenizers, ids of each text", lambda: [row.ids for row in theirs.encode_batch_fast(found)])
        if HAS_NANOTOKEN:
            import nanotoken

            other = nanotoken.Tokenizer(str(MODEL))
            for sight in ("first sight", "seen"):
                took(f"nanotoken, {sight}", lambda other=other: other.encode_batch(found))
        for sight in ("first sight", "seen"):
            took(f"one array, {sight}", lambda fresh=fresh: packed(fresh))
        took("one array and offsets", lambda fresh=fresh: placed(fresh))
        took("lists", lambda fresh=fresh: fresh(found, verbose=False))
    size = sum(len(text.encode()) for text in found) / 1e6
    figures = [f"{way}: {size / statistics.median(times):.1f}" for way, times in seconds.items()]
    return f"{name} ({len(found)} texts, {size:.1f} MB): " + "; ".join(figures)


def _more(ours: Any) -> str:
    """Return the cost of loading, of truncation and of a second thread."""
    loading = statistics.median(_time(lambda: bertie.BertTokenizer.from_pretrained(MODEL)) for _ in range(9))
    first = statistics.median(_time(lambda fresh=fresh: fresh("hello")) for fresh in map(copy.deepcopy, [ours] * 9))
    long = " ".join(texts.prose(2_000_000) * 6)[:10_000_000]
    cut = statistics.median(_time(lambda: ours(long, truncation=True, max_length=512)) for _ in range(9))
    read = statistics.median(
        _time(lambda: flat_ids(ours.rows([long], truncation=True, max_length=512))) for _ in range(9)
    )
    one, two = (_by_the_clock(threads, ours, [texts.prose(4_000_000)] * 8) for threads in (1, 2))
    return (
        f"\nloading {loading * 1e3:.1f} ms, first text {first * 1e3:.1f} ms, {len(long) / 1e6:.0f} million characters "
        f"cut to 512 tokens {cut * 1e3:.2f} ms, with what a pipeline counts {read * 1e3:.2f} ms, "
        f"two threads {one / two:.2f} x one (by the clock)"
    )


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


def _by_the_clock(threads: int, ours: Any, parts: Sequence[Sequence[str]]) -> float:
    """Return the median seconds in which threads that share a tokenizer read ``parts``, after a first pass."""

    def read(part: Sequence[str]) -> None:
        ours._backend._reader.read(part, Cut())

    seconds = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(6):
            begin = time.perf_counter()
            list(pool.map(read, parts))
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def _time(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    found = run()
    seconds = time.process_time() - begin
    del found
    return seconds


if __name__ == "__main__":
    main()
