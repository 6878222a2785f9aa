"""The arguments of a pretraining as one validated value, which is saved in the run's folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import InputError, spelled
from bertie.messages import short
from bertie.rules import Rule, check_values
from bertie.settings import Settings
from bertie.tasks.masking import Masking

# The share of steps with the longest texts (BERT, appendix A.2: 90 % of the steps at 128 tokens, the rest at 512).
LAST_SHARE = 0.1
BATCH_TOKENS = 16_384
# The peak learning rate: BERT's for its width (appendix A.2), higher for narrower models (see `Settings.rate_for`).
BERT_RATE, BERT_WIDTH, MAX_RATE = 1e-4, 768, 1e-3
# The spike threshold in standard deviations (see `bertie.training.divergence`), and the tolerated non-finite steps.
SPIKE, BAD_STEPS = 10.0, 10

_RULES = {
    "dropout": Rule("of hidden states and attention weights", "number", 0, 0.99, none=True),
    "teacher_weight": Rule("the weight of the teacher's loss", "number", 0, above=True),
    "compile": Rule("whether all but the attention is compiled", "true or false"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The arguments of `pretrain`; values that are not allowed, alone or together, raise an `InputError`."""

    data: Path  # a folder of `bertie prepare`
    out: Path  # the folder for the run and its model
    # for a model from scratch: "base", "large", "mini" (6 layers of width 384, 12 heads) or a config file
    config: str | None = None
    # instead, the folder or hub name of a model to continue from, with the data's vocabulary
    start: str | None = None
    # the maximum tokens of a text in each phase of the run: all but the last share nine tenths of the steps
    length: tuple[int, ...] = (128,)
    masking: Masking = dataclasses.field(default_factory=Masking)
    next_sentence: bool = True  # False: learn from stretches of documents instead of pairs
    teacher: str | None = None  # the folder or hub name of an embedding model to learn from too
    teacher_weight: float = 1.0  # of the teacher's loss
    dropout: float | None = None  # of hidden states and attention weights; None: the config's
    compile: bool = False  # whether `bertie.compile` is used
    # how to train; `settings_for` fills in the defaults of pretraining
    settings: Settings = dataclasses.field(default_factory=Settings)
    resume: bool = False  # continue the interrupted run in ``out``, or start it if there is none
    tensorboard: bool = False  # also log to ``out/tensorboard``
    device: str | None = None  # None: CUDA if available, else the CPU
    show_progress: bool | None = None  # True always shows bars, False never, None only on a terminal

    def __post_init__(self) -> None:
        if (self.config is None) == (self.start is None):
            either = f"{spelled('config')} or {spelled('start')}"
            raise InputError(f"Give either {either}: a new model, or one to continue from.")
        if self.settings.steps is None and self.settings.budget is None:
            raise InputError(f"Say how long to train: {spelled('steps')}, or {spelled('budget')}.")
        if not self.length or any(not isinstance(each, int) or each < 5 for each in self.length):
            given = ",".join(map(str, self.length))
            raise InputError(f"{spelled('length')} is {short(given)}; give a number of at least 5, or several.")
        check_values(vars(self), _RULES)
        if self.settings.patience not in (None, Settings.patience):
            patience = spelled("patience", self.settings.patience)
            raise InputError(f"{patience} has no effect on pretraining, which keeps its last weights; leave it out.")
        if self.teacher is None and self.teacher_weight != 1.0:
            weight = spelled("teacher_weight", self.teacher_weight)
            raise InputError(
                f"{weight} multiplies a teacher's loss, but there is no teacher; give {spelled('teacher')} too."
            )

    @property
    def shares(self) -> list[float]:
        """The share of the steps that each phase has."""
        before = len(self.length) - 1
        return [*[(1 - LAST_SHARE) / before] * before, LAST_SHARE] if before else [1.0]

    def settings_for(self, width: int) -> Settings:
        """Return the settings with the defaults of pretraining for a model of this width filled in."""
        given = self.settings
        rate = float(f"{min(BERT_RATE * (BERT_WIDTH / width) ** 2, MAX_RATE):.2g}")
        by_tokens = given.batch_tokens is None and given.batch_size is None
        every = given.evaluate_every or (None if given.steps is None else max(1, given.steps // 10))
        return dataclasses.replace(
            given,
            learning_rate=given.learning_rate or rate,
            batch_tokens=BATCH_TOKENS if by_tokens else given.batch_tokens,
            evaluate_every=every,
            patience=None,
            keep_best=False,  # the loss falls with the learning rate, so the last weights are the best
            spike_threshold=SPIKE if given.spike_threshold is None else given.spike_threshold,
            skip_bad_steps=BAD_STEPS if given.skip_bad_steps is None else given.skip_bad_steps,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        omitted = ("resume", "show_progress", "device")
        found = {name: value for name, value in dataclasses.asdict(self).items() if name not in omitted}
        return {**found, "data": str(self.data), "out": str(self.out), "length": list(self.length)}
