"""A teacher's vectors: literal cosines, gradients, and which teachers are refused."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie
from bertie.config import IGNORED
from bertie.errors import InputError, InputTypeError
from bertie.pretraining.heldout import heldout_figures
from bertie.pretraining.pretraining_learner import PretrainingLearner
from bertie.pretraining.shards import Corpus
from bertie.tasks.sentence_transformers_config import Layer, Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe
from bertie.training.grad_accumulation import means_of

Book = tuple[Corpus, bertie.BertTokenizer]
SIZES = {
    "vocab_size": 800,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 300,
}


@pytest.fixture(scope="module")
def folder(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher: the mean of its last hidden states, of length 1, read up to 20 tokens."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("teacher")
    bertie.BertModel(bertie.BertConfig(**SIZES)).save_pretrained(folder)
    book[1].save_pretrained(folder)
    write_recipe(folder, Recipe(max_length=20, layers=(Layer("Normalize", None),)), 16)
    return folder


def student_of(folder: Path) -> Any:
    torch.manual_seed(2)
    student = bertie.BertForPreTraining(bertie.BertConfig(**SIZES))
    student.bert.load_state_dict(bertie.BertModel.from_pretrained(folder).state_dict())
    return student.eval()


def test_a_student_equal_to_the_teacher_has_no_loss(book: Book, folder: Path) -> None:
    learner = PretrainingLearner(student_of(folder), *book, length=256, teacher=bertie.pipeline("embed", folder))
    assert learner.loss([0, 1])[2].item() == pytest.approx(0, abs=1e-5)
    assert learner.divisor([0, 1])["teacher"] == 4  # one sentence for every 128 tokens
    assert heldout_figures(learner, 512)["teacher_cosine"] == pytest.approx(1, abs=1e-6)


def test_the_loss_is_one_minus_the_cosine_of_means(book: Book, folder: Path) -> None:
    torch.manual_seed(3)
    student = bertie.BertForPreTraining(bertie.BertConfig(**SIZES)).eval()
    reference = transformers.BertForPreTraining(transformers.BertConfig(**SIZES)).eval()
    student.load_state_dict(reference.state_dict())
    teacher = transformers.BertModel.from_pretrained(folder).eval()
    learner = PretrainingLearner(
        student, *book, length=40, teacher=bertie.pipeline("embed", folder), teacher_weight=3.0
    )
    sentences = learner.batch(range(6)).sentences
    assert max(sentences.lengths) == 20
    losses = []
    for ids in sentences.input_ids:
        assert (ids[0], ids[-1]) == (book[1].cls_token_id, book[1].sep_token_id)
        row = torch.tensor([ids])
        means = [model(row).last_hidden_state[0].mean(0) for model in (reference.bert, teacher)]
        losses.append(1 - torch.nn.functional.cosine_similarity(means[0], means[1].detach(), dim=0))
    expected = 3 * torch.stack(losses).sum()
    found = learner.loss(range(6))[2]
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    for name, parameter in reference.named_parameters():
        if parameter.grad is not None:
            own, scale = dict(student.named_parameters())[name].grad, max(1.0, float(parameter.grad.abs().max()))
            torch.testing.assert_close(own, parameter.grad, atol=2e-5 * scale, rtol=0, msg=name)


def test_sentences_do_not_change_the_texts(book: Book, folder: Path) -> None:
    corpus, tokenizer = book
    with_teacher = PretrainingLearner(
        student_of(folder), corpus, tokenizer, length=128, teacher=bertie.pipeline("embed", folder)
    )
    without = PretrainingLearner(student_of(folder), corpus, tokenizer, length=128)
    one, other = with_teacher.batch([3, 4]), without.batch([3, 4])
    assert one.features.ids[: len(other.features.ids)].tolist() == other.features.ids.tolist()
    assert (one.labels[len(other.labels) :] == -100).all()
    assert with_teacher.sizes[np.array([3, 4])].sum() == len(one.features.ids)


def test_every_second_sentence_is_masked_for_the_student_only(book: Book, folder: Path) -> None:
    made = partial(PretrainingLearner, student_of(folder), *book, length=256, teacher=bertie.pipeline("embed", folder))
    plain, masking = made(), made(mask_sentences=True)
    texts = sum(len(text.ids) for number in range(8) for text in plain._example(number).texts)
    one, other = plain.batch(range(8)), masking.batch(range(8))
    assert other.sentences.input_ids == one.sentences.input_ids
    assert (other.labels[:texts] == one.labels[:texts]).all()
    assert (other.features.ids[:texts] == one.features.ids[:texts]).all()
    labels = np.split(other.labels[texts:], np.cumsum(other.sentences.lengths)[:-1])
    assert [(row != IGNORED).any() for row in labels] == [False, False, True, True] * 4
    for ids, row in zip(other.sentences.input_ids, labels, strict=True):
        guessed = np.flatnonzero(row != IGNORED)
        assert row[guessed].tolist() == np.array(ids)[guessed].tolist()
    assert masking.divisor(range(8)) == {**plain.divisor(range(8)), "masked_lm": (other.labels != IGNORED).sum()}
    assert masking.loss(range(8))[2] > plain.loss(range(8))[2] + 0.01


def test_a_student_comes_nearer_to_its_teacher(book: Book, folder: Path) -> None:
    torch.manual_seed(4)
    student = bertie.BertForPreTraining(bertie.BertConfig(**SIZES)).eval()
    learner = PretrainingLearner(student, *book, length=64, teacher=bertie.pipeline("embed", folder))
    optimizer = torch.optim.AdamW(student.parameters(), 1e-2)
    before = heldout_figures(learner, 2048)["teacher_cosine"]
    for step in range(20):
        examples = range(16 * step, 16 * step + 16)
        optimizer.zero_grad()
        means_of(learner.loss(examples), learner.divisor(examples)).sum().backward()
        optimizer.step()
    assert heldout_figures(learner, 2048)["teacher_cosine"] > before + 0.1


def test_mismatched_teachers_are_refused(book: Book, folder: Path, minilm: Path, tmp_path: Path) -> None:
    corpus, tokenizer = book
    student = student_of(folder)
    with pytest.raises(InputError, match=r"model' has another vocabulary than the data; prepare the data with the"):
        PretrainingLearner(student, corpus, tokenizer, length=40, teacher=bertie.pipeline("embed", minilm))
    wide = bertie.BertForPreTraining(bertie.BertConfig(**{**SIZES, "hidden_size": 32}))
    with pytest.raises(InputError, match="vectors of 16 numbers, but the model's hidden states have 32"):
        PretrainingLearner(wide, corpus, tokenizer, length=40, teacher=bertie.pipeline("embed", folder))
    bertie.BertModel(bertie.BertConfig(**SIZES)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_recipe(tmp_path, Recipe(prompts={"query": "a: "}, default_prompt="query"), 16)
    with pytest.raises(InputError, match="puts a prompt before every text"):
        PretrainingLearner(student, corpus, tokenizer, length=40, teacher=bertie.pipeline("embed", tmp_path))
    other: Any = bertie.pipeline("feature-extraction", folder)
    with pytest.raises(InputTypeError, match="A teacher is a pipeline for 'embed', not for 'feature-extraction'"):
        PretrainingLearner(student, corpus, tokenizer, length=40, teacher=other)
