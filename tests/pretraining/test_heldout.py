"""Held-out metrics: equal to their definition, the same in every run and in batches of any size."""

import numpy as np
import pytest
import torch

import bertie
from bertie.config import IGNORED
from bertie.pretraining import heldout
from bertie.pretraining.heldout import heldout_figures
from bertie.pretraining.pretraining_learner import PretrainingLearner
from bertie.pretraining.shards import Corpus
from bertie.settings import Settings
from bertie.training import train

Book = tuple[Corpus, bertie.BertTokenizer]
CONFIG = bertie.BertConfig(
    vocab_size=800, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
)  # fmt: skip


def learner_of(book: Book, next_sentence: bool = True) -> PretrainingLearner:
    torch.manual_seed(0)
    return PretrainingLearner(
        bertie.BertForPreTraining(CONFIG).eval(), *book, length=64, next_sentence=next_sentence, seed=0
    )


@pytest.mark.parametrize("next_sentence", [True, False])
def test_figures_are_means_over_tokens_and_pairs(
    book: Book, next_sentence: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_of(book, next_sentence)
    figures = heldout_figures(learner, tokens=64 * 10)
    examples = np.linspace(0, len(learner.sizes) - 1, 10).astype(int).tolist()
    batch = learner.batch(examples)
    packed = bertie.Packed.from_flat(batch.features.ids, batch.features.lengths, batch.features.types)
    with torch.inference_mode():
        words, follows = learner.model(packed, return_dict=False)
    labels = torch.from_numpy(batch.labels)
    guessed = labels != IGNORED
    loss = torch.nn.functional.cross_entropy(words[guessed], labels[guessed])
    expected = {"loss": float(loss), "accuracy": float((words[guessed].argmax(1) == labels[guessed]).float().mean())}
    if next_sentence:
        right = follows.argmax(1) == torch.from_numpy(batch.follows)
        expected["next_sentence_accuracy"] = float(right.float().mean())
    assert figures == pytest.approx(expected, rel=1e-5)
    assert list(figures) == list(expected)
    monkeypatch.setattr(heldout, "micro_tokens", lambda _: 100)
    assert heldout_figures(learner_of(book, next_sentence), 640) == pytest.approx(figures, rel=1e-5)


def test_the_loop_uses_them_as_its_evaluation(book: Book) -> None:
    learner = learner_of(book)
    settings = Settings(batch_size=8, steps=4, evaluate_every=2)
    history = train(learner, settings, evaluate=lambda: heldout_figures(learner, 640), show_progress=False)
    evaluated = [record for record in history.records if "metrics" in record]
    assert [record["step"] for record in evaluated] == [2, 4]
    assert evaluated[1]["metrics"]["loss"] < evaluated[0]["metrics"]["loss"] < 7
