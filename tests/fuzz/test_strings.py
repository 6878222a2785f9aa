"""Strings against ``tokenizers``: ids, offsets and words of a hundred thousand texts that are hard in some way.

Every text follows from the seed in its test's name; a failure prints the texts that differ, to be pasted.
"""

import random
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bertie import BertTokenizer

VARIANTS: dict[str, dict[str, Any]] = {
    "uncased": {},
    "cased": {"do_lower_case": False},
    "accents kept": {"strip_accents": False},
    "no Chinese": {"tokenize_chinese_chars": False},
}
SYLLABLES = ["cheung", "uni", "versity", "ing", "the", "x", "É", "ß", "ГОД", "에", "กา", "ﬁ", "İ", "12"]
SIGNS = ["[MASK]", "[SEP]", "[sep]", " ", "  ", "\t", "\x00", "\x85", "\u00ad", "\u200b", "\u2028", "\ufffd", ".", "漢"]


@cache
def assigned() -> list[str]:
    chars = map(chr, range(sys.maxunicode + 1))
    return [char for char in chars if unicodedata.category(char) not in ("Cs", "Cn", "Co")]


@cache
def marks() -> list[str]:
    """Marks of several classes, some of which stay where accents are stripped, and change places."""
    return [char for char in assigned() if unicodedata.combining(char)]


def anything(draw: random.Random) -> str:
    return "".join(draw.choices(assigned(), k=draw.randint(0, 40)))


def marked(draw: random.Random) -> str:
    return "".join(draw.choices([*SYLLABLES, *draw.choices(marks(), k=6)], k=draw.randint(1, 14)))


def long_words(draw: random.Random) -> str:
    words = ("".join(draw.choices(SYLLABLES, k=draw.randint(4, 40))) for _ in range(draw.randint(1, 4)))
    return draw.choice(SIGNS).join(words)


def mixed(draw: random.Random) -> str:
    rare = draw.choices(assigned(), k=3) + draw.choices(marks(), k=3)
    return "".join(draw.choices([*SYLLABLES, *SIGNS, *rare], k=draw.randint(1, 40)))


KINDS: list[Callable[[random.Random], str]] = [anything, marked, long_words, mixed]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_strings(seed: int, kind: Callable[[random.Random], str], variant: str, mini: Path) -> None:
    draw = random.Random(f"{seed} {kind.__name__} {variant}")
    tokenizer = BertTokenizer(mini / "vocab.txt", **VARIANTS[variant])
    tokenizer.add_tokens(["cheun", "É x"])
    rust = tokenizer.backend_tokenizer
    for _ in range(12):
        texts = [kind(draw) for _ in range(250)]
        split = [text.split(" ") for text in texts]
        for given, is_split in ((texts, False), (split, True)):
            rows = tokenizer(given, is_split_into_words=is_split, verbose=False).encodings
            expected = rust.encode_batch(given, is_pretokenized=is_split)
            pairs = zip(given, rows, expected, strict=True)
            wrong = [text for text, row, other in pairs if _known(row) != _known(other)]
            assert not wrong, f"{len(wrong)} differ, the first: {wrong[0]!a}"


def _known(row: Any) -> tuple[Any, ...]:
    return row.ids, row.tokens, row.offsets, row.word_ids
