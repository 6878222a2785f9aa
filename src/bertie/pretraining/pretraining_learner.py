"""The learner of pretraining: masked tokens, next sentences, and a teacher's vectors.

Letters: R rows, T tokens in all, M masked tokens, N sentences, D hidden.
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

# The terms of the loss; the first is the one that is published and evaluated on documents held out.
MASKED_LM, NEXT_SENTENCE, TEACHER = TERMS = ("masked_lm", "next_sentence", "teacher")
# Examples are cached, as a step needs each of them for its size, its labels and its loss.
_CACHED = 8_192
# The sample for the mean size, from which the examples of a step are counted: pairs that are not consecutive are longer
# than their stretch of the corpus.
_MEASURED = 256


class Example(NamedTuple):
    """One example: texts to be masked, and sentences for the teacher."""

    texts: list[Text]
    sentences: list[Text]

    @property
    def size(self) -> int:
        return sum(len(text.ids) for text in (*self.texts, *self.sentences))


class Batch(NamedTuple):
    """The rows of a batch, texts first and then sentences, with their labels."""

    features: Features  # R rows, masked
    labels: Integers  # [T], `IGNORED` for tokens that are not masked
    follows: Integers  # [R], 0 or 1, and `IGNORED` for rows that are not pairs
    sentences: Features  # the last rows, unmasked, for the teacher

    @property
    def masked_positions(self) -> Integers:
        """The positions of the masked tokens, ``[M]``."""
        return np.flatnonzero(self.labels != IGNORED)


class PretrainingLearner:
    """A `bertie.training.Learner` of prepared documents: the losses of BERT (section 3.1), and optionally a teacher's.

    Examples are made on demand. Number ``epoch * count + i`` is example ``i`` of an epoch: its texts, their masks and
    the sentences for the teacher depend only on the seed and that number. The terms of the loss are, in this order,
    masked tokens, next sentences, and the teacher.

    For every 128 tokens of the length, teacher and model also read one single sentence of the corpus: the mean of the
    model's last hidden states learns the direction of the teacher's vector (the loss is 1 minus the cosine). With
    ``mask_sentences``, the sentences of every second example are masked for the model too, as a model that has only
    seen masks in pairs is unsure of the words of single sentences.
    """

    def __init__(
        self,
        model: nn.Module,  # a `BertForPreTraining`; without next sentences, a `BertForMaskedLM` works too
        corpus: Corpus,
        tokenizer: BertTokenizer,
        *,
        length: int,  # maximum tokens of a text, special tokens included
        next_sentence: bool = True,  # pairs, half of them consecutive; False: stretches of documents
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
        kind = NextSentencePairs if next_sentence else DocumentStretches
        self._texts = kind(corpus, tokenizer, length, seed)
        self._masker = Masker(masking or Masking(), tokenizer, config.vocab_size)
        self.teacher = None if teacher is None else Teacher(teacher, tokenizer, config.hidden_size)
        self._teacher_weight, self._mask_sentences = teacher_weight, mask_sentences
        limit = min(length, self.teacher.limit) if self.teacher else length
        self._sentences = RandomSentences(corpus, tokenizer, length, limit, seed)
        self._example = lru_cache(maxsize=_CACHED)(self._make)
        sample = np.unique(np.linspace(0, len(self._texts) - 1, _MEASURED).astype(np.int64))
        mean = max(1, round(float(self._sizes_of(sample).mean())))
        self.sizes = LookedUpSizes(len(self._texts), self._sizes_of, mean)

    def divisor(self, examples: Sequence[int]) -> dict[str, float]:
        """Return the numbers of masked tokens, pairs and sentences in these examples."""
        texts, sentences, masked = self._rows(examples)
        ids, lengths = _concatenate(texts + sentences)
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
        sums = [cross_entropy_sum(outputs["masked_lm"], batch.labels[batch.masked_positions])]
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
        """Return these examples as a masked batch."""
        texts, sentences, masked = self._rows(examples)
        rows = texts + sentences
        ids, lengths = _concatenate(rows)
        result = self._masker.mask(ids, lengths, self._random_numbers(examples), np.repeat(masked, lengths))
        features = Features(
            ids=ids,
            types=np.concatenate([text.token_types for text in rows]),
            lengths=lengths,
            truncated=[0] * len(rows),
            empty=[False] * len(rows),
        )
        unmasked = features.select(range(len(texts), len(rows)))
        follows = np.array([text.follows for text in rows])
        return Batch(replace(features, ids=result.ids), result.labels, follows, unmasked)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the model's outputs for a batch: see `bertie.tasks.model.Model.pretraining`."""
        return TaskModel(self.model).pretraining(batch.features, batch.masked_positions)

    def _sizes_of(self, examples: Integers) -> Integers:
        return np.array([self._example(number).size for number in examples.tolist()], np.int64)

    def _make(self, number: int) -> Example:
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

    def _random_numbers(self, examples: Sequence[int]) -> Array:
        """Return the random numbers for masking, of the tokens of texts and then of sentences."""
        numbers: tuple[list[Array], list[Array]] = ([], [])
        for number in examples:
            generator = np.random.default_rng([self.seed, number])
            for part, rows in zip(numbers, self._example(number), strict=True):
                part.append(generator.random((self._masker.masking.draws, sum(len(text.ids) for text in rows))))
        return np.concatenate([*numbers[0], *numbers[1]], axis=1)


def _concatenate(texts: Iterable[Text]) -> tuple[Integers, list[int]]:
    """Return the ids ``[T]`` of texts, and their lengths."""
    ids = [text.ids for text in texts]
    return np.concatenate([np.zeros(0, np.int64), *ids]), list(map(len, ids))


def _check_model(model: nn.Module, tokenizer: BertTokenizer, length: int, next_sentence: bool) -> None:
    """Refuse a model without the required heads, positions or embeddings."""
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
            "The model has one token type (type_vocab_size), but pairs need two; take another config, or learn without "
            "next sentences."
        )
    if length > config.max_tokens:
        raise InputError(f"The length is {length}, but the model has {config.max_tokens} positions; give at most that.")
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"The tokenizer has {len(tokenizer)} tokens, but the model's embeddings only {config.vocab_size}: they do "
            "not belong together; prepare the data with the model's own tokenizer."
        )
