"""The settings of a training run: one frozen, checked value, the same for fine-tuning, pretraining and distillation."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from bertie.errors import InputError, nearest, spelled
from bertie.messages import short
from bertie.rules import Rule, check_values

SCHEDULES = ("linear", "cosine", "constant", "wsd", "triangle")
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "fp32", "bf16")
BATCH_SIZE = 32
# Without a rate: 3e-5 for a model as wide as BERT-base (Devlin et al. 2019, A.3: 2e-5 to 5e-5), more for narrower ones,
# which learn too slowly by it, up to the highest that Turc et al. (2019) try for small models.
USUAL_RATE, USUAL_WIDTH, HIGHEST_RATE = 3e-5, 768, 3e-4
# Without a number of epochs: few rows are read more often, so that the optimiser gets its steps.
ENOUGH_STEPS = 600
FEWEST_EPOCHS, MOST_EPOCHS = 3, 20
# An epoch longer than this is evaluated more than once.
STEPS_UNEVALUATED = 2000
LOG_LINES = 200
LONGEST_LOG_INTERVAL = 50


def _setting(default: Any, doc: str, kind: str, low: float = -math.inf, high: float = math.inf, **more: Any) -> Any:
    """Declare a field with its `Rule`; one that is None by default may be None."""
    rule = Rule(doc, kind, low, high, **{"none": default is None, **more})
    return dataclasses.field(default=default, metadata={"rule": rule})


# What may change when a run is resumed: none of it changes a number that the optimiser sees, but for rounding.
FREE = frozenset(
    ("keep_every", "keep_states", "patience", "evaluate_every", "save_every", "save_minutes", "log_every")
    + ("skip_bad_steps", "shard")
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; `describe_settings` lists what each field may hold.

    Raises:
        InputError: a field, or two of them together, that cannot be; the message names the allowed values.
    """

    epochs: int | None = _setting(
        None, "passes over the data; None: 3 for much data, up to 20 for little", "integer", 1
    )
    steps: int | None = _setting(None, "updates, instead of epochs", "integer", 1)
    budget: float | None = _setting(
        None, "seconds that the run may take, instead of steps: as many as fit are taken", "number", 0, above=True
    )
    learning_rate: float | None = _setting(
        None, "at its highest; None: 3e-5 for width 768, more for narrower models", "number", 0, 10, above=True
    )
    batch_size: int | None = _setting(None, "examples of a step; None: 32", "integer", 1)
    batch_tokens: int | None = _setting(None, "most tokens of a step, instead of batch_size", "integer", 1)
    batch_warmup: int = _setting(0, "steps over which the examples of a step grow from an eighth to all", "integer", 0)
    warmup: float = _setting(0.1, "steps until the highest rate; below 1: their share of all steps", "number", 0)
    schedule: str = _setting(
        "linear",
        "how the rate goes on after warm-up; wsd stays and then falls; triangle rises for half of the steps",
        "choice",
        choices=SCHEDULES,
    )
    cooldown: float = _setting(0.2, "the share of all steps over which wsd falls", "number", 0, 1, above=True)
    optimizer: str = _setting(
        "adamw", "muon: for the matrices of the blocks, with adamw for the rest", "choice", choices=OPTIMIZERS
    )
    weight_decay: float = _setting(0.01, "decay of all weights but biases and LayerNorm", "number", 0, 1)
    max_grad_norm: float | None = _setting(
        1.0, "norm to which gradients are clipped; None: never", "number", 0, above=True, none=True
    )
    layer_decay: float = _setting(
        1.0, "each layer learns at this share of the rate of the one above it", "number", 0, 1, above=True
    )
    freeze: int | str | None = None
    precision: str = _setting("auto", "auto: bf16 where the GPU has it", "choice", choices=PRECISIONS)
    gradient_checkpointing: bool = _setting(False, "less memory, a third more time", "true or false")
    shard: bool = _setting(False, "each of several processes keeps a part of the model (FSDP2)", "true or false")
    patience: int | None = _setting(
        5, "evaluations without a better score before the end; None: no limit", "integer", 1, none=True
    )
    keep_best: bool = _setting(True, "end with the weights of the best evaluation, not the last", "true or false")
    evaluate_every: int | None = _setting(
        None, "steps between evaluations; None: an epoch, of long ones a part", "integer", 1
    )
    save_every: int | None = _setting(None, "steps between saved states; None: by save_minutes alone", "integer", 1)
    save_minutes: float | None = _setting(
        10.0, "minutes between saved states; None: by save_every alone", "number", 0, above=True, none=True
    )
    keep_states: int = _setting(1, "so many last states are kept", "integer", 1)
    keep_every: int | None = _setting(None, "steps between states that are saved and never removed", "integer", 1)
    log_every: int | None = _setting(None, "steps between log lines; None: about 200 lines a run", "integer", 1)
    skip_bad_steps: int | None = _setting(
        None,
        "steps with NaN or infinity to leave out before it is an error; None: 0, in pretraining 10",
        "integer",
        0,
    )
    spike_threshold: float | None = _setting(
        None,
        "deviations above the usual loss from which a step is undone: the run goes back to its last state; 0: never; "
        "None: never, in pretraining 10",
        "number",
        0,
    )
    seed: int = _setting(0, "of order, dropout and whatever else is random", "integer", 0, 2**63 - 1)
    micro_tokens: int | None = _setting(
        None, "most tokens computed at a time; None: what suits the device", "integer", 1
    )

    def __post_init__(self) -> None:
        check_values(vars(self), _RULES)
        self._check_freeze()
        lengths = (("epochs", "steps"), ("epochs", "budget"), ("steps", "budget"))
        for one, other in (*lengths, ("batch_size", "batch_tokens")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise InputError(
                    f"{spelled(one, getattr(self, one))} and {spelled(other, getattr(self, other))} exclude each "
                    "other; give one."
                )
        if self.shard and self.optimizer == "muon":
            muon, shard = spelled("optimizer", "muon"), spelled("shard", True)
            raise InputError(f"{muon} needs whole matrices, which {shard} divides; give one of them.")
        for name, useless in (("warmup", self.schedule == "triangle"), ("cooldown", self.schedule != "wsd")):
            if useless and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                given = spelled(name, getattr(self, name))
                raise InputError(f"{given} has no effect on {spelled('schedule', self.schedule)}; leave it out.")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise InputError(
                f"{spelled('warmup')} is {self.warmup:g}; allowed: a share below 1, or a whole number of steps."
            )

    @property
    def frozen_layers(self) -> int | None:
        """How many layers above the embeddings do not learn; None if the embeddings do."""
        return 0 if self.freeze == "embeddings" else self.freeze  # type: ignore[return-value]

    @property
    def examples_in_a_step(self) -> int | None:
        """The number of examples of a step; None where tokens are counted instead."""
        return None if self.batch_tokens is not None else self.batch_size or BATCH_SIZE

    def rate_for(self, config: object) -> float:
        """Return the highest learning rate, which depends on the model's width (None: 768) where none was given."""
        if self.learning_rate is not None:
            return self.learning_rate
        width = getattr(config, "hidden_size", USUAL_WIDTH)
        return float(f"{min(USUAL_RATE * (USUAL_WIDTH / width) ** 2, HIGHEST_RATE):.2g}")

    def epochs_over(self, steps_in_an_epoch: int) -> int:
        """Return the number of epochs, which depends on the amount of data where none was given."""
        if self.epochs is not None:
            return self.epochs
        return max(FEWEST_EPOCHS, min(MOST_EPOCHS, math.ceil(ENOUGH_STEPS / max(steps_in_an_epoch, 1))))

    def warmup_steps(self, total: int) -> int:
        """Return the number of warm-up steps of a run of ``total`` steps; of ``triangle`` they are half of all.

        One cycle laid out over the whole budget, up in a line and down in a line, suits short ones (Izsak et al. 2021;
        Geiping and Goldstein 2022, section 4.3).
        """
        if self.schedule == "triangle":
            return total // 2
        return min(total, math.ceil(self.warmup * total) if self.warmup < 1 else int(self.warmup))

    def log_interval(self, total: int) -> int:
        """Return the number of steps between log lines of a run of ``total`` steps."""
        return self.log_every or max(1, min(LONGEST_LOG_INTERVAL, total // LOG_LINES))

    def evaluation_interval(self, steps_in_an_epoch: int) -> int | None:
        """Return the number of steps between evaluations; None: at the end of every epoch."""
        if self.evaluate_every is not None or steps_in_an_epoch <= STEPS_UNEVALUATED:
            return self.evaluate_every
        parts = math.ceil(steps_in_an_epoch / STEPS_UNEVALUATED)
        return math.ceil(steps_in_an_epoch / parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON takes them."""
        return dataclasses.asdict(self)

    def _check_freeze(self) -> None:
        number = isinstance(self.freeze, int) and not isinstance(self.freeze, bool) and self.freeze >= 1
        if not (self.freeze is None or self.freeze == "embeddings" or number):
            raise InputError(
                f"{spelled('freeze')} is {short(self.freeze)}; allowed: 'embeddings', a number of layers of at least 1 "
                f"(they and the embeddings do not learn), or None.{nearest(str(self.freeze), ('embeddings',))}"
            )


_RULES: dict[str, Rule] = {one.name: one.metadata["rule"] for one in dataclasses.fields(Settings) if one.metadata}


def describe_settings() -> dict[str, str]:
    """Return for each field what it is for and what it may hold, in words."""
    words = {name: f"{rule.doc} ({rule.allowed})" for name, rule in _RULES.items()}
    words["freeze"] = "what does not learn ('embeddings', the number of layers above them too, or None)"
    return words
