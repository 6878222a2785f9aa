"""Multiple choice, reranking, embeddings and masked words are learned, however their steps are divided."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.data.example import Example
from bertie.evaluation.evaluator import score
from bertie.finetuning.task_learner import TaskLearner, encode_examples
from bertie.models.task_model import TaskModel
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.reranking import Reranking
from bertie.tasks.similarity import Similarity
from bertie.tasks.task import TrainableTask
from bertie.training import Settings, train

Random = np.random.Generator
LETTERS = "abcdefghij"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})


def words(random: Random, low: int = 3, high: int = 8) -> str:
    """Letters of one half of the alphabet."""
    half = LETTERS[:5] if random.random() < 0.5 else LETTERS[5:]
    return " ".join(random.choice(list(half), random.integers(low, high)))


def alike(one: str, other: str) -> bool:
    return (one[0] in LETTERS[:5]) == (other[0] in LETTERS[:5])


def shifted(text: str) -> str:
    """Return a text with each letter replaced by its counterpart in the other half."""
    return " ".join(LETTERS[LETTERS.index(letter) - 5] for letter in text.split())


def choice(random: Random) -> Example:
    prompt, choices = words(random), [words(random) for _ in range(random.integers(2, 5))]
    choices[0] = shifted(prompt)
    choices[1:] = [other if alike(prompt, other) else prompt for other in choices[1:]]
    order = random.permutation(len(choices))
    return Example({"prompt": prompt, "choices": [choices[at] for at in order]}, int(np.argmin(order)))


def relevance(random: Random) -> Example:
    passage = words(random)
    return Example((words(random), passage), float(alike(passage, LETTERS)))


def score_of_pair(random: Random) -> Example:
    one, other = words(random), words(random)
    return Example((one, other), 5.0 * alike(one, other))


def partners(random: Random) -> Example:
    one = words(random)
    return Example((one, shifted(one)))


def sentence(random: Random) -> Example:
    return Example(words(random, 6, 14))


CASES: dict[str, tuple[Any, str, Any, dict[str, Any]]] = {
    "multiple-choice": (MultipleChoice, "BertForMultipleChoice", choice, {}),
    "reranking": (Reranking, "BertForSequenceClassification", relevance, {"num_labels": 1}),
    "scored pairs": (Similarity, "BertModel", score_of_pair, {}),
    "partners": (Similarity, "BertModel", partners, {}),
    "masked words": (MaskedLM, "BertForMaskedLM", sentence, {}),
}


def begun(case: str, **options: Any) -> tuple[TrainableTask, Any, list[Example]]:
    kind, name, make, head = CASES[case]
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **head,
    )
    model = getattr(bertie, name)(config)
    random = np.random.default_rng(0)
    examples = [make(random) for _ in range(200)]
    task = kind(tokenizer=TOKENIZER, config=config, **options).prepare_labels([example.label for example in examples])
    return task, model, examples


def trained(task: TrainableTask, model: Any, examples: Sequence[Example], **settings: Any) -> list[float]:
    learner = TaskLearner(task, model, encode_examples(task, examples, False), ["" for _ in examples])
    history = train(
        learner, Settings(batch_size=16, log_every=1, **settings), show_progress=False, divisible=task.divisible
    )
    return [record["loss"] for record in history.records]


@pytest.mark.parametrize("case", CASES)
def test_what_is_learned_is_predicted(case: str) -> None:
    task, model, examples = begun(case)
    before = score({"it": task}, TaskModel(model.eval()), examples[150:])["it"].scores.metrics()
    losses = trained(task, model, examples[:150], steps=120, learning_rate=3e-3)
    after = score({"it": task}, TaskModel(model.eval()), examples[150:])["it"].scores.metrics()
    main = task.metric().main
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert after[main] is not None
    assert before[main] is None or after[main] > before[main]


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_steps_may_be_divided(case: str, windows: bool) -> None:
    found = []
    for tokens in (10_000, 40):
        options = {"windows": True, "max_length": 12, "overlap": 0} if windows else {}
        task, model, examples = begun(case, **options)
        found.append(trained(task, model, examples[:64], steps=4, learning_rate=1e-3, micro_tokens=tokens))
    if case != "masked words":  # the masks depend on the division
        np.testing.assert_allclose(found[0], found[1], rtol=2e-4)
