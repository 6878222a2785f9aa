"""The masked-LM training step that all engines do: the same texts, masks, optimiser and number of texts in a step."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comparison.engines.padded import Array, Encode, batches
from comparison.workload import Workload

SEED = 0
# losses are compared before anything is timed, and dropout would make them a matter of chance
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MASK_TOKEN = 103
MASKED = 0.15
RATE = 1e-4

Loss = Callable[[list[list[int]], list[list[int]]], Tensor]


def runner(
    model: torch.nn.Module, loss: Loss, encode: Encode, workload: Workload, order: str
) -> Callable[[Sequence[str]], Array]:
    """Return the function from texts to the loss of each step of a pass over them ``[steps]``."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)

    def run(texts: Sequence[str]) -> Array:
        rows, labels = masked(encode(list(texts)))
        losses = []
        for batch in batches(rows, workload.batch_size, order):
            found = loss([rows[index] for index in batch], [labels[index] for index in batch])
            found.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(found))
        return np.array(losses)

    return run


def masked(rows: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the rows with 15 % of their inner tokens masked, and the labels: the ids there, -100 elsewhere."""
    random = np.random.default_rng(SEED)
    hidden, labels = [], []
    for row in rows:
        chosen = random.random(len(row)) < MASKED
        chosen[[0, -1]] = False
        hidden.append([MASK_TOKEN if hide else one for one, hide in zip(row, chosen, strict=True)])
        labels.append([one if hide else -100 for one, hide in zip(row, chosen, strict=True)])
    return hidden, labels
