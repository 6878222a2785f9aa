"""Which examples a model learns from, which settle its options, and which it is scored on: never the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertie.errors import InputError
from bertie.finetuning.examples import Data, Rows
from bertie.finetuning.split import split
from bertie.report import logger
from bertie.tasks.example import Example

# The share of train that is kept for tuning, and for scoring where there is no file for it.
SHARE = 0.1
# More examples than this tell nothing more.
MOST = 5_000


@dataclass(frozen=True)
class Parts:
    """The three parts of a fine-tuning's data.

    Attributes:
        train: what is learned from.
        tune: what the best epoch, thresholds and temperature are chosen by; empty: the last epoch is kept.
        dev: what the finished model is scored on, and nothing else.
        told: where each part comes from, for the report.
    """

    train: list[Example]
    tune: list[Example]
    dev: list[Example]
    told: dict[str, str]


def parted(data: Data, tune: Any, seed: int, rows: Rows, named: Mapping[str, str]) -> Parts:
    """Return the parts: what no file is given for is split off train, by ``seed``.

    Args:
        data: train, and dev if there is a file.
        tune: a source of its own, the share of train to keep for it, or None for `SHARE`; 0 keeps nothing.
        seed: of the splits.
        rows: reads ``tune`` if it is a source.
        named: what to call train, dev and tune.

    Raises:
        InputError: no such share; too few examples to split.
    """
    train, told = data.train, {"train": named["train"]}
    dev = data.dev
    told["dev"] = named["dev"]
    if dev is None:
        train, dev = split(train, _share(len(train), SHARE), seed)
        told["dev"] = f"{len(dev)} rows of train, split off and not learned from"
    if tune is None or isinstance(tune, int | float):
        share = SHARE if tune is None else float(tune)
        if not 0 <= share < 1:
            raise InputError(
                f"tune is {tune}; allowed: a share of train, from 0 (nothing is tuned) to below 1; a file."
            )
        train, kept = split(train, _share(len(train), share), seed + 1) if share else (train, [])
        told["tune"] = f"{len(kept)} rows of train, split off and not learned from" if kept else "nothing"
    else:
        kept = list(rows.read(tune))
        told["tune"] = named["tune"]
    logger.info("%d examples to learn from, %d to tune on, %d to score on.", len(train), len(kept), len(dev))
    return Parts(train, kept, dev, told)


def _share(count: int, share: float) -> float:
    return min(share, MOST / count)
