"""Several fine-tunings of one plan, one per seed or fold: all are scored, and the best is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bertie.finetuning.plan import Job, Plan
from bertie.finetuning.resuming import FOLD, SEED
from bertie.finetuning.run import Outcome, learn, prepare, scored
from bertie.finetuning.run_folder import remove_state, write_folder
from bertie.finetuning.run_report import Runs
from bertie.progress import logger
from bertie.training import is_first


def run_seeds(plan: Plan, seeds: Sequence[int]) -> tuple[Outcome, Runs]:
    """Train a model per seed, on the same rows."""
    [job] = prepare(plan)
    plans = {number: replace(plan, settings=replace(plan.settings, seed=number)) for number in seeds}
    return _run_all("seed", SEED, {number: replace(job, plan=each) for number, each in plans.items()})


def run_folds(plan: Plan) -> tuple[Outcome, Runs]:
    """Cross-validate: train a model per fold, each scored on its own fold and trained on the others."""
    return _run_all("fold", FOLD, dict(enumerate(prepare(plan), 1)))


def _run_all(what: str, folder: str, jobs: Mapping[int, Job]) -> tuple[Outcome, Runs]:
    """Return the outcome that is best on dev (on a tie, the first), and the metrics of all."""
    best: Outcome | None = None
    runs = Runs(what)
    out = next(iter(jobs.values())).plan.out
    for number, job in jobs.items():
        own = None if out is None else out / f"{folder}{number}"
        outcome = scored(learn(replace(job, plan=replace(job.plan, out=own))))
        runs.metrics[number] = outcome.scored.metrics
        if own is not None:
            write_folder(outcome)
        if best is None or _score(outcome) > _score(best):
            best, runs.kept = outcome, number
    assert best is not None  # there are several jobs
    for name, (mean, deviation) in runs.spread().items():
        logger.info("%s over %d %ss: %.4f ± %.4f", name, len(jobs), what, mean, deviation)
    if out is not None:
        best.job = replace(best.job, plan=replace(best.job.plan, out=out))
        write_folder(best, runs)
        for number in jobs if is_first() else ():
            remove_state(out / f"{folder}{number}")
    return best, runs


def _score(outcome: Outcome) -> float:
    score = outcome.history.best_score
    return float("-inf") if score is None else score
