"""Invalid settings are refused with one sentence, and defaults follow the amount of data."""

from typing import Any

import pytest

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.settings import Settings, describe_settings


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"epochs": 0}, "epochs is 0; allowed: an integer of at least 1 or None."),
        ({"epochs": True}, "epochs is True"),
        ({"learning_rate": 0}, "learning_rate is 0; allowed: a number above 0 and at most 10 or None."),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"batch_size": -1}, "batch_size is -1"),
        (
            {"schedule": "step"},
            "schedule is 'step'; allowed: one of 'linear', 'cosine', ",
        ),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"warmup": 1.5}, "warmup is 1.5; allowed: a share below 1, or a whole number of steps."),
        ({"weight_decay": "a"}, "weight_decay is 'a'"),
        ({"layer_decay": 0}, "layer_decay is 0"),
        ({"max_grad_norm": 0}, "max_grad_norm is 0"),
        ({"freeze": "head"}, "freeze is 'head'; allowed: 'embeddings'"),
        ({"freeze": 0}, "freeze is 0"),
        ({"freeze": True}, "freeze is True"),
        ({"seed": -1}, "seed is -1"),
        ({"gradient_checkpointing": 1}, "gradient_checkpointing is 1; allowed: true or false."),
        ({"epochs": 1, "steps": 2}, "epochs=1 and steps=2 exclude each other; give one."),
        ({"optimizer": "muon", "shard": True}, "optimizer='muon' needs whole matrices, which shard=True divides"),
        ({"budget": 60, "steps": 2}, "steps=2 and budget=60 exclude each other; give one."),
        ({"budget": 0}, "budget is 0; allowed: a number above 0 or None."),
        ({"schedule": "triangle", "warmup": 0.3}, "warmup=0.3 has no effect on schedule='triangle'; leave it out."),
        ({"cooldown": 0.3}, "cooldown=0.3 has no effect on schedule='linear'; leave it out."),
        ({"batch_size": 1, "batch_tokens": 2}, "batch_size=1 and batch_tokens=2 exclude each other"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        Settings(**fields)
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)


def test_every_field_is_described() -> None:
    assert set(describe_settings()) == set(Settings().to_dict())


@pytest.mark.parametrize(("examples", "epochs"), [(1, 20), (500, 20), (3_000, 7), (10_000, 3), (500_000, 3)])
def test_small_datasets_get_more_epochs(examples: int, epochs: int) -> None:
    steps = -(-examples // 32)
    assert Settings().epochs_over(steps) == epochs
    assert Settings(epochs=2).epochs_over(steps) == 2


@pytest.mark.parametrize(("width", "rate"), [(1024, 1.7e-5), (768, 3e-5), (384, 1.2e-4), (128, 3e-4)])
def test_narrow_models_get_higher_rates(width: int, rate: float) -> None:
    config = BertConfig(hidden_size=width, num_attention_heads=1)
    assert Settings().rate_for(config) == rate
    assert Settings(learning_rate=1e-5).rate_for(config) == 1e-5
    assert Settings().rate_for(None) == 3e-5


def test_long_epochs_are_evaluated_in_equal_parts() -> None:
    assert Settings().evaluation_interval(300) is None
    assert Settings().evaluation_interval(15_625) == 1954
    assert Settings(evaluate_every=7).evaluation_interval(15_625) == 7


def test_warmup_is_a_fraction_or_steps() -> None:
    assert Settings(warmup=0.1).warmup_steps(101) == 11
    assert Settings(warmup=5).warmup_steps(101) == 5
    assert Settings(warmup=500).warmup_steps(101) == 101
    assert Settings(warmup=0).warmup_steps(101) == 0
