"""What a pipeline computes for many inputs, as an array."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.pipelines.running import CHUNK
from bertie.tasks.features import Outputs
from bertie.tasks.inference import compute_rows


def scores_of(pipe: Any, texts: Sequence[Any]) -> NDArray[np.float32]:
    """Return the score of every label for each text, float32 ``[n, C]`` in the order of the model's labels."""
    numbers = pipe.model.config.label2id
    found = np.zeros((len(texts), len(numbers)), np.float32)
    for row, answer in zip(found, pipe(texts, top_k=None) if len(texts) else [], strict=True):
        for one in answer:
            row[numbers[one["label"]]] = one["score"]
    return found


def computed(pipe: Any, inputs: Sequence[Any]) -> Iterator[Outputs]:
    """Yield what the model computes, part by part."""
    for first in range(0, len(inputs), CHUNK):
        features = pipe.codec.encode(inputs[first : first + CHUNK], first)
        rows = compute_rows(pipe.codec, pipe.computing, features, batch_tokens=pipe.batch_tokens, first=first)
        yield pipe.codec.outputs(rows, features)
