"""Several fine-tunings of one plan, a model a seed or a model a fold: all are scored, and the best is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bertie.data.dataset import Dataset
from bertie.data.split import Splits
from bertie.finetuning.plan import Plan
from bertie.finetuning.resuming import FOLD, SEED
from bertie.finetuning.run import Outcome, learn, prepare, scored
from bertie.finetuning.run_folder import forget_state, write_folder
from bertie.finetuning.run_report import Runs
from bertie.progress import logger


@dataclass
class Several:
    """What several fine-tunings came to.

    Attributes:
        best: the one that was best on the rows kept for tuning, of equal ones the first.
        number: the seed or fold of that one.
        runs: the figures of all.
    """

    best: Outcome
    number: int
    runs: Runs


def run_seeds(plan: Plan, seeds: Sequence[int]) -> Several | None:
    """Train a model a seed, on the same rows."""
    data, (parts,) = prepare(plan)
    plans = {number: replace(plan, settings=replace(plan.settings, seed=number)) for number in seeds}
    return _all(plan, "seed", SEED, plans, data, dict.fromkeys(seeds, parts))


def run_folds(plan: Plan) -> Several | None:
    """Train a model a fold: each is scored on its own part of the rows, and learns from the others."""
    assert plan.folds is not None
    data, parts = prepare(plan)
    numbers = range(1, plan.folds + 1)
    return _all(plan, "fold", FOLD, dict.fromkeys(numbers, plan), data, dict(zip(numbers, parts, strict=True)))


def _all(
    plan: Plan, what: str, folder: str, plans: dict[int, Plan], data: Dataset, parts: dict[int, Splits]
) -> Several | None:
    """Carry out all plans; of several processes, all but the first get None."""
    found: Several | None = None
    runs = Runs(what)
    for number, each in plans.items():
        out = None if plan.out is None else plan.out / f"{folder}{number}"
        learned = learn(replace(each, out=out), data, parts[number])
        if learned is None:
            continue
        outcome = scored(learned)
        runs.figures[number] = outcome.scored.figures
        if out is not None:
            write_folder(outcome)
        if found is None or _score(outcome) > _score(found.best):
            found = Several(outcome, number, runs)
    if found is None:
        return None
    for name, (mean, deviation) in runs.spread().items():
        logger.info("%s over %d %ss: %.4f ± %.4f", name, len(plans), what, mean, deviation)
    if plan.out is not None:
        found.best = replace(found.best, plan=replace(found.best.plan, out=plan.out))
        runs.kept = found.number
        write_folder(found.best, runs)
        for number in plans:
            forget_state(plan.out / f"{folder}{number}")
    return found


def _score(outcome: Outcome) -> float:
    score = outcome.history.best_score
    return float("-inf") if score is None else score
