"""Training settings: one frozen, checked value for fine-tuning, pretraining and distillation."""

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
# The default learning rate is 3e-5 for the width of BERT-base (Devlin et al. 2019, A.3: 2e-5 to 5e-5) and rises for
# narrower models, which would learn too slowly, up to the highest rate Turc et al. (2019) try for small models.
USUAL_RATE, USUAL_WIDTH, HIGHEST_RATE = 3e-5, 768, 3e-4
# The default number of epochs: small datasets are repeated until they give the optimiser about this many steps.
TARGET_STEPS = 600
MIN_EPOCHS, MAX_EPOCHS = 3, 20
# Longer epochs are evaluated more than once.
MAX_EVALUATION_INTERVAL = 2000
LOG_LINES = 200
MAX_LOG_INTERVAL = 50


def _setting(default: Any, doc: str, kind: str, low: float = -math.inf, high: float = math.inf, **more: Any) -> Any:
    """Declare a field with its `Rule`; None is allowed if it is the default."""
    rule = Rule(doc, kind, low, high, **{"none": default is None, **more})
    return dataclasses.field(default=default, metadata={"rule": rule})


# What may change when a run is resumed: none of these affects the optimiser's numbers beyond rounding.
CHANGEABLE_ON_RESUME = frozenset(
    ("keep_every", "keep_states", "patience", "evaluate_every", "save_every", "save_minutes", "log_every")
    + ("skip_bad_steps", "shard")
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train; `describe_settings` lists the allowed values of each field.

    Raises:
        InputError: a field is out of range, or two contradict each other; the message names the allowed values.
    """

    epochs: int | None = _setting(None, "passes over the data; None: 3, up to 20 for small datasets", "integer", 1)
    steps: int | None = _setting(None, "optimiser steps, instead of epochs", "integer", 1)
    budget: float | None = _setting(
        None,
        "seconds that the run may take; it makes as many steps as fit, instead of steps or epochs",
        "number",
        0,
        above=True,
    )
    learning_rate: float | None = _setting(
        None, "peak learning rate; None: 3e-5 for width 768, more for narrower models", "number", 0, 10, above=True
    )
    batch_size: int | None = _setting(None, "examples per step; None: 32", "integer", 1)
    batch_tokens: int | None = _setting(None, "maximum tokens per step, instead of batch_size", "integer", 1)
    batch_warmup: int = _setting(0, "steps over which the batch grows from an eighth to its full size", "integer", 0)
    warmup: float = _setting(0.1, "steps until the peak rate; below 1: a fraction of all steps", "number", 0)
    schedule: str = _setting(
        "linear",
        "learning rate after warm-up; wsd: constant, then decaying; triangle: rising for half of the steps",
        "choice",
        choices=SCHEDULES,
    )
    cooldown: float = _setting(0.2, "fraction of all steps over which wsd decays", "number", 0, 1, above=True)
    optimizer: str = _setting(
        "adamw", "muon: for the weight matrices of the blocks, with adamw for the rest", "choice", choices=OPTIMIZERS
    )
    weight_decay: float = _setting(0.01, "weight decay, except for biases and LayerNorm", "number", 0, 1)
    max_grad_norm: float | None = _setting(
        1.0, "norm to which gradients are clipped; None: no clipping", "number", 0, above=True, none=True
    )
    layer_decay: float = _setting(
        1.0, "ratio of each layer's learning rate to that of the layer above", "number", 0, 1, above=True
    )
    freeze: int | str | None = None
    precision: str = _setting("auto", "auto: bf16 on GPUs that support it", "choice", choices=PRECISIONS)
    gradient_checkpointing: bool = _setting(
        False, "recompute activations: less memory, a third more time", "true or false"
    )
    shard: bool = _setting(False, "shard the model across processes (FSDP2)", "true or false")
    patience: int | None = _setting(
        5, "evaluations without improvement before training stops; None: no limit", "integer", 1, none=True
    )
    keep_best: bool = _setting(True, "end with the weights of the best evaluation, not the last", "true or false")
    evaluate_every: int | None = _setting(
        None, "steps between evaluations; None: once per epoch, more often in long epochs", "integer", 1
    )
    save_every: int | None = _setting(None, "steps between saved states; None: only by save_minutes", "integer", 1)
    save_minutes: float | None = _setting(
        10.0, "minutes between saved states; None: only by save_every", "number", 0, above=True, none=True
    )
    keep_states: int = _setting(1, "number of most recent states to keep", "integer", 1)
    keep_every: int | None = _setting(None, "steps between states that are kept for good", "integer", 1)
    log_every: int | None = _setting(None, "steps between log lines; None: about 200 lines a run", "integer", 1)
    skip_bad_steps: int | None = _setting(
        None,
        "steps with NaN or infinity to skip before the run fails; None: 0, in pretraining 10",
        "integer",
        0,
    )
    spike_threshold: float | None = _setting(
        None,
        "standard deviations above the usual loss at which the run returns to its last saved state; 0: never; "
        "None: never, in pretraining 10",
        "number",
        0,
    )
    seed: int = _setting(0, "random seed of the data order, dropout and everything else", "integer", 0, 2**63 - 1)
    micro_tokens: int | None = _setting(
        None, "maximum tokens computed at a time; None: chosen for the device", "integer", 1
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
        """The number of frozen layers above the frozen embeddings; None if nothing is frozen."""
        return 0 if self.freeze == "embeddings" else self.freeze  # type: ignore[return-value]

    @property
    def examples_in_a_step(self) -> int | None:
        """The number of examples per step; None if tokens are counted instead."""
        return None if self.batch_tokens is not None else self.batch_size or BATCH_SIZE

    def rate_for(self, config: object) -> float:
        """Return the peak learning rate, by default from the model's width (768 if ``config`` has none)."""
        if self.learning_rate is not None:
            return self.learning_rate
        width = getattr(config, "hidden_size", USUAL_WIDTH)
        return float(f"{min(USUAL_RATE * (USUAL_WIDTH / width) ** 2, HIGHEST_RATE):.2g}")

    def epochs_over(self, steps_in_an_epoch: int) -> int:
        """Return the number of epochs, by default from the number of steps in one."""
        if self.epochs is not None:
            return self.epochs
        return max(MIN_EPOCHS, min(MAX_EPOCHS, math.ceil(TARGET_STEPS / max(steps_in_an_epoch, 1))))

    def warmup_steps(self, total: int) -> int:
        """Return the number of warm-up steps in a run of ``total`` steps; ``triangle`` warms up for half of them.

        One linear cycle, up and down over the whole budget, suits short runs (Izsak et al. 2021; Geiping and Goldstein
        2022, section 4.3).
        """
        if self.schedule == "triangle":
            return total // 2
        return min(total, math.ceil(self.warmup * total) if self.warmup < 1 else int(self.warmup))

    def log_interval(self, total: int) -> int:
        """Return the number of steps between log lines in a run of ``total`` steps."""
        return self.log_every or max(1, min(MAX_LOG_INTERVAL, total // LOG_LINES))

    def evaluation_interval(self, steps_in_an_epoch: int) -> int | None:
        """Return the number of steps between evaluations; None: at the end of every epoch."""
        if self.evaluate_every is not None or steps_in_an_epoch <= MAX_EVALUATION_INTERVAL:
            return self.evaluate_every
        parts = math.ceil(steps_in_an_epoch / MAX_EVALUATION_INTERVAL)
        return math.ceil(steps_in_an_epoch / parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    def _check_freeze(self) -> None:
        number = isinstance(self.freeze, int) and not isinstance(self.freeze, bool) and self.freeze >= 1
        if not (self.freeze is None or self.freeze == "embeddings" or number):
            raise InputError(
                f"{spelled('freeze')} is {short(self.freeze)}; allowed: 'embeddings', a number of layers of at least 1 "
                f"(frozen with the embeddings), or None.{nearest(str(self.freeze), ('embeddings',))}"
            )


_RULES: dict[str, Rule] = {one.name: one.metadata["rule"] for one in dataclasses.fields(Settings) if one.metadata}


def describe_settings() -> dict[str, str]:
    """Return field → its description and allowed values."""
    words = {name: f"{rule.doc} ({rule.allowed})" for name, rule in _RULES.items()}
    words["freeze"] = "what is frozen ('embeddings'; a number: the embeddings and as many layers above; or None)"
    return words
