"""The trials of a sweep: optuna proposes settings, each is trained and compared, and the best model is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from inspect import signature
from math import ceil, inf
from pathlib import Path
from typing import Any

from bertie.data.labelling import LabelOptions
from bertie.errors import BertieError, InputError, InputTypeError, nearest, spelled
from bertie.extras import need
from bertie.files import make_folder, write_text
from bertie.finetuning import plots
from bertie.finetuning.model_setup import own_config
from bertie.finetuning.plan import Job, Plan
from bertie.finetuning.resuming import digest_of_rows
from bertie.finetuning.run import Learned, Outcome, learn, scored
from bertie.finetuning.run_folder import write_folder
from bertie.messages import listed
from bertie.progress import logger, progress
from bertie.run_files import LOG
from bertie.settings import BATCH_SIZE, Settings
from bertie.training import Event, JsonLines, drawing

STUDY, TRIALS, PICTURE = "sweep.log", "trials.jsonl", "sweep.png"
# No trial is pruned in its first epoch, or before this many trials are complete.
UNPRUNED = 5
WHAT = "A sweep"
Space = Mapping[str, Any]
_SETTINGS = frozenset(field.name for field in fields(Settings)) - {"seed", "steps"}
_OF_PLAN = ("lora", "class_weights")


@dataclass(frozen=True)
class Trial:
    """One fine-tuning of a sweep."""

    number: int  # from 0
    state: str  # "complete", "pruned" (it fell behind the others and was stopped) or "failed" (it diverged)
    score: float | None  # on dev, at its best epoch; for a pruned trial, at its last
    values: dict[str, Any]  # its settings
    metrics: dict[str, float | None]  # all metrics on dev, at the best epoch
    seconds: float  # of its training
    why: str = ""  # the reason if it failed


class _Failed(Exception):
    """A trial has no score; the sweep continues."""


class Search:
    """An optuna study, whose journal in the folder is the state of the sweep, and its best model so far."""

    def __init__(self, optuna: Any, job: Job, space: Space | None, folder: Path | None, prune: bool) -> None:
        self.optuna, self.job, self.folder, self.prune = optuna, job, folder, prune
        self.space = dict(default_space(job.plan, len(job.parts.train)) if space is None else space)
        check_space(self.space)
        with_values(job.plan, {name: value[0] for name, value in self.space.items()})
        states = optuna.trial.TrialState
        self.states = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        self.study = self._study()
        self.kept: tuple[int, float, Learned] | None = None

    def run(self, trials: int) -> None:
        """Run trials until there are ``trials``."""
        done = len(self.table())
        if not done:
            usual = default_values(self.job.plan, self.space, len(self.job.parts.train))
            self.study.enqueue_trial(usual, skip_if_exists=True)
        with progress("trials", trials, self.job.plan.show_progress) as advance:

            def after(*_: Any) -> None:
                advance(1)
                self._reseed()
                if self.folder is not None:
                    lines = [json.dumps(asdict(each)) + "\n" for each in self.table()]
                    write_text(self.folder / TRIALS, "".join(lines))

            advance(done)
            self._reseed()
            self.study.optimize(self._objective, n_trials=trials - done, catch=_Failed, callbacks=[after])

    def table(self) -> list[Trial]:
        """Return all trials that were not interrupted."""
        return [
            Trial(
                each.number,
                self.states[each.state],
                each.value,
                dict(each.params),
                each.user_attrs.get("metrics", {}),
                round(each.duration.total_seconds(), 3),
                each.user_attrs.get("why", ""),
            )
            for each in self.study.trials
            if self.states.get(each.state) in ("complete", "pruned") or "why" in each.user_attrs
        ]

    def best(self) -> Trial:
        """Return the trial with the best score; on a tie, the first."""
        table = self.table()
        complete = [each for each in table if each.state == "complete"]
        if not complete:
            why = next((each.why for each in table if each.why), "all were pruned")
            raise BertieError(f"None of {len(table)} trials gave a score; the first: {why}")
        return max(complete, key=lambda each: -inf if each.score is None else each.score)

    def outcome(self, best: Trial) -> Outcome:
        """Score the model of a trial on test, and write the folder."""
        if self.kept is not None and self.kept[0] == best.number:
            learned = self.kept[2]
        else:  # a model of an earlier session is trained again, to the same weights
            learned = self._learn(with_values(self.job.plan, best.values))
        outcome = scored(learned)
        if self.folder is None:
            return outcome
        outcome.job = replace(self.job, plan=replace(outcome.job.plan, out=self.folder, callbacks=()))
        log = JsonLines(self.folder / LOG)
        for record in outcome.history.records:
            log(record)
        table = self.table()
        values = (
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in best.values.items()
        )
        note = (
            f"These are the settings of trial {best.number}, the best of {len(table)} by its score on dev, "
            f"{best.score:.4f}: {', '.join(values)}; {TRIALS} has all trials."
        )
        pictures = {}
        if not drawing.why_no_plots():
            logarithmic = [name for name, value in self.space.items() if isinstance(value, tuple) and value[2:]]
            points = [(each.values, each.score) for each in table]
            plots.draw_sweep(points, table.index(best), logarithmic, self.folder / PICTURE)
            what = f"score of {len(table)} trials on dev, by setting; orange: kept"
            pictures = {PICTURE: what}
        write_folder(outcome, notes=[note], pictures=pictures)
        return outcome

    def _reseed(self) -> None:
        """Make proposals depend only on the seed and the results so far, not on interruptions."""
        seed = self.job.plan.settings.seed + len(self.table())
        self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)

    def _objective(self, trial: Any) -> float:
        """Train with the values that optuna proposes, and return the score."""

        def watch(event: Event) -> None:
            record = event.record
            # compared after whole epochs, so that trials of any batch size are comparable
            if event.kind != "evaluation" or record["score"] is None or not float(record["epoch"]).is_integer():
                return
            trial.report(record["score"], int(record["epoch"]))
            if self.prune and trial.should_prune():
                raise self.optuna.TrialPruned

        suggest(trial, self.space)
        try:
            learned = self._learn(replace(with_values(self.job.plan, trial.params), callbacks=(watch,)))
        except BertieError as error:
            # a plain BertieError means that the training diverged: only this trial fails
            if type(error) is not BertieError:
                raise
            raise _failed(trial, str(error)) from error
        score = learned.history.best_score
        if score is None:
            raise _failed(trial, "its score is undefined on dev")
        trial.set_user_attr("metrics", learned.history.best_metrics)
        if self.kept is None or score > self.kept[1]:
            self.kept = trial.number, score, learned
        return score

    def _learn(self, plan: Plan) -> Learned:
        return learn(replace(self.job, plan=plan))

    def _study(self) -> Any:
        """Return the study in the folder, or a new one."""
        storage = None
        if self.folder is not None:
            make_folder(self.folder)
            backend = need("optuna.storages.journal", extra="sweep", what=WHAT).JournalFileBackend
            storage = self.optuna.storages.JournalStorage(backend(str(self.folder / STUDY)))
        study = self.optuna.create_study(
            storage=storage,
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            pruner=self.optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=1),
        )
        plan, parts = self.job.plan.to_dict(), self.job.parts
        data = digest_of_rows(parts.train, parts.dev, parts.test)
        started = json.loads(json.dumps({"model": plan["model"], "space": self.space, "plan": plan, "data": data}))
        if why := _difference(study.user_attrs.get("begun", started), started):
            raise InputError(f"The sweep in {str(self.folder)!r} was started {why}; give another {spelled('out')}.")
        study.set_user_attr("begun", started)
        for each in study.trials:
            if each.state.name == "RUNNING":
                study.tell(each.number, state=self.optuna.trial.TrialState.FAIL)
        return study


def _difference(before: Mapping[str, Any], started: Mapping[str, Any]) -> str:
    """Return how a sweep was started differently than it is to be resumed; empty if it was not."""
    was, plan = before.get("plan") or {}, started["plan"]
    known = {*signature(LabelOptions.of).parameters, *_SETTINGS, "seed", "steps"}
    known |= {field.name for field in fields(Plan)}
    if unknown := sorted({*was, *was.get("settings", ())} - known):
        return f"by a version of bertie that had {listed(unknown)}, which this one cannot resume"
    for name, value in started.items():
        if before.get(name) != value:
            others = [one for one in sorted({*was, *plan}) if was.get(one) != plan.get(one)]
            return f"with another {', '.join(others) if name == 'plan' else name}"
    return ""


def _failed(trial: Any, why: str) -> _Failed:
    trial.set_user_attr("why", why)
    logger.warning("Trial %d failed: %s", trial.number, why)
    return _Failed(why)


def default_space(plan: Plan, rows: int) -> dict[str, Any]:
    """Return the default search space for ``rows`` of training data.

    Rates: 2e-5 to 5e-5 for BERT-base (Devlin et al. 2019, A.3), up to 3e-4 for small models (Turc et al. 2019); with
    LoRA 1e-4 to 2e-3 (Hu et al. 2021, appendix D). Batches of 16 and 32, 2 to 4 epochs (Devlin et al.), up to 20 for
    few rows (Mosbach et al. 2021). Warm-up up to a fifth (a tenth in Devlin et al., 6 % in Liu et al. 2019). Each layer
    at 0.8 to 1 of the rate above it (Clark et al. 2020, Zhang et al. 2021).
    """
    steps = ceil(rows / (plan.settings.examples_in_a_step or BATCH_SIZE))
    max_epochs = max(4, replace(plan.settings, epochs=None, steps=None).epochs_over(steps))
    found: dict[str, Any] = {
        "learning_rate": (1e-5, 3e-4, "log") if plan.lora is None else (1e-4, 2e-3, "log"),
        "epochs": (2, max_epochs),
        "warmup": (0.0, 0.2),
        "layer_decay": (0.8, 1.0),
    }
    if plan.settings.batch_tokens is None:
        found["batch_size"] = [16, 32]
    if plan.settings.steps is not None:
        del found["epochs"]
    if plan.settings.schedule == "triangle":
        del found["warmup"]
    return found


def check_space(space: Space) -> None:
    """Refuse empty ranges, logarithmic ranges from 0, and values that are neither choices nor a range."""
    if not space:
        raise InputError("space is empty; name at least one setting to try, or leave it out.")
    for name, value in space.items():
        if isinstance(value, list) and value:
            continue
        if not isinstance(value, tuple) or not _is_range(value):
            raise InputTypeError(
                f"space[{name!r}] is {value!r:.80}; give a list of choices, a range (low, high), or (low, high, 'log')."
            )
        if not value[0] < value[1] or (len(value) == 3 and value[0] <= 0):
            raise InputError(f"space[{name!r}] is {value!r}; the second must be larger, and with 'log' both above 0.")


def suggest(trial: Any, space: Space) -> None:
    """Have optuna propose a value for everything in the space, in ``trial.params``."""
    for name, value in space.items():
        if isinstance(value, list):
            trial.suggest_categorical(name, value)
        else:
            is_integer = all(isinstance(end, int) for end in value[:2])
            (trial.suggest_int if is_integer else trial.suggest_float)(name, *value[:2], log=len(value) == 3)


def with_values(plan: Plan, values: Mapping[str, Any]) -> Plan:
    """Return the plan with these values of settings, ``lora``, ``class_weights`` and the task's options."""
    options = plan.row.load_trainable().options()
    known = [*sorted(_SETTINGS), *_OF_PLAN, *options]
    for name in values:
        if name not in known:
            raise InputError(f"A sweep cannot vary {name!r}; it can vary {', '.join(known)}.{nearest(name, known)}")
    settings = {name: value for name, value in values.items() if name in _SETTINGS}
    # of two settings that exclude each other, the one in the sweep takes precedence
    for one, other in (("epochs", "steps"), ("batch_size", "batch_tokens"), ("batch_tokens", "batch_size")):
        if settings.get(one) is not None:
            settings.setdefault(other, None)
    own = {name: value for name, value in values.items() if name in _OF_PLAN}
    others = {name: value for name, value in values.items() if name not in _SETTINGS and name not in _OF_PLAN}
    return replace(plan, settings=replace(plan.settings, **settings), options={**plan.options, **others}, **own)


def default_values(plan: Plan, space: Space, rows: int) -> dict[str, Any]:
    """Return the plan's own values for the first trial, where they are in the space."""
    settings = plan.with_learning_rate(own_config(plan.model)).settings
    size = settings.examples_in_a_step
    own = {**settings.to_dict(), **plan.options, "batch_size": size}
    own["epochs"] = settings.epochs_over(ceil(rows / (size or BATCH_SIZE)))
    return {name: own[name] for name, value in space.items() if name in own and _contains(value, own[name])}


def _contains(choices: Any, value: Any) -> bool:
    if isinstance(choices, list):
        return value in choices
    return isinstance(value, int | float) and choices[0] <= value <= choices[1]


def _is_range(value: Sequence[Any]) -> bool:
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in value[:2])
    return numbers and (len(value) == 2 or (len(value) == 3 and value[2] == "log"))
