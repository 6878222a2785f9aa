"""Masked language modelling: how many tokens are drawn and how they are replaced, the loss, reproducible metrics."""

from typing import Any

import numpy as np
import pytest
import torch
from computing import compute, loss_of
from hypothesis import given, settings
from hypothesis import strategies as st

import bertie
from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.metrics import Scores
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Features, Outputs
from bertie.tasks.fill_mask import FillMask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.registry import find

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *("##" + letter for letter in "abcdefghij")]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
CONFIG = bertie.BertConfig(
    vocab_size=len(WORDS),
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=32,
)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return bertie.BertForMaskedLM(CONFIG).eval()


def task_of(**options: Any) -> MaskedLM:
    return MaskedLM(tokenizer=TOKENIZER, config=CONFIG, **options)


def text(length: int, seed: int = 0) -> str:
    """Return words of one to four pieces, ``length`` pieces in total."""
    random = np.random.default_rng(seed)
    letters = random.choice(list("abcdefghij"), length)
    return "".join(" " * bool(gap) + letter for gap, letter in zip(random.random(length) < 0.4, letters, strict=True))


@given(st.lists(st.integers(0, 70), min_size=1, max_size=6), st.booleans(), st.sampled_from([0.15, 0.4]))
@settings(max_examples=50, deadline=None)
def test_the_exact_number_of_tokens_is_drawn(lengths: list[int], whole_word: bool, share: float) -> None:
    task = task_of(whole_word=whole_word, share=share)
    features = task.encode([text(length, seed) for seed, length in enumerate(lengths)])
    drawn = task.apply_masking(features, np.random.default_rng(1))
    assert drawn.labels
    labels, ordinary = drawn.targets, features.ids > 4
    assert features.owned is not None
    own = ordinary & features.owned
    assert own.sum() == sum(lengths)  # every token of a text is owned once, in windows too
    stops = np.cumsum(features.lengths)
    for start, stop in zip([0, *stops[:-1]], stops, strict=True):
        able, chosen = own[start:stop].sum(), labels[start:stop] != IGNORED
        assert chosen.sum() == (max(1, round(share * able)) if able else 0)
        assert not (chosen & ~own[start:stop]).any()
    assert task.divisor(features) == task.divisor(drawn) == (labels != IGNORED).sum()
    assert (features.ids == np.where(labels == IGNORED, drawn.ids, labels)).all()


def test_what_becomes_of_drawn_tokens() -> None:
    task = task_of()
    features = task.encode([text(30, seed) for seed in range(2000)])
    drawn = task.apply_masking(features, np.random.default_rng(0))
    assert drawn.labels
    chosen = drawn.targets != IGNORED
    new, old = drawn.ids[chosen], features.ids[chosen]
    masked, kept = new == TOKENIZER.mask_token_id, new == old
    assert masked.mean() == pytest.approx(0.8, abs=0.02)
    assert kept.mean() == pytest.approx(0.1, abs=0.02)
    random = new[~masked & ~kept]
    assert set(random) == set(range(5, 25))
    other = task.apply_masking(features, np.random.default_rng(1))
    assert (other.ids != drawn.ids).any()
    assert (task.apply_masking(features, np.random.default_rng(0)).ids == drawn.ids).all()
    places = chosen.reshape(2000, 32).mean(axis=0)[1:-1]
    np.testing.assert_allclose(places, 4 / 30, atol=0.03)  # all positions are equally likely


def test_words_are_drawn_whole() -> None:
    task = task_of(whole_word=True, share=0.5)
    features = task.encode(["abcd efgh ij abcd efgh"])
    cut = 0
    for seed in range(30):
        chosen = (task.apply_masking(features, np.random.default_rng(seed)).targets != IGNORED)[1:-1]
        words = np.split(chosen, [4, 8, 10, 14])
        assert chosen.sum() == 9
        cut += sum(word.any() and not word.all() for word in words)
    assert 0 < cut <= 30  # at most one word per text


def test_the_loss_is_that_of_the_drawn_tokens(model: Any) -> None:
    task = task_of()
    features = task.encode([text(28, seed) for seed in range(5)] + [text(90)])
    drawn = task.apply_masking(features, np.random.default_rng(0))
    assert drawn.labels
    loss = loss_of(task, model, drawn)
    own = model(TaskModel(model).packed(drawn), labels=torch.from_numpy(drawn.targets)).loss
    torch.testing.assert_close(loss / task.divisor(drawn), own)
    parts = [drawn.select_inputs(part) for part in ([5, 0], [1, 2, 3], [4])]
    torch.testing.assert_close(sum(loss_of(task, model, part) for part in parts), loss)
    joined = Features.concatenate([features.select_inputs([0, 1]), features.select_inputs([5])])
    assert task.divisor(joined) == sum(task.divisor(features.select_inputs([number])) for number in (0, 1, 5))
    loss.backward()
    assert model.bert.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_metrics_do_not_depend_on_batches_or_seeds(model: Any) -> None:
    task = task_of()
    texts = [text(28, seed) for seed in range(5)] + [text(90), ""]
    features = task.encode(texts)
    values = np.asarray(compute(task, model, features))
    np.testing.assert_allclose(compute(task, model, features, batch_tokens=20), values, rtol=1e-5)
    backwards = task.encode(texts[::-1])
    np.testing.assert_allclose(np.asarray(compute(task, model, backwards))[::-1], values, rtol=1e-5)
    fixed = task.apply_fixed_masking(features)
    assert fixed.labels
    with torch.inference_mode():
        logits = task.run(TaskModel(model), fixed)
    wanted = torch.from_numpy(fixed.targets[fixed.targets != IGNORED])
    right = (logits.argmax(1) == wanted).sum()
    loss = torch.nn.functional.cross_entropy(logits, wanted)
    assert values.sum(axis=0)[[0, 2]].tolist() == [float(right), task.divisor(features)]
    assert values[-1].tolist() == [0, 0, 0]
    scores = Scores(task.metric())
    scores.add(task.predictions(Outputs(values[:3], features)), task.references([None] * 3))
    scores.add(task.predictions(Outputs(values[3:], features)), task.references([None] * 4))
    figures = scores.metrics()
    assert figures["loss"] == pytest.approx(float(loss))
    assert figures["perplexity"] == pytest.approx(float(loss.exp()))
    assert figures["accuracy"] == pytest.approx(float(right) / len(wanted))
    assert task.describe(values[5]).endswith("of 12 tokens")


def test_the_training_task_is_made_from_the_inference_task(model: Any) -> None:
    pipe = bertie.pipeline("masked-lm", model, tokenizer=TOKENIZER, max_length=9)
    row = find("fill-mask")
    task = row.load_trainable().from_inference_task(pipe.codec)
    assert (type(task), task.limit, task.windows) == (MaskedLM, 9, True)
    assert type(task.inference_task()) is FillMask
    assert task.inference_task().max_length == 9
    row.save_options(model.config, task)
    assert row.saved_options(model.config) == {"max_length": 9}
    with pytest.raises(InputError, match="to predict is 1.5"):
        task_of(share=1.5)
