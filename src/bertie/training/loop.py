"""The loop: steps of examples, gradients, updates, log lines, evaluations, and states to resume from."""

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
from bertie.training.divergence import ADVICE, MOST_REWINDS, WINDOW, describe_bad_step, describe_spike, is_spike
from bertie.training.evaluating import Check, Evaluate, Evaluation, warn
from bertie.training.fingerprint import fingerprint
from bertie.training.grad_accumulation import GradAccumulator, micro_tokens, precision_on
from bertie.training.history import Callback, Event, History, Log, Record
from bertie.training.learner import Learner, Phase
from bertie.training.muon import Muon
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import checkpointed, frozen, groups, left_as_it_was, same_device, trainable
from bertie.training.sampler import Sampler, seed_of_step
from bertie.training.schedule import lengthen, share_of_rate
from bertie.training.signals import Signals
from bertie.training.sparse_embeddings import by_rows, tables

# steps; the pages that the next step asks for anew take a fifth of its time at most, 1 % in all
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
    """Train ``learner.model`` in place; it then holds the best weights evaluated, or without ``evaluate`` the last.

    The result depends on learner, settings and the number of processes alone: not on how often it was saved, stopped
    and resumed, unless ``spike_threshold`` sends the run back to its last state. PyTorch's random numbers, the model's
    mode and its ``requires_grad`` are afterwards as before.

    Args:
        learner: the model and its examples, or the phases of a run whose examples change on the way.
        settings: how to train; None: the defaults.
        evaluate: returns metrics of the model, which is in eval mode; called by the first process alone.
        metric: the metric that decides which weights are best (higher is better); None: the first.
        check: is shown the metrics of every evaluation and returns a sentence if they look wrong, to be warned of.
        folder: where states and the best weights are kept; None: in memory, and nothing can be resumed.
        resume: go on with the run in ``folder``; if there is none yet, begin it.
        more_epochs: go on with the finished run in ``folder`` for so many epochs, see `schedule.lengthen`; with
            ``resume``, with such epochs that were interrupted.
        data: what tells this data and task from others (digests, options), in JSON's kinds, by the name under which a
            refusal to resume speaks of it.
        log: is given every log line of the run once, after a resume those of before first (see `JsonLines`).
        callbacks: are called in the first process with each new log line and at the end of each epoch; one that returns
            True ends the training.
        show_progress: True shows a bar, False none, None on a terminal only.
        divisible: False if a step's loss compares its examples with each other: it is then computed in one piece.
        began: the time, by ``time.perf_counter``, from which the seconds of the run are counted; None: from this call.
    """
    phases = learner if isinstance(learner, Sequence) else [Phase(learner, 1.0)]
    settings, model, folder = settings or Settings(), phases[0].learner.model, None if folder is None else Path(folder)
    limit_primitive_cache()
    with (
        frozen(model, settings.frozen_layers),
        checkpointed(model, settings.gradient_checkpointing),
        left_as_it_was(model),
        keep_freed_memory(),
        processes(same_device(trainable(model))) as group,
        Signals() as signals,
    ):
        if group.world > 1 and not divisible:
            raise InputError("A loss that compares a step's examples needs one process; start it without torchrun.")
        evaluation = Evaluation(evaluate, metric, check)
        began = time.perf_counter() if began is None else began
        run = _Run(phases, settings, group, signals, evaluation, folder, log, callbacks, data or {}, divisible, began)
        alone = only_process_in(folder) if folder is not None and group.rank == 0 else nullcontext()
        with run.parallel, alone, closing(run.checkpointer), by_rows(run.tables):
            run.begin(resume, more_epochs)
            steps = ("steps", run.history.total)
            counted = steps if settings.budget is None else ("seconds", round(settings.budget))
            with progress(*counted, show_progress if group.rank == 0 else False, run.done()) as advance:
                return run.run(advance)


@dataclass
class _Run:
    """One call of `train`: what stays the same during it, and the history that changes."""

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
        in_an_epoch = self.sampler.steps_in(0)
        steps = settings.steps or self.sampler.steps_before(settings.epochs_over(in_an_epoch))
        self.history.total = steps if settings.budget is None else UNKNOWN
        self.highest_rate = settings.rate_for(getattr(self.model, "config", None))
        self.log_every = settings.log_interval(self.history.total)
        # under a budget shares of the time decide, however long an epoch is: an evaluation's cost must be known early
        self.evaluate_every = (
            settings.evaluation_interval(in_an_epoch) if settings.budget is None else settings.evaluate_every
        )
        # a GPU clears and updates a table faster than its rows are looked up, and processes sum whole gradients
        self.tables = tables(self.model) if self.device.type == "cpu" and self.group.world == 1 else {}
        alike = groups(self.model, settings.weight_decay, settings.layer_decay)
        begun = fingerprint(self.model, self.sampler, settings, self.history.total, self.group.world, self.data)
        self.checkpointer = Checkpointer(self.folder, begun, settings, self.group)
        self.group.share_model(self.model)
        self.parallel = data_parallel(self.model, self.group, self.device, settings.shard)
        made = Muon if settings.optimizer == "muon" else AdamW
        self.optimizer = made(trainable(self.model), alike, tuple(self.tables), self.parallel.total_norm)
        tokens = settings.micro_tokens or micro_tokens(self.device)
        self.gradients = GradAccumulator(self.parallel, tokens, self.precision, whole=not self.divisible)
        self.is_waited_for = self.device.type != "cpu"  # fetching a number waits until the device is done
        # of the steps since the last look at the device: number, loss or its terms, norm
        self.unseen: list[tuple[int, Tensor, Tensor]] = []
        self.clock = 0.0

    def _set_phase(self, number: int) -> None:
        """Train on the examples of a phase from now on."""
        self.learner, self.sampler = self.phases[number].learner, self._sampler_of(number)
        self.gradients.set_learner(self.learner, self.sampler.sizes)

    def _sampler_of(self, number: int) -> Sampler:
        settings, learner = self.settings, self.phases[number].learner
        growing = settings.batch_warmup if number == 0 else 0
        per_step = (settings.examples_in_a_step, settings.batch_tokens, growing)
        return Sampler(learner.sizes, settings.seed, *per_step, self.history.phases[number])

    def begin(self, resume: bool, more_epochs: int | None) -> None:
        """Bring model and history to where the run begins or goes on."""
        total, settings = self.history.total, self.settings
        resumed = self.checkpointer.resume(self.model, self.optimizer, resume or more_epochs is not None)
        self.history = resumed or self.history
        if not self.history.ends and not self.history.plans:
            self.history.total = total
        self._set_phase(len(self.history.phases) - 1)
        lengthen(self.history, more_epochs, resume, self.sampler, self.checkpointer.where)
        self.gradients.tokens = self.history.micro_tokens or self.gradients.tokens
        self.history.settings = self._settings_used()
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
                self._tell_epoch()
                continue  # a callback that ends the training has the model evaluated
            if self._is_over():
                return self._end()
            self._step()
            if self.history.step % _TRIM_EVERY == 0:
                return_freed_memory()
            self._look()
            if number := self._agree():
                self._leave(number)
            if self.is_save_due:
                self._keep(wait=False)
            before, done = done, self.done()
            advance(done - before, self.history.note())

    def done(self) -> float:
        """Return how far the run is, in what the progress bar counts."""
        return self.history.step if self.settings.budget is None else self._seconds()

    def _phase_is_due(self) -> bool:
        """Whether the next phase has the next step; a phase without steps is left out."""
        number, history = len(self.history.phases), self.history
        begin = sum(phase.share for phase in self.phases[:number])
        # a share such as 0.9 is no exact number
        is_due = number < len(self.phases) and history.progress(history.step) >= begin - 1e-9
        return is_due and history.step < history.total

    def _begin_phase(self) -> None:
        self._fetch()
        self.history.recent.clear()  # longer texts have other losses
        self.history.phases.append(self.history.step)
        self._set_phase(len(self.history.phases) - 1)
        if self.settings.budget is not None:  # the steps from here on are timed by themselves
            record_plan(self.history, self.history.total, self._seconds())

    def _settings_used(self) -> dict[str, Any]:
        """Return the settings with what is used for each that was left open; of two that exclude each other, one."""
        settings, in_an_epoch = self.settings, self.sampler.steps_in(0)
        given = settings.to_dict() | {
            "epochs": settings.epochs_over(in_an_epoch),
            "learning_rate": self.highest_rate,
            "batch_size": settings.examples_in_a_step,
            "precision": self.precision,
            "evaluate_every": self.evaluate_every or (in_an_epoch if settings.budget is None else None),
            "log_every": self.log_every,
            "micro_tokens": self.gradients.tokens,
            "skip_bad_steps": settings.skip_bad_steps or 0,
        }
        length = next((name for name in ("steps", "budget") if given[name] is not None), "epochs")
        left = {"epochs", "steps", "budget"} - {length} | {"batch_size" if settings.batch_tokens else "batch_tokens"}
        left |= {"wsd": set(), "triangle": {"warmup", "cooldown"}}.get(settings.schedule, {"cooldown"})
        return {name: value for name, value in given.items() if name not in left}

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
        seed = seed_of_step(self.settings.seed, step, self.group.rank)
        terms = self.group.sum(self.gradients.compute(examples, divisor, seed, self.device))
        norm = self.optimizer.step(self._rate(step), self.settings.max_grad_norm, terms.sum())
        self.terms = tuple(divisor) if isinstance(divisor, Mapping) else ()
        self.unseen.append((step + 1, terms, norm))
        self.history.step = step + 1
        self.history.tokens += int(self.sampler.sizes[examples].sum())

    def _look(self) -> None:
        """Fetch what the last steps gave, if the device is not waited for, or a log line is due."""
        due = self.history.step % self.log_every == 0 or self.history.step == self.history.total
        if due or not self.is_waited_for:
            self._fetch()
        if due:
            rate, epoch = self._rate(self.history.step - 1), self.sampler.epochs_done(self.history.step)
            line = self.history.line_of_steps(epoch, rate, self._seconds())
            self._record("steps", line | ({"phase": len(self.history.phases)} if len(self.phases) > 1 else {}))

    def _fetch(self) -> None:
        if not self.unseen:
            return
        numbers = torch.stack([torch.hstack([norm, terms.sum(), terms]) for _, terms, norm in self.unseen]).tolist()
        steps, self.unseen = [step for step, _, _ in self.unseen], []
        for step, (norm, loss, *terms) in zip(steps, numbers, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._skip(step, loss, norm)
            elif self._is_spike(loss):
                self._rewind(step, loss)
                return  # the steps after it went on from its weights
            else:
                self.history.losses.append(loss)
                self.history.norms.append(norm)
                for name, term in zip(self.terms, terms, strict=bool(self.terms)):
                    self.history.terms.setdefault(name, []).append(term)

    def _is_spike(self, loss: float) -> bool:
        """Whether a loss is one after which the run goes back; if not, the next is compared with it, too."""
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
        if len(self.history.rewound) > MOST_REWINDS:
            raise BertieError(f"{message} That was spike {len(self.history.rewound)}: lower the learning rate.")
        warn(self.history, message)

    def _skip(self, step: int, loss: float, norm: float) -> None:
        epoch, rate = self.sampler.epochs_done(step - 1), self._rate(step - 1)
        examples = self.sampler.examples(step - 1)
        message = describe_bad_step(self.parallel, self.learner, examples, step, epoch, rate, loss, norm)
        self.history.skipped.append(step)
        if len(self.history.skipped) > (self.settings.skip_bad_steps or 0):
            kept = f" in {self.checkpointer.where!r}" if self._keep() else ""
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
        self._fetch()
        history, begun = self.history, self._seconds()
        with self.parallel.whole():
            metrics = self.evaluation.metrics(self.model, history, self.group, self.signals)
            best = metrics is not None and self._keep_if_best(metrics)
        if metrics is None:
            self._leave(self.group.highest(self.signals.received)[0])
        score = self.evaluation.score(metrics)
        found = {"metrics": dict(metrics), "score": score, "is_best": best, "seconds": round(self._seconds(), 3)}
        epoch = round(self.sampler.epochs_done(history.step), 4)
        self._record("evaluation", {"step": history.step, "epoch": epoch, **found})
        took = self._seconds() - begun
        # by the first process's clock, or the others might not be in the next evaluation
        history.evaluating, history.overhead = self.group.broadcast(
            (history.evaluating + took, took + self.checkpointer.seconds)
        )
        self._agree()

    def _keep_if_best(self, metrics: MetricValues) -> bool:
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

    def _tell_epoch(self) -> None:
        self._fetch()
        history = self.history
        history.told = history.step
        epoch = self.sampler.locate(history.step)[0]
        self._tell("epoch", {"step": history.step, "epoch": epoch, "seconds": round(self._seconds(), 3)})
        self._agree()

    def _agree(self) -> int:
        """Agree on what all processes must know; return the signal, if any, at which they save and leave, or 0."""
        asked, planned, budget = int(self.history.asked_to_stop), 0, self.settings.budget
        if budget is not None and self.group.rank == 0:
            planned = plan(budget, self.history, self._seconds())
        due = self.checkpointer.is_due(self.history.step)
        number, tokens, asked, planned, self.is_save_due = self.group.highest(
            self.signals.received, -self.gradients.tokens, asked, planned, int(due)
        )
        self.gradients.tokens = self.history.micro_tokens = -tokens
        self.history.asked_to_stop = bool(asked)
        if planned:
            record_plan(self.history, planned, self._seconds())
        return number

    def _leave(self, number: int) -> NoReturn:
        kept = self._keep()
        on = f"{spelled('resume', True)} goes on from {self.checkpointer.where!r}"
        where = on if kept else "nothing was kept, since no folder was given"
        raise Stopped(f"Training was stopped after step {self.history.step} of {self.history.total}; {where}.", number)

    def _keep(self, wait: bool = True) -> bool:
        self._fetch()
        self._seconds()
        return self.checkpointer.keep(self.model, self.optimizer, self.history, wait)

    def _end(self) -> History:
        self._keep()
        self.parallel.finish()
        if self.settings.keep_best and self.history.best_step not in (None, self.history.step):
            self.checkpointer.restore_best(self.model, self.history.best_step)
            self.group.share_model(self.model)
        return self.history

    def _rate(self, step: int) -> float:
        return self.highest_rate * share_of_rate(step, self.history, self.settings)

    def _seconds(self) -> float:
        """Return the seconds that the run has taken, also as the history notes them."""
        self.history.seconds = time.perf_counter() - self.clock
        return self.history.seconds

    def _record(self, kind: Literal["steps", "evaluation"], record: Record) -> None:
        self.history.records.append(record)
        self._write(record)
        self._tell(kind, record)

    def _write(self, record: Record) -> None:
        if self.log is not None and self.group.rank == 0:
            self.log(record)

    def _tell(self, kind: Literal["steps", "evaluation", "epoch"], record: Record) -> None:
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
