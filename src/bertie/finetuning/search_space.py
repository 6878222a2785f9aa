"""What a sweep tries: ranges and choices of settings, as a user writes them and as optuna takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import ceil
from typing import Any

from bertie.errors import InputError, InputTypeError, nearest
from bertie.finetuning.model_setup import own_config
from bertie.finetuning.plan import Plan
from bertie.settings import BATCH_SIZE, Settings

Space = Mapping[str, Any]
_SETTINGS = frozenset(field.name for field in fields(Settings)) - {"seed", "steps"}
_OF_PLAN = ("lora", "class_weights")


def usual_space(plan: Plan, rows: int) -> dict[str, Any]:
    """Return what is tried where the user names nothing, for ``rows`` to learn from.

    Rates: 2e-5 to 5e-5 for BERT-base (Devlin et al. 2019, A.3), up to 3e-4 for small models (Turc et al. 2019); with
    LoRA 1e-4 to 2e-3 (Hu et al. 2021, appendix D). Batches of 16 and 32, 2 to 4 epochs (Devlin et al.), up to 20 for
    few rows (Mosbach et al. 2021). Warm-up up to a fifth (a tenth in Devlin et al., 6 % in Liu et al. 2019). Each layer
    at 0.8 to 1 of the rate above it (Clark et al. 2020, Zhang et al. 2021).
    """
    steps = ceil(rows / (plan.settings.examples_in_a_step or BATCH_SIZE))
    most = max(4, replace(plan.settings, epochs=None, steps=None).epochs_over(steps))
    found: dict[str, Any] = {
        "learning_rate": (1e-5, 3e-4, "log") if plan.lora is None else (1e-4, 2e-3, "log"),
        "epochs": (2, most),
        "warmup": (0.0, 0.2),
        "layer_decay": (0.8, 1.0),
    }
    if plan.settings.batch_tokens is None:
        found["batch_size"] = [16, 32]
    if plan.settings.steps is not None:
        del found["epochs"]
    return found


def check_space(space: Space) -> None:
    """Refuse a range without width, a learning rate of 0, and a value that is neither choices nor a range."""
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
    """Have optuna propose a value for everything in the space; ``trial.params`` holds them."""
    for name, value in space.items():
        if isinstance(value, list):
            trial.suggest_categorical(name, value)
        else:
            is_whole = all(isinstance(end, int) for end in value[:2])
            (trial.suggest_int if is_whole else trial.suggest_float)(name, *value[:2], log=len(value) == 3)


def with_values(plan: Plan, values: Mapping[str, Any]) -> Plan:
    """Return the plan with other values of settings, of ``lora`` and ``class_weights``, and of the task's options."""
    options = plan.row.load_trained().options()
    known = [*sorted(_SETTINGS), *_OF_PLAN, *options]
    for name in values:
        if name not in known:
            raise InputError(f"A sweep cannot vary {name!r}; it can vary {', '.join(known)}.{nearest(name, known)}")
    settings = {name: value for name, value in values.items() if name in _SETTINGS}
    # one of two that exclude each other: what the sweep names holds
    for one, other in (("epochs", "steps"), ("batch_size", "batch_tokens"), ("batch_tokens", "batch_size")):
        if settings.get(one) is not None:
            settings.setdefault(other, None)
    own = {name: value for name, value in values.items() if name in _OF_PLAN}
    others = {name: value for name, value in values.items() if name not in _SETTINGS and name not in _OF_PLAN}
    return replace(plan, settings=replace(plan.settings, **settings), options={**plan.options, **others}, **own)


def usual_values(plan: Plan, space: Space, rows: int) -> dict[str, Any]:
    """Return the plan's own values of what is varied, those that lie in the space: the first trial has them."""
    settings = plan.rated(own_config(plan.model)).settings
    size = settings.examples_in_a_step
    usual = {**settings.to_dict(), **plan.options, "batch_size": size}
    usual["epochs"] = settings.epochs_over(ceil(rows / (size or BATCH_SIZE)))
    return {name: usual[name] for name, value in space.items() if name in usual and _holds(value, usual[name])}


def _holds(choices: Any, value: Any) -> bool:
    if isinstance(choices, list):
        return value in choices
    return isinstance(value, int | float) and choices[0] <= value <= choices[1]


def _is_range(value: Sequence[Any]) -> bool:
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in value[:2])
    return numbers and (len(value) == 2 or (len(value) == 3 and value[2] == "log"))
