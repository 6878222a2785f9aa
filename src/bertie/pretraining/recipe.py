"""The arguments of a pretraining as one checked value, which is written into the run's folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import InputError, spelled
from bertie.messages import short
from bertie.rules import Rule, check_values
from bertie.settings import Settings
from bertie.tasks.masking import Masking

# The share of the steps that longer texts get (BERT, appendix A.2: 90 % of the steps at 128 tokens, the rest at 512).
LAST_SHARE = 0.1
BATCH_TOKENS = 16_384
# The highest rate: that of BERT for its width (appendix A.2), more for narrower models (see `Settings.rate_for`).
USUAL_RATE, USUAL_WIDTH, HIGHEST_RATE = 1e-4, 768, 1e-3
# In deviations, see `bertie.training.divergence`; and steps that are not finite before the run ends.
SPIKE, BAD_STEPS = 10.0, 10

_RULES = {
    "dropout": Rule("of hidden states and attention weights", "number", 0, 0.99, none=True),
    "teacher_weight": Rule("what the teacher's loss is multiplied by", "number", 0, above=True),
    "compile": Rule("whether what lies between attentions is compiled", "true or false"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `pretrain` makes of which data; an `InputError` refuses values that are not allowed, alone or together."""

    data: Path  # a folder of `bertie prepare`
    out: Path  # the folder of the run, which then holds the model
    config: str | None = (
        None  # "base", "large", "mini" (6 layers of width 384, 12 heads) or a file: a model from scratch
    )
    start: str | None = (
        None  # instead of it, the folder or hub name of a model to go on from, with the data's vocabulary
    )
    # the most tokens of a text in each phase of the run: the first phases share nine tenths of the steps
    length: tuple[int, ...] = (128,)
    masking: Masking = dataclasses.field(default_factory=Masking)  # which tokens are to be guessed
    next_sentence: bool = True  # False learns from stretches of documents instead of pairs
    teacher: str | None = None  # the folder or hub name of a model of sentence vectors to learn from, too
    teacher_weight: float = 1.0  # by which that loss is multiplied
    dropout: float | None = None  # of hidden states and attention weights; None: as the config says
    compile: bool = False  # whether `bertie.compile` is used
    # how to train; `settings_for` fills in what pretraining chooses otherwise than fine-tuning
    settings: Settings = dataclasses.field(default_factory=Settings)
    resume: bool = False  # go on with the run in ``out`` where it was stopped; if there is none, begin it
    tensorboard: bool = False  # log to ``out/tensorboard``, too
    device: str | None = None  # None: CUDA if there is any, else the CPU
    show_progress: bool | None = None  # True shows bars always, False never, None on a terminal only

    def __post_init__(self) -> None:
        if (self.config is None) == (self.start is None):
            either = f"{spelled('config')} or {spelled('start')}"
            raise InputError(f"Give either {either}: a new model, or one to go on from.")
        if self.settings.steps is None and self.settings.budget is None:
            raise InputError(f"Say how long to train: {spelled('steps')}, or {spelled('budget')}.")
        if not self.length or any(not isinstance(each, int) or each < 5 for each in self.length):
            given = ",".join(map(str, self.length))
            raise InputError(f"{spelled('length')} is {short(given)}; give a number of at least 5, or several.")
        check_values(vars(self), _RULES)
        if self.settings.patience not in (None, Settings.patience):
            patience = spelled("patience", self.settings.patience)
            raise InputError(f"{patience} has no effect on pretraining, whose best weights are its last; leave it out.")
        if self.teacher is None and self.teacher_weight != 1.0:
            weight = spelled("teacher_weight", self.teacher_weight)
            raise InputError(f"{weight} multiplies a teacher's loss, and there is none; give {spelled('teacher')} too.")

    @property
    def shares(self) -> list[float]:
        """The share of the steps that each phase has."""
        before = len(self.length) - 1
        return [*[(1 - LAST_SHARE) / before] * before, LAST_SHARE] if before else [1.0]

    def settings_for(self, width: int) -> Settings:
        """Return the settings with what is usual in pretraining a model of this width where none is given."""
        given = self.settings
        rate = float(f"{min(USUAL_RATE * (USUAL_WIDTH / width) ** 2, HIGHEST_RATE):.2g}")
        by_tokens = given.batch_tokens is None and given.batch_size is None
        every = given.evaluate_every or (None if given.steps is None else max(1, given.steps // 10))
        return dataclasses.replace(
            given,
            learning_rate=given.learning_rate or rate,
            batch_tokens=BATCH_TOKENS if by_tokens else given.batch_tokens,
            evaluate_every=every,
            patience=None,
            keep_best=False,  # held-out metrics fall with the rate: what is best is the end
            spike_threshold=SPIKE if given.spike_threshold is None else given.spike_threshold,
            skip_bad_steps=BAD_STEPS if given.skip_bad_steps is None else given.skip_bad_steps,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as values of JSON."""
        left = ("resume", "show_progress", "device")
        found = {name: value for name, value in dataclasses.asdict(self).items() if name not in left}
        return {**found, "data": str(self.data), "out": str(self.out), "length": list(self.length)}
