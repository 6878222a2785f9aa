"""Next sentence: the temperature tuned on held-out pairs, and the reliability of its answers."""

from pathlib import Path

import numpy as np
import pytest

from bertie import BertConfig, BertTokenizer, InputError
from bertie.tasks.features import Outputs
from bertie.tasks.next_sentence import NextSentence


def test_the_temperature_is_tuned(mini: Path) -> None:
    task = NextSentence(tokenizer=BertTokenizer.from_pretrained(mini), config=BertConfig.from_pretrained(mini))
    features = task.encode([("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")])
    # confident of everything, and wrong every fourth time
    values, labels = np.array([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0], [0.0, 9.0]]), [0, 1, 0, 0]
    tuned = task.tune(Outputs(values, features, labels))
    assert tuned.temperature > 2
    before, after = (each.reliability(Outputs(values, features, labels)) for each in (task, tuned))
    assert before is not None
    assert after is not None
    assert (after.count.sum(), after.correct.sum()) == (4, 3)
    assert after.error < before.error
    assert (
        task.decode(Outputs(values, features))[0]["score"] > tuned.decode(Outputs(values, features))[0]["score"] > 0.5
    )
    assert task.tune(Outputs(values[:0], task.encode([]), [])) == task
    assert task.reliability(Outputs(values[:0], task.encode([]), [])) is None


def test_a_temperature_of_zero_is_refused(mini: Path) -> None:
    with pytest.raises(InputError, match="temperature is 0; it must be above 0"):
        NextSentence(
            tokenizer=BertTokenizer.from_pretrained(mini), config=BertConfig.from_pretrained(mini), temperature=0
        )
