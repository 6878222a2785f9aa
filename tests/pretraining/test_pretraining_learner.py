"""The learner of pretraining: the reference's loss and gradients, and examples that depend only on their number."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie
from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.pretraining.pretraining_learner import PretrainingLearner
from bertie.pretraining.shards import Corpus
from bertie.settings import Settings
from bertie.tasks.masking import UNITS, Masking
from bertie.training import train
from bertie.training.grad_accumulation import means_of

Book = tuple[Corpus, bertie.BertTokenizer]
SIZES = {
    "vocab_size": 800,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
LABELS = {"BertForPreTraining": ("labels", "next_sentence_label"), "BertForMaskedLM": ("labels",)}


def pair_of_models(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    reference = getattr(transformers, name)(transformers.BertConfig(**SIZES))
    model = getattr(bertie, name)(bertie.BertConfig(**SIZES))
    model.load_state_dict(reference.state_dict())
    return model, reference


def small() -> Any:
    return bertie.BertForPreTraining(bertie.BertConfig(**SIZES))


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM"])
def test_loss_and_gradients_are_the_references(book: Book, name: str, units: str) -> None:
    model, reference = pair_of_models(name)
    pairs = name == "BertForPreTraining"
    learner = PretrainingLearner(model, *book, length=40, next_sentence=pairs, masking=Masking(0.3, units))
    examples = [0, 7, 3, 2 * len(learner.sizes) + 5]
    batch = learner.batch(examples)
    packed = bertie.Packed.from_flat(batch.features.ids, batch.features.lengths, batch.features.types)
    labels = {
        "labels": packed.pad(torch.from_numpy(batch.labels), fill=IGNORED),
        "next_sentence_label": torch.from_numpy(batch.follows),
    }
    expected = reference(
        input_ids=packed.pad(packed.input_ids),
        token_type_ids=packed.pad(packed.token_type_ids),
        attention_mask=packed.pad(torch.ones_like(packed.input_ids)),
        **{label: labels[label] for label in LABELS[name]},
    ).loss
    loss = means_of(learner.loss(examples), learner.divisor(examples)).sum()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(
            dict(model.named_parameters())[name].grad, parameter.grad, atol=2e-5, rtol=0, msg=name
        )


@pytest.mark.parametrize("next_sentence", [True, False])
def test_sizes_and_divisors_are_those_of_the_examples(book: Book, next_sentence: bool) -> None:
    learner = PretrainingLearner(small(), *book, length=48, next_sentence=next_sentence)
    count = len(learner.sizes)
    examples = [0, 1, count - 1, count, 3 * count + 17]
    batch = learner.batch(examples)
    assert learner.sizes[np.array(examples)].sum() == len(batch.features.ids)
    assert learner.sizes[np.array(examples[:2])].tolist() == [len(learner.batch([n]).features.ids) for n in (0, 1)]
    wanted = [float((batch.labels != IGNORED).sum()), float((batch.follows != IGNORED).sum())]
    assert list(learner.divisor(examples).values()) == wanted[: 2 if next_sentence else 1]


def rows_of(learner: PretrainingLearner, examples: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return each example's ids after masking, and its labels."""
    batches = [learner.batch([number]) for number in examples]
    return [(batch.features.ids.tolist(), batch.labels.tolist()) for batch in batches]


def test_an_example_does_not_depend_on_others(book: Book) -> None:
    one, two = (PretrainingLearner(small(), *book, length=40, seed=3) for _ in range(2))
    count = len(one.sizes)
    numbers = [5, count + 5, 9, 2 * count]
    alone = rows_of(one, numbers)
    assert alone == rows_of(two, numbers[::-1])[::-1]
    together = two.batch(numbers)
    assert together.features.ids.tolist() == list(chain.from_iterable(ids for ids, _ in alone))
    assert together.labels.tolist() == list(chain.from_iterable(labels for _, labels in alone))
    assert alone[0] != alone[1]  # in another epoch
    assert alone != rows_of(PretrainingLearner(small(), *book, length=40, seed=4), numbers)


@pytest.mark.parametrize("next_sentence", [True, False])
def test_the_losses_of_examples_are_independent(book: Book, next_sentence: bool) -> None:
    learner = PretrainingLearner(small().eval(), *book, length=40, next_sentence=next_sentence)
    examples = [3, 8, 20, 21]
    alone = torch.stack([learner.loss([number]) for number in examples]).sum(0)
    torch.testing.assert_close(learner.loss(examples), alone)


def test_micro_batches_give_the_same_gradients(book: Book) -> None:
    losses = []
    for micro_tokens in (10_000, 60):
        model, _ = pair_of_models("BertForPreTraining")
        learner = PretrainingLearner(model, *book, length=40)
        settings = Settings(batch_tokens=400, steps=6, log_every=1, micro_tokens=micro_tokens, learning_rate=1e-2)
        losses.append([record["loss"] for record in train(learner, settings, show_progress=False).records])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_mismatched_models_are_refused(book: Book) -> None:
    corpus, tokenizer = book
    masked = bertie.BertForMaskedLM(bertie.BertConfig(**SIZES))
    with pytest.raises(InputError, match="A BertForMaskedLM has no next-sentence head; take a BertForPreTraining"):
        PretrainingLearner(masked, corpus, tokenizer, length=40)
    with pytest.raises(InputError, match="A BertModel has no masked-LM head"):
        PretrainingLearner(bertie.BertModel(bertie.BertConfig(**SIZES)), corpus, tokenizer, length=40)
    alike = bertie.BertForPreTraining(bertie.BertConfig(**{**SIZES, "type_vocab_size": 1}))
    with pytest.raises(InputError, match=r"The model has one token type \(type_vocab_size\), but pairs need two"):
        PretrainingLearner(alike, corpus, tokenizer, length=40)
    with pytest.raises(InputError, match="The length is 65, but the model has 64 positions"):
        PretrainingLearner(small(), corpus, tokenizer, length=65)
    with pytest.raises(InputError, match="The tokenizer has 800 tokens, but the model's embeddings only 700"):
        PretrainingLearner(
            bertie.BertForPreTraining(bertie.BertConfig(**{**SIZES, "vocab_size": 700})), *book, length=9
        )
    other = bertie.BertTokenizer(tokenizer.get_vocab(), do_lower_case=False)
    with pytest.raises(InputError, match=r"was prepared with another tokenizer; take the one in .*/tokenizer', or"):
        PretrainingLearner(small(), corpus, other, length=40)


def test_examples_are_described_by_their_words(book: Book) -> None:
    learner = PretrainingLearner(small(), *book, length=40)
    count = len(learner.sizes)
    said = learner.describe([3, count + 1, 7, 8, 9])
    first = book[1].decode(learner._example(3).texts[0].ids[1:13].tolist())
    assert said.startswith(f"example 3 of epoch 0, which begins {first!r}; example 1 of epoch 1, which")
    assert said.endswith("; and 2 more")
