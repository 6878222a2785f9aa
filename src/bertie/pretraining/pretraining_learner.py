"""What the training loop learns from in pretraining: masked tokens, next sentences, and a teacher's vectors.

Letters: R rows, T tokens in all, M of them to be guessed, N sentences, D numbers of a vector.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.models.task_model import TaskModel
from bertie.pipelines import EmbedPipeline
from bertie.pretraining.examples import DocumentStretches, NextSentencePairs, RandomSentences, Text
from bertie.pretraining.shards import Corpus
from bertie.pretraining.teacher import Teacher
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.features import Features
from bertie.tasks.masking import Masker, Masking
from bertie.tasks.summed_losses import cross_entropy_sum
from bertie.tokenization.fast import BertTokenizer
from bertie.training.learner import first_of
from bertie.training.sampler import LookedUpSizes

# The terms of the loss; the first is the one that is published, and measured on documents held out.
MASKED_LM, NEXT_SENTENCE, TEACHER = TERMS = ("masked_lm", "next_sentence", "teacher")
# So many examples are kept: those of a step are asked for their sizes, their labels and their loss.
_KEPT = 8_192
# The size of so many says how many make a step: pairs that do not follow are longer than their part of the corpus.
_MEASURED = 256


class Example(NamedTuple):
    """What one number gives: texts to be masked, and sentences for the teacher."""

    texts: list[Text]
    sentences: list[Text]

    @property
    def size(self) -> int:
        return sum(len(text.ids) for text in (*self.texts, *self.sentences))


class Batch(NamedTuple):
    """Rows as the model sees them, texts first and then sentences, and what is to be learned of them."""

    features: Features  # R rows
    labels: Integers  # [T], `IGNORED` where a token is not to be guessed
    follows: Integers  # [R], 0 or 1, and `IGNORED` for a row that is no pair
    sentences: Features  # the last rows as the teacher reads them, nothing masked

    @property
    def places(self) -> Integers:
        """The tokens to guess, ``[M]``."""
        return np.flatnonzero(self.labels != IGNORED)


class PretrainingLearner:
    """A `bertie.training.Learner` of prepared documents: the losses of BERT (section 3.1), and optionally a teacher's.

    Examples are made when they are asked for. Number ``epoch * count + i`` is example ``i`` of an epoch: which texts
    it has, which of their tokens are masked and which sentences the teacher is asked for follow from the seed and that
    number alone. The loss has a sum for masked tokens, then one for next sentences, then the teacher's.

    For every 128 tokens of the length, a teacher and the model read one sentence of the corpus beside the texts: the
    mean of its last hidden states learns to have the direction of the teacher's vector (the loss is 1 minus the
    cosine). With ``mask_sentences``, every second example has its sentences masked for the model like its texts: a
    model that sees nothing but pairs masked is unsure of the words of a single sentence.
    """

    def __init__(
        self,
        model: nn.Module,  # a `BertForPreTraining`; without next sentences a `BertForMaskedLM` serves as well
        corpus: Corpus,
        tokenizer: BertTokenizer,
        *,
        length: int,  # the most tokens of a text, special tokens included
        next_sentence: bool = True,  # pairs, of which half are consecutive; False makes stretches of documents
        masking: Masking | None = None,
        teacher: EmbedPipeline | None = None,
        teacher_weight: float = 1.0,
        mask_sentences: bool = False,
        seed: int = 0,
    ) -> None:
        self.model, self.tokenizer, self.length, self.seed = model, tokenizer, length, seed
        config = TaskModel(model).config
        _check_model(model, tokenizer, length, next_sentence)
        corpus.check_tokenizer(tokenizer)
        self.next_sentence = next_sentence
        made = NextSentencePairs if next_sentence else DocumentStretches
        self._texts = made(corpus, tokenizer, length, seed)
        self._masker = Masker(masking or Masking(), tokenizer, config.vocab_size)
        self.teacher = None if teacher is None else Teacher(teacher, tokenizer, config.hidden_size)
        self._teacher_weight, self._mask_sentences = teacher_weight, mask_sentences
        limit = min(length, self.teacher.limit) if self.teacher else length
        self._sentences = RandomSentences(corpus, tokenizer, length, limit, seed)
        self._example = lru_cache(maxsize=_KEPT)(self._made)
        some = np.unique(np.linspace(0, len(self._texts) - 1, _MEASURED).astype(np.int64))
        usual = max(1, round(float(self._sizes_of(some).mean())))
        self.sizes = LookedUpSizes(len(self._texts), self._sizes_of, usual)

    def divisor(self, examples: Sequence[int]) -> dict[str, float]:
        """Return how many tokens, pairs and sentences of these examples have something to be learned."""
        texts, sentences, masked = self._rows(examples)
        ids, lengths = _side_by_side(texts + sentences)
        counts = {MASKED_LM: float(self._masker.counts(ids, lengths, np.repeat(masked, lengths)).sum())}
        if self.next_sentence:
            counts[NEXT_SENTENCE] = float(len(texts))
        if self.teacher is not None:
            counts[TEACHER] = float(len(sentences))
        return counts

    def loss(self, examples: Sequence[int]) -> Tensor:
        """Return the sums ``[K]`` of the losses of these examples."""
        batch = self.batch(examples)
        outputs = self.outputs(batch)
        sums = [cross_entropy_sum(outputs["masked_lm"], batch.labels[batch.places])]
        if self.next_sentence:
            sums.append(cross_entropy_sum(outputs["next_sentence"], batch.follows))
        if self.teacher is not None:
            cosines = self.teacher.cosines(outputs["hidden_states"], batch.sentences)
            sums.append(self._teacher_weight * (1 - cosines).sum())
        return torch.stack(sums)

    def describe(self, examples: Sequence[int]) -> str:
        """Return the numbers and the first words of these examples."""

        def name(number: int) -> str:
            epoch, place = divmod(number, len(self.sizes))
            words = self.tokenizer.decode(self._example(number).texts[0].ids[1:13].tolist())
            return f"example {place} of epoch {epoch}, which begins {words!r}"

        return first_of(examples, name)

    def batch(self, examples: Sequence[int]) -> Batch:
        """Return these examples as the model sees them, masked."""
        texts, sentences, masked = self._rows(examples)
        rows = texts + sentences
        ids, lengths = _side_by_side(rows)
        seen = self._masker.mask(ids, lengths, self._draws(examples), np.repeat(masked, lengths))
        features = Features(
            ids=ids,
            types=np.concatenate([text.token_types for text in rows]),
            lengths=lengths,
            truncated=[0] * len(rows),
            empty=[False] * len(rows),
        )
        unmasked = features.select(range(len(texts), len(rows)))
        follows = np.array([text.follows for text in rows])
        return Batch(replace(features, ids=seen.ids), seen.labels, follows, unmasked)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model gives for a batch: see `bertie.tasks.model.Model.pretraining`."""
        return TaskModel(self.model).pretraining(batch.features, batch.places)

    def _sizes_of(self, examples: Integers) -> Integers:
        return np.array([self._example(number).size for number in examples.tolist()], np.int64)

    def _made(self, number: int) -> Example:
        epoch, place = divmod(number, len(self._texts))
        sentences = self._sentences.example(epoch, place) if self.teacher else []
        return Example(self._texts.example(epoch, place), sentences)

    def _rows(self, examples: Sequence[int]) -> tuple[list[Text], list[Text], list[bool]]:
        """Return the texts of examples, their sentences, and which of these rows are masked."""
        found = [(number, self._example(number)) for number in examples]
        texts = [text for _, example in found for text in example.texts]
        sentences = [(text, number) for number, example in found for text in example.sentences]
        masked = [self._mask_sentences and number % 2 == 1 for _, number in sentences]
        return texts, [text for text, _ in sentences], [True] * len(texts) + masked

    def _draws(self, examples: Sequence[int]) -> Array:
        """Return the random numbers that mask the tokens of texts and then those of sentences."""
        drawn: tuple[list[Array], list[Array]] = ([], [])
        for number in examples:
            generator = np.random.default_rng([self.seed, number])
            for part, rows in zip(drawn, self._example(number), strict=True):
                part.append(generator.random((self._masker.masking.draws, sum(len(text.ids) for text in rows))))
        return np.concatenate([*drawn[0], *drawn[1]], axis=1)


def _side_by_side(texts: Iterable[Text]) -> tuple[Integers, list[int]]:
    """Return the ids ``[T]`` of texts, and their lengths."""
    ids = [text.ids for text in texts]
    return np.concatenate([np.zeros(0, np.int64), *ids]), list(map(len, ids))


def _check_model(model: nn.Module, tokenizer: BertTokenizer, length: int, next_sentence: bool) -> None:
    """Refuse a model without the heads, positions or embeddings that are needed."""
    config, heads = TaskModel(model).config, getattr(model, "cls", None)
    if not hasattr(heads, "predictions"):
        raise InputError(f"A {type(model).__name__} has no masked-LM head; take a BertForPreTraining.")
    if next_sentence and not hasattr(heads, "seq_relationship"):
        raise InputError(
            f"A {type(model).__name__} has no next-sentence head; take a BertForPreTraining, or learn without next "
            "sentences."
        )
    if next_sentence and config.type_vocab_size < 2:
        raise InputError(
            "The model has one token type (type_vocab_size), and pairs have two; take another config, or learn without "
            "next sentences."
        )
    if length > config.max_tokens:
        raise InputError(f"The length is {length}, but the model has {config.max_tokens} positions; give at most that.")
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"The tokenizer has {len(tokenizer)} tokens, but the model's embeddings only {config.vocab_size}: they do "
            "not belong together; take the model's own tokenizer to prepare the data."
        )
