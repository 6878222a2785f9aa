"""Which examples a model learns from, which settle its options, and which it is scored on: never the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertie.data.dataset import Data, Rows
from bertie.data.example import Example
from bertie.data.split import Key, by_query, by_text, folds, split
from bertie.errors import InputError, counted, spelled
from bertie.report import logger

# The share of train that is kept for tuning, and for scoring where there is no file for it.
SHARE = 0.1
# More examples than this tell nothing more.
MOST = 5_000
_FOR = {"dev": "scoring", "tune": "tuning"}
# Fewer queries than this are too few to part; their passages are parted then.
QUERIES = 3


@dataclass(frozen=True)
class Parts:
    """The three parts of a fine-tuning's data.

    Attributes:
        train: what is learned from.
        tune: what the best epoch, thresholds and temperature are chosen by; empty: the last epoch is kept.
        dev: what the finished model is scored on, and nothing else; empty: it is not scored.
        told: where each part comes from, for the report.
    """

    train: list[Example]
    tune: list[Example]
    dev: list[Example]
    told: dict[str, str]


def parted(data: Data, dev: Any, tune: Any, seed: int, rows: Rows, named: Mapping[str, str]) -> Parts:
    """Return the parts: what no file is given for is split off train, by ``seed``.

    A query's passages are ranked against each other, and go to the same part.
    """
    train, told = data.train, {"train": named["train"]}
    scored, told["dev"] = data.dev, named["dev"]
    if scored is None:
        train, scored = _split_off(train, dev, seed, rows.task, "dev", "nothing is scored")
        told["dev"] = _told(scored)
    kept = tune if is_share(tune) else list(rows.read(tune))
    return _parts(train, kept, scored, seed, rows.task, {**told, "tune": named["tune"]})


def folded(data: Data, count: int, tune: Any, seed: int, rows: Rows, named: Mapping[str, str]) -> list[Parts]:
    """Return the parts of a cross-validation, one entry a fold.

    Each fold is scored on its own part of train; rows to tune on are split off the others.
    """
    train, found = data.train, []
    kept = tune if is_share(tune) else list(rows.read(tune))
    places = folds(train, count, seed, _together(rows.task, train))
    for number, held in enumerate(places, 1):
        others = set(range(len(train))).difference(held)
        scored, rest = ([train[index] for index in sorted(part)] for part in (held, others))
        told = {"train": named["train"], "tune": named["tune"], "dev": f"fold {number} of {count} of {named['train']}"}
        found.append(_parts(rest, kept, scored, seed, rows.task, told))
    return found


def _parts(
    train: list[Example],
    kept: list[Example] | float | None,
    scored: list[Example],
    seed: int,
    task: str,
    told: dict[str, str],
) -> Parts:
    """Return the parts; examples to tune on are split off ``train`` if only their share is given."""
    if not isinstance(kept, list):
        train, kept = _split_off(train, kept, seed + 1, task, "tune", "nothing is tuned")
        told = {**told, "tune": _told(kept)}
    logger.info("%d examples to learn from, %d to tune on, %d to score on.", len(train), len(kept), len(scored))
    return Parts(train, kept, scored, told)


def is_share(part: Any) -> bool:
    """Whether a part is named by its share of train, or left to the default, not given as a source."""
    return part is None or isinstance(part, int | float)


def _split_off(
    train: list[Example], part: float | None, seed: int, task: str, name: str, none: str
) -> tuple[list[Example], list[Example]]:
    share = SHARE if part is None else float(part)
    if not 0 <= share < 1:
        raise InputError(
            f"{spelled(name)} is {part:g}; allowed: a file, or a share of train from 0 ({none}) to below 1."
        )
    together = _together(task, train)
    if share and len(set(map(together, train))) < 2:
        what = "context" if task == "question-answering" else "text"
        raise InputError(
            f"All {len(train):,} rows have the same {what}, and {_FOR[name]} needs another: name a file of its own "
            f"({spelled(name, '…')}), or do without ({spelled(name, 0)}: {none})."
        )
    return split(train, min(share, MOST / len(train)), seed, together) if share else (train, [])


def _together(task: str, train: list[Example]) -> Key:
    """Return what examples that go to the same part have in common."""
    return by_query if task == "reranking" and len(set(map(by_query, train))) >= QUERIES else by_text


def _told(part: list[Example]) -> str:
    return f"{counted(len(part), 'row')} of train, split off and not learned from" if part else "nothing"
