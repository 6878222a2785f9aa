"""The trials of a sweep: what optuna proposes is trained and compared, and the best model is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from bertie.data.dataset import Dataset
from bertie.data.split import Splits
from bertie.errors import BertieError, InputError
from bertie.extras import need
from bertie.files import make_folder, write_text
from bertie.finetuning import plots
from bertie.finetuning.plan import Plan
from bertie.finetuning.resuming import LOG, digest_of_rows
from bertie.finetuning.run import Learned, Outcome, learn, scored
from bertie.finetuning.run_folder import write_folder
from bertie.finetuning.search_space import Space, check_space, suggest, usual_space, usual_values, with_values
from bertie.progress import logger
from bertie.training import Event, JsonLines

STUDY, TRIALS, PICTURE = "sweep.log", "trials.jsonl", "sweep.png"
# Nothing is pruned before so many trials are complete, nor in a trial's first epoch.
UNPRUNED = 5
WHAT = "A sweep"


@dataclass(frozen=True)
class Trial:
    """One fine-tuning of a sweep.

    Attributes:
        number: from 0.
        state: "complete", "pruned" (it fell behind the others and was stopped) or "failed" (it diverged).
        score: on the rows kept for tuning, at its best epoch, or of a pruned one its last.
        values: the settings that it was tried with.
        figures: all figures on these rows, at the best epoch.
        seconds: of its training.
        why: it failed.
    """

    number: int
    state: str
    score: float | None
    values: dict[str, Any]
    figures: dict[str, float | None]
    seconds: float
    why: str = ""


class _Failed(Exception):
    """A trial has no score, and the sweep goes on."""


class Search:
    """A study of optuna's, and the best model it has led to."""

    def __init__(
        self, plan: Plan, data: Dataset, parts: Splits, space: Space | None, folder: Path | None, prune: bool
    ) -> None:
        self.plan, self.data, self.parts, self.folder, self.prune = plan, data, parts, folder, prune
        self.space = dict(usual_space(plan, len(parts.train)) if space is None else space)
        check_space(self.space)
        with_values(plan, {name: value[0] for name, value in self.space.items()})
        self.optuna: Any = need("optuna", extra="sweep", what=WHAT)
        self.states: Any = self.optuna.trial.TrialState
        self.study = self._study()
        self.kept: tuple[int, float, Learned] | None = None

    def finished(self) -> list[Any]:
        """Return the trials of optuna's that count: all but those that were interrupted."""
        counted = (self.states.COMPLETE, self.states.PRUNED)
        return [each for each in self.study.trials if each.state in counted or "why" in each.user_attrs]

    def trial(self, done: int) -> None:
        """Make one more trial, the one after ``done`` others."""
        # what is tried depends on what was found and on the seed, not on when the sweep was interrupted
        self.study.sampler = self.optuna.samplers.TPESampler(seed=self.plan.settings.seed + done)
        if not done:
            self.study.enqueue_trial(usual_values(self.plan, self.space, len(self.parts.train)), skip_if_exists=True)
        self.study.optimize(self._objective, n_trials=1, catch=_Failed, callbacks=[self._write])

    def best(self) -> Trial:
        """Return the trial of the best score; of equal ones the first."""
        table = self.table()
        complete = [each for each in table if each.state == "complete"]
        if not complete:
            why = next((each.why for each in table if each.why), "all were pruned")
            raise BertieError(f"None of {len(table)} trials gave a score; the first: {why}")
        return max(complete, key=lambda each: (each.score if each.score is not None else -inf, -each.number))

    def outcome(self, best: Trial) -> Outcome:
        """Score the model of a trial on dev, and write the folder."""
        outcome = scored(self._learned(best))
        if self.folder is None:
            return outcome
        outcome = replace(outcome, plan=replace(outcome.plan, out=self.folder, callbacks=()))
        log = JsonLines(self.folder / LOG)
        for record in outcome.history.records:
            log(record)
        table = self.table()
        note = (
            f"These settings are those of trial {best.number}, the best of {len(table)} by its score on the rows "
            f"kept for tuning, {best.score:.4f}: {_listed(best.values)}; {TRIALS} has all trials."
        )
        write_folder(outcome, notes=[note], pictures=self._draw(table, table.index(best)))
        return outcome

    def table(self) -> list[Trial]:
        """Return all trials."""
        named = {self.states.COMPLETE: "complete", self.states.PRUNED: "pruned", self.states.FAIL: "failed"}
        return [
            Trial(
                each.number,
                named[each.state],
                each.value,
                dict(each.params),
                each.user_attrs.get("figures", {}),
                round(each.duration.total_seconds(), 3),
                each.user_attrs.get("why", ""),
            )
            for each in self.finished()
        ]

    def _objective(self, asked: Any) -> float:
        """Return the score of a trial with values that optuna proposes."""
        suggest(asked, self.space)
        try:
            learned = self._learn(asked)
        except BertieError as error:
            # a plain one says that the training diverged: the rate was too high, and other trials need not suffer
            if type(error) is not BertieError:
                raise
            raise _failed(asked, str(error)) from error
        score = learned.history.best_score
        if score is None:
            raise _failed(asked, "its score is undefined on the rows kept for tuning")
        asked.set_user_attr("figures", learned.history.best_figures)
        if self.kept is None or score > self.kept[1]:
            self.kept = asked.number, score, learned
        return score

    def _learn(self, asked: Any) -> Learned:
        def watch(event: Event) -> None:
            record = event.record
            # trials of any batch size are compared after the same epochs
            if event.kind != "evaluation" or record["score"] is None or not float(record["epoch"]).is_integer():
                return
            asked.report(record["score"], int(record["epoch"]))
            if self.prune and asked.should_prune():
                raise self.optuna.TrialPruned

        plan = replace(with_values(self.plan, asked.params), callbacks=(watch,))
        learned = learn(plan, self.data, self.parts)
        assert learned is not None
        return learned

    def _learned(self, best: Trial) -> Learned:
        """Return the model of a trial; that of an earlier session is trained again, to the same weights."""
        if self.kept is not None and self.kept[0] == best.number:
            return self.kept[2]
        learned = learn(with_values(self.plan, best.values), self.data, self.parts)
        assert learned is not None
        return learned

    def _write(self, *_: Any) -> None:
        if self.folder is not None:
            write_text(self.folder / TRIALS, "".join(json.dumps(asdict(each)) + "\n" for each in self.table()))

    def _study(self) -> Any:
        """Return the study in the folder, or a new one."""
        made: Any = self.optuna.storages
        storage = None
        if self.folder is not None:
            make_folder(self.folder)
            backend = need("optuna.storages.journal", extra="sweep", what=WHAT).JournalFileBackend
            storage = made.JournalStorage(backend(str(self.folder / STUDY)))
        study = self.optuna.create_study(
            storage=storage,
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            pruner=self.optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=1),
        )
        begun = json.loads(json.dumps(self._identity()))
        before = study.user_attrs.get("begun", begun)
        for name, value in begun.items():
            if before.get(name) != value:
                raise InputError(f"The sweep in {str(self.folder)!r} was begun with another {name}; give another out.")
        study.set_user_attr("begun", begun)
        for each in study.trials:
            if each.state == self.states.RUNNING:
                study.tell(each.number, state=self.states.FAIL)
        return study

    def _identity(self) -> dict[str, Any]:
        plan, parts = self.plan.to_dict(), self.parts
        data = digest_of_rows(parts.train, parts.tune, parts.dev)
        return {"model": plan["model"], "space": self.space, "plan": plan, "data": data}

    def _draw(self, table: Sequence[Trial], best: int) -> dict[str, str]:
        if plots.why_no_plots() or self.folder is None:
            return {}
        logarithmic = [name for name, value in self.space.items() if isinstance(value, tuple) and value[2:]]
        plots.draw_sweep([(each.values, each.score) for each in table], best, logarithmic, self.folder / PICTURE)
        return {PICTURE: f"score of {len(table)} trials on the rows kept for tuning, by setting; orange: kept"}


def _failed(asked: Any, why: str) -> _Failed:
    """Note and log why a trial has no score."""
    asked.set_user_attr("why", why)
    logger.warning("Trial %d failed: %s", asked.number, why)
    return _Failed(why)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
