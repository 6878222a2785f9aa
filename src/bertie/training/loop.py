"""The training loop: gradients, updates, log lines, evaluations, and states to resume from."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from bertie.errors import BertieError, InputError, Stopped, spelled
from bertie.locking import only_process_in
from bertie.memory import keep_freed_memory, limit_primitive_cache, return_freed_memory
from bertie.metrics.streaming import MetricValues
from bertie.progress import Advance, logger, progress
from bertie.settings import Settings
from bertie.training.budget import UNKNOWN, evaluation_is_due, plan, record_plan
from bertie.training.checkpointing import Checkpointer
from bertie.training.data_parallel import data_parallel
from bertie.training.distributed import Processes, processes
from bertie.training.divergence import ADVICE, MAX_REWINDS, WINDOW, describe_bad_step, describe_spike, is_spike
from bertie.training.evaluating import Check, Evaluate, Evaluation, warn
from bertie.training.fingerprint import fingerprint
from bertie.training.grad_accumulation import GradAccumulator, micro_tokens, precision_on
from bertie.training.history import Callback, Event, History, Log, Record
from bertie.training.learner import Learner, Phase
from bertie.training.muon import Muon
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import checkpointed, frozen, groups, same_device, trainable, training_state_preserved
from bertie.training.sampler import Sampler, step_seed
from bertie.training.schedule import lengthen, share_of_rate
from bertie.training.signals import Signals
from bertie.training.sparse_embeddings import sparse_gradients, tables

# steps between returns of freed memory; faulting the pages in again costs the next step a fifth of its time at most
_TRIM_EVERY = 20


def train(
    learner: Learner | Sequence[Phase],
    settings: Settings | None = None,
    *,
    evaluate: Evaluate | None = None,
    metric: str | None = None,
    check: Check | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    more_epochs: int | None = None,
    data: Mapping[str, Any] | None = None,
    log: Log | None = None,
    callbacks: Sequence[Callback] = (),
    show_progress: bool | None = None,
    divisible: bool = True,
    began: float | None = None,
) -> History:
    """Train ``learner.model`` in place; it ends up with the best weights evaluated, or the last without ``evaluate``.

    The result depends only on the learner, the settings and the number of processes: not on how often the run was
    saved, stopped and resumed, unless ``spike_threshold`` sends it back to its last state. PyTorch's random state, the
    model's mode and its ``requires_grad`` are restored afterwards.

    Args:
        learner: the model and its examples, or the phases of a run whose examples change on the way.
        settings: how to train; None: the defaults.
        evaluate: returns metrics of the model, which is in eval mode; called by the first process only.
        metric: the metric that decides which weights are best (higher is better); None: the first.
        check: gets the metrics of every evaluation and returns a warning if they look wrong.
        folder: where states and the best weights are kept; None: in memory, and the run cannot be resumed.
        resume: continue the run in ``folder``, or start it if there is none yet.
        more_epochs: continue the finished run in ``folder`` for this many epochs (see `schedule.lengthen`); with
            ``resume``, continue such epochs that were interrupted.
        data: identifies the data and task (digests, options) as JSON values, by the names that a refusal to resume
            gives them.
        log: receives every log line of the run once; after a resume, the earlier ones first (see `JsonLines`).
        callbacks: called in the first process with each new log line and at the end of each epoch; one that returns
            True ends the training.
        show_progress: True shows a bar, False none, None only on a terminal.
        divisible: False if a step's loss compares its examples with each other, so that it cannot be computed in
            micro-batches.
        began: the time, by ``time.perf_counter``, from which the seconds of the run are counted; None: from this call.

    Raises:
        InputError: the settings do not fit the model, or the run in ``folder`` was started differently.
        BertieError: steps with a loss or gradients that are not finite exceed ``skip_bad_steps``.
        Stopped: a signal stopped the run after its state was saved.
    """
    phases = learner if isinstance(learner, Sequence) else [Phase(learner, 1.0)]
    settings, model, folder = settings or Settings(), phases[0].learner.model, None if folder is None else Path(folder)
    limit_primitive_cache()
    with (
        frozen(model, settings.frozen_layers),
        checkpointed(model, settings.gradient_checkpointing),
        training_state_preserved(model),
        keep_freed_memory(),
        processes(same_device(trainable(model))) as group,
        Signals() as signals,
    ):
        if group.world > 1 and not divisible:
            raise InputError("A loss that compares a step's examples needs one process; start it without torchrun.")
        evaluation = Evaluation(evaluate, metric, check)
        began = time.perf_counter() if began is None else began
        run = _Run(phases, settings, group, signals, evaluation, folder, log, callbacks, data or {}, divisible, began)
        lock = only_process_in(folder) if folder is not None and group.rank == 0 else nullcontext()
        with run.parallel, lock, closing(run.checkpointer), sparse_gradients(run.tables):
            run.begin(resume, more_epochs)
            steps = ("steps", run.history.total)
            unit_and_total = steps if settings.budget is None else ("seconds", round(settings.budget))
            with progress(*unit_and_total, show_progress if group.rank == 0 else False, run.done()) as advance:
                return run.run(advance)


@dataclass
class _Run:
    """One call of `train`: its constants, and the history that changes."""

    phases: Sequence[Phase]
    settings: Settings
    group: Processes
    signals: Signals
    evaluation: Evaluation
    folder: Path | None
    log: Log | None
    callbacks: Sequence[Callback]
    data: Mapping[str, Any]
    divisible: bool
    began: float

    def __post_init__(self) -> None:
        self.model, settings = self.phases[0].learner.model, self.settings
        self.device = same_device(trainable(self.model))
        self.history = History()
        self.precision = precision_on(self.device, settings.precision)
        self.sampler = self._sampler_of(0)
        steps_per_epoch = self.sampler.steps_in(0)
        steps = settings.steps or self.sampler.steps_before(settings.epochs_over(steps_per_epoch))
        self.history.total = steps if settings.budget is None else UNKNOWN
        self.peak_rate = settings.rate_for(getattr(self.model, "config", None))
        self.log_every = settings.log_interval(self.history.total)
        # under a budget, evaluations follow the share of the time, not epochs: their cost must be known early
        self.evaluate_every = (
            settings.evaluation_interval(steps_per_epoch) if settings.budget is None else settings.evaluate_every
        )
        # a GPU updates a whole table faster than it looks up rows, and several processes sum whole gradients
        self.tables = tables(self.model) if self.device.type == "cpu" and self.group.world == 1 else {}
        alike = groups(self.model, settings.weight_decay, settings.layer_decay)
        begun = fingerprint(self.model, self.sampler, settings, self.history.total, self.group.world, self.data)
        self.checkpointer = Checkpointer(self.folder, begun, settings, self.group)
        self.group.broadcast_model(self.model)
        self.parallel = data_parallel(self.model, self.group, self.device, settings.shard)
        made = Muon if settings.optimizer == "muon" else AdamW
        self.optimizer = made(trainable(self.model), alike, tuple(self.tables), self.parallel.total_norm)
        tokens = settings.micro_tokens or micro_tokens(self.device)
        self.gradients = GradAccumulator(self.parallel, tokens, self.precision, whole=not self.divisible)
        self.is_asynchronous = self.device.type != "cpu"  # fetching a number synchronises with the device
        # of the steps that are not fetched yet: number, loss or its terms, norm
        self.pending: list[tuple[int, Tensor, Tensor]] = []
        self.clock = 0.0

    def _set_phase(self, number: int) -> None:
        """Switch to the examples of a phase."""
        self.learner, self.sampler = self.phases[number].learner, self._sampler_of(number)
        self.gradients.set_learner(self.learner, self.sampler.sizes)

    def _sampler_of(self, number: int) -> Sampler:
        settings, learner = self.settings, self.phases[number].learner
        warmup = settings.batch_warmup if number == 0 else 0
        per_step = (settings.examples_in_a_step, settings.batch_tokens, warmup)
        return Sampler(learner.sizes, settings.seed, *per_step, self.history.phases[number])

    def begin(self, resume: bool, more_epochs: int | None) -> None:
        """Set up model and history for a new run, or restore them."""
        total, settings = self.history.total, self.settings
        resumed = self.checkpointer.resume(self.model, self.optimizer, resume or more_epochs is not None)
        self.history = resumed or self.history
        if not self.history.ends and not self.history.plans:
            self.history.total = total
        self._set_phase(len(self.history.phases) - 1)
        lengthen(self.history, more_epochs, resume, self.sampler, self.checkpointer.where)
        self.gradients.tokens = self.history.micro_tokens or self.gradients.tokens
        self.history.settings = self._effective_settings()
        self.clock = self.began - self.history.seconds
        if settings.budget is not None and not self.history.plans:
            record_plan(self.history, UNKNOWN, self._seconds())
        for record in self.history.records:
            self._write(record)
        used = ", ".join(f"{name} {value}" for name, value in self.history.settings.items() if value is not None)
        steps = "" if settings.budget is not None else f", {self.history.total:,} steps"
        logger.info("training on %s%s: %s", self.device, steps, used)
        self.model.train()

    def run(self, advance: Advance) -> History:
        done = self.done()
        advance(0)
        while True:
            if self._phase_is_due():
                self._begin_phase()
            if self._evaluation_is_due():
                self._evaluate()
            if self._epoch_has_ended():
                self._report_epoch()
                continue  # a callback that ends the training has the model evaluated
            if self._is_over():
                return self._end()
            self._step()
            if self.history.step % _TRIM_EVERY == 0:
                return_freed_memory()
            self._log_if_due()
            if number := self._synchronize():
                self._stop(number)
            if self.is_save_due:
                self._save_state(wait=False)
            before, done = done, self.done()
            advance(done - before, self.history.note())

    def done(self) -> float:
        """Return the position of the progress bar: steps, or seconds under a budget."""
        return self.history.step if self.settings.budget is None else self._seconds()

    def _phase_is_due(self) -> bool:
        """Whether the next step belongs to the next phase; a phase without steps is left out."""
        number, history = len(self.history.phases), self.history
        begin = sum(phase.share for phase in self.phases[:number])
        # shares such as 0.9 are not exact in binary
        is_due = number < len(self.phases) and history.progress(history.step) >= begin - 1e-9
        return is_due and history.step < history.total

    def _begin_phase(self) -> None:
        self._fetch_losses()
        self.history.recent.clear()  # losses of longer texts are not comparable
        self.history.phases.append(self.history.step)
        self._set_phase(len(self.history.phases) - 1)
        if self.settings.budget is not None:  # the steps of each phase are timed separately
            record_plan(self.history, self.history.total, self._seconds())

    def _effective_settings(self) -> dict[str, Any]:
        """Return the settings with defaults filled in, without those that do not apply."""
        settings, steps_per_epoch = self.settings, self.sampler.steps_in(0)
        given = settings.to_dict() | {
            "epochs": settings.epochs_over(steps_per_epoch),
            "learning_rate": self.peak_rate,
            "batch_size": settings.examples_in_a_step,
            "precision": self.precision,
            "evaluate_every": self.evaluate_every or (steps_per_epoch if settings.budget is None else None),
            "log_every": self.log_every,
            "micro_tokens": self.gradients.tokens,
            "skip_bad_steps": settings.skip_bad_steps or 0,
        }
        length = next((name for name in ("steps", "budget") if given[name] is not None), "epochs")
        unused = {"epochs", "steps", "budget"} - {length} | {"batch_size" if settings.batch_tokens else "batch_tokens"}
        unused |= {"wsd": set(), "triangle": {"warmup", "cooldown"}}.get(settings.schedule, {"cooldown"})
        return {name: value for name, value in given.items() if name not in unused}

    def _is_over(self) -> bool:
        history, patience = self.history, self.settings.patience
        ended = history.step >= history.total
        history.stopped_early = not ended and patience is not None and history.waited >= patience
        return history.is_over

    def _step(self) -> None:
        step = self.history.step
        examples = self.sampler.examples(step)
        divisor = self.learner.divisor(examples.tolist())
        self.optimizer.zero()
        seed = step_seed(self.settings.seed, step, self.group.rank)
        terms = self.group.sum(self.gradients.compute(examples, divisor, seed, self.device))
        norm = self.optimizer.step(self._learning_rate(step), self.settings.max_grad_norm, terms.sum())
        self.terms = tuple(divisor) if isinstance(divisor, Mapping) else ()
        self.pending.append((step + 1, terms, norm))
        self.history.step = step + 1
        self.history.tokens += int(self.sampler.sizes[examples].sum())

    def _log_if_due(self) -> None:
        """Write a log line if one is due; fetch losses then, or whenever that does not block."""
        due = self.history.step % self.log_every == 0 or self.history.step == self.history.total
        if due or not self.is_asynchronous:
            self._fetch_losses()
        if due:
            rate, epoch = self._learning_rate(self.history.step - 1), self.sampler.epochs_done(self.history.step)
            line = self.history.line_of_steps(epoch, rate, self._seconds())
            self._record("steps", line | ({"phase": len(self.history.phases)} if len(self.phases) > 1 else {}))

    def _fetch_losses(self) -> None:
        if not self.pending:
            return
        numbers = torch.stack([torch.hstack([norm, terms.sum(), terms]) for _, terms, norm in self.pending]).tolist()
        steps, self.pending = [step for step, _, _ in self.pending], []
        for step, (norm, loss, *terms) in zip(steps, numbers, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._skip(step, loss, norm)
            elif self._is_spike(loss):
                self._rewind(step, loss)
                return  # the steps after it continued from its weights
            else:
                self.history.losses.append(loss)
                self.history.norms.append(norm)
                for name, term in zip(self.terms, terms, strict=bool(self.terms)):
                    self.history.terms.setdefault(name, []).append(term)

    def _is_spike(self, loss: float) -> bool:
        """Whether a loss is a spike, after which the run goes back; if not, it joins the losses to compare with."""
        threshold, recent = self.settings.spike_threshold, self.history.recent
        if not threshold:
            return False
        if is_spike(recent, loss, threshold):
            return True
        recent[:] = [*recent, loss][-WINDOW:]
        return False

    def _rewind(self, step: int, loss: float) -> None:
        back = self.checkpointer.rewind(self.model, self.optimizer)
        examples = self.learner.describe(self.sampler.examples(step - 1).tolist())
        message = describe_spike(step, loss, self.history.recent, back, examples)
        self.history.rewound.append([step, step if back is None else back])
        if len(self.history.rewound) > MAX_REWINDS:
            raise BertieError(f"{message} That was spike {len(self.history.rewound)}: lower the learning rate.")
        warn(self.history, message)

    def _skip(self, step: int, loss: float, norm: float) -> None:
        epoch, rate = self.sampler.epochs_done(step - 1), self._learning_rate(step - 1)
        examples = self.sampler.examples(step - 1)
        message = describe_bad_step(self.parallel, self.learner, examples, step, epoch, rate, loss, norm)
        self.history.skipped.append(step)
        if len(self.history.skipped) > (self.settings.skip_bad_steps or 0):
            kept = f" in {self.checkpointer.where!r}" if self._save_state() else ""
            raise BertieError(f"{message.removesuffix('.')}{kept}. {ADVICE}")
        warn(self.history, message)

    def _evaluation_is_due(self) -> bool:
        step = self.history.step
        if self.evaluation.evaluate is None or step == 0 or self.history.evaluated == step:
            return False
        if step >= self.history.total or self.history.asked_to_stop:
            return True
        if self.evaluate_every:
            return step % self.evaluate_every == 0
        if self.settings.budget is None:
            return self.sampler.locate(step)[1] == 0
        return evaluation_is_due(self.settings.budget, self.history)

    def _evaluate(self) -> None:
        self._fetch_losses()
        history, begun = self.history, self._seconds()
        with self.parallel.whole():
            metrics = self.evaluation.metrics(self.model, history, self.group, self.signals)
            best = metrics is not None and self._track_best(metrics)
        if metrics is None:
            self._stop(self.group.maximum(self.signals.received)[0])
        score = self.evaluation.score(metrics)
        found = {"metrics": dict(metrics), "score": score, "is_best": best, "seconds": round(self._seconds(), 3)}
        epoch = round(self.sampler.epochs_done(history.step), 4)
        self._record("evaluation", {"step": history.step, "epoch": epoch, **found})
        took = self._seconds() - begun
        # by the first process's clock: all processes must agree on when the next evaluation is due
        history.evaluating, history.overhead = self.group.broadcast(
            (history.evaluating + took, took + self.checkpointer.seconds)
        )
        self._synchronize()

    def _track_best(self, metrics: MetricValues) -> bool:
        history, score = self.history, self.evaluation.score(metrics)
        best = history.is_better(score)
        history.evaluated, history.waited = history.step, 0 if best else history.waited + 1
        if best:
            history.best_step, history.best_score, history.best_metrics = history.step, score, metrics
            if self.settings.keep_best:
                self.checkpointer.keep_best(self.model, history.step)
        return best

    def _epoch_has_ended(self) -> bool:
        step = self.history.step
        return bool(self.callbacks) and step not in (0, self.history.told) and self.sampler.locate(step)[1] == 0

    def _report_epoch(self) -> None:
        self._fetch_losses()
        history = self.history
        history.told = history.step
        epoch = self.sampler.locate(history.step)[0]
        self._call_callbacks("epoch", {"step": history.step, "epoch": epoch, "seconds": round(self._seconds(), 3)})
        self._synchronize()

    def _synchronize(self) -> int:
        """Share signals and decisions among all processes; return the signal at which they save and stop, or 0."""
        asked, planned, budget = int(self.history.asked_to_stop), 0, self.settings.budget
        if budget is not None and self.group.rank == 0:
            planned = plan(budget, self.history, self._seconds())
        due = self.checkpointer.is_due(self.history.step)
        number, tokens, asked, planned, self.is_save_due = self.group.maximum(
            self.signals.received, -self.gradients.tokens, asked, planned, int(due)
        )
        self.gradients.tokens = self.history.micro_tokens = -tokens
        self.history.asked_to_stop = bool(asked)
        if planned:
            record_plan(self.history, planned, self._seconds())
        return number

    def _stop(self, number: int) -> NoReturn:
        resumable = f"{spelled('resume', True)} continues from {self.checkpointer.where!r}"
        what = resumable if self._save_state() else "nothing was saved, since no folder was given"
        raise Stopped(f"Training was stopped after step {self.history.step} of {self.history.total}; {what}.", number)

    def _save_state(self, wait: bool = True) -> bool:
        self._fetch_losses()
        self._seconds()
        return self.checkpointer.save(self.model, self.optimizer, self.history, wait)

    def _end(self) -> History:
        self._save_state()
        self.parallel.finish()
        if self.settings.keep_best and self.history.best_step not in (None, self.history.step):
            self.checkpointer.restore_best(self.model, self.history.best_step)
            self.group.broadcast_model(self.model)
        return self.history

    def _learning_rate(self, step: int) -> float:
        return self.peak_rate * share_of_rate(step, self.history, self.settings)

    def _seconds(self) -> float:
        """Return the seconds that the run has taken, and store them in the history."""
        self.history.seconds = time.perf_counter() - self.clock
        return self.history.seconds

    def _record(self, kind: Literal["steps", "evaluation"], record: Record) -> None:
        self.history.records.append(record)
        self._write(record)
        self._call_callbacks(kind, record)

    def _write(self, record: Record) -> None:
        if self.log is not None and self.group.rank == 0:
            self.log(record)

    def _call_callbacks(self, kind: Literal["steps", "evaluation", "epoch"], record: Record) -> None:
        if not self.callbacks:
            return
        answers: list[object] = []
        with self.parallel.whole():
            if self.group.rank == 0:
                self.model.eval()
                event = Event(kind, record, self.model, self.history)
                answers = [callback(event) for callback in self.callbacks]
                self.model.train()
        if any(answer is True for answer in answers):
            self.history.asked_to_stop = True
