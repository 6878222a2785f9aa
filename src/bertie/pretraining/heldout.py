"""Evaluation of a model in pretraining on held-out documents."""

from collections.abc import Mapping

import numpy as np
import torch

from bertie.batching import batches
from bertie.config import IGNORED
from bertie.pretraining.pretraining_learner import Batch, PretrainingLearner
from bertie.tasks.arrays import Array
from bertie.tasks.tensors import ON_TENSORS, on_device_of
from bertie.training.grad_accumulation import micro_tokens


def heldout_figures(learner: PretrainingLearner, tokens: int = 2**15) -> dict[str, float]:
    """Return the metrics of the learner's model on a sample of its examples, in the model's current mode.

    A learner of the held-out documents with seed 0 has the same examples with the same masks on every machine and in
    every run, so that metrics are comparable: ``loss`` (mean cross-entropy of masked tokens, in nats), ``accuracy``
    (share of masked tokens predicted correctly), ``next_sentence_accuracy`` of pairs, ``teacher_cosine``.
    """
    count = len(learner.sizes)
    wanted = max(1, tokens // learner.length)
    examples = np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))
    device = next(learner.model.parameters()).device
    parts: dict[str, list[Array]] = {}
    for part in batches(learner.sizes[examples].tolist(), micro_tokens(device)):
        for name, values in _of_batch(learner, learner.batch(examples[part].tolist())).items():
            parts.setdefault(name, []).append(values)
    return {name: float(np.concatenate(values).mean()) for name, values in parts.items()}


@torch.inference_mode()
def _of_batch(learner: PretrainingLearner, batch: Batch) -> Mapping[str, Array]:
    """Return the values that the metrics are means of: one per masked token, pair, or sentence."""
    outputs = learner.outputs(batch)
    guessed = ON_TENSORS.correct_and_loss(outputs["masked_lm"], batch.labels[batch.masked_positions])
    found = {"loss": guessed[:, 1], "accuracy": guessed[:, 0]}
    if learner.next_sentence:
        pairs = np.flatnonzero(batch.follows != IGNORED)
        answers = outputs["next_sentence"].argmax(dim=1)[on_device_of(outputs["next_sentence"], pairs)]
        found["next_sentence_accuracy"] = answers.cpu().numpy() == batch.follows[pairs]
    if learner.teacher is not None:
        found["teacher_cosine"] = learner.teacher.cosines(outputs["hidden_states"], batch.sentences).cpu().numpy()
    return found
