"""Examples to pretrain on, made when they are asked for: seed, epoch and number say what each is, whoever makes it."""

from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.pretraining.shards import Corpus, Shard
from bertie.tokenization.tokenizer import Tokenizer

Ids = NDArray[np.int64]

SHORT = 0.1
"""The share of pairs of a random length, so that a model meets short texts too (BERT, appendix A.2)."""
ONE_IN = 128
"""For every so many tokens of an example's length there is one sentence by itself."""


class Text(NamedTuple):
    """``[CLS] A [SEP] B [SEP]``, or ``[CLS] A [SEP]``: ``ids`` and ``token_types`` ``[S]``.

    ``follows`` is 0 if B follows A in its document, 1 if it does not, and `IGNORED` where there is no B.
    """

    ids: Ids
    token_types: Ids
    follows: int = IGNORED


class NextSentencePairs:
    """Pairs of texts of which half follow one another (BERT, section 3.1, task 2, and appendix A.2).

    The tokens of the corpus are divided into stretches of the pairs' length, from a random place on in each epoch; an
    example is the pairs that begin in its stretch. As in the original, a pair takes as many sentences of a document as
    fill it. A is a random number of them; B is the rest or, half of the time, as much of another document from a random
    sentence on, and then the rest begins the next pair. ``length`` is the most tokens of a pair, special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, seed: int = 0) -> None:
        if corpus.documents < 2:
            raise InputError("Pairs of sentences need two documents at least, and there is one; give more.")
        if corpus.documents == corpus.sentence_starts[-1]:
            raise InputError(
                f"Each of the {corpus.documents} documents is one sentence, so none follows another; learn without "
                "next sentences, or prepare the data with larger documents (--documents)."
            )
        if length < 5:
            raise InputError(f"The length is {length}; a pair needs 5 tokens at least, 3 of them special.")
        self._corpus, self._seed, self._room = corpus, seed, length - 3
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def __len__(self) -> int:
        return -(-self._corpus.tokens // self._room)

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the pairs of a number from 0 on: those that begin in its stretch, or go through all of it."""
        draw, pairs = Random(f"{self._seed} {epoch} {number}"), []
        done, end = number * self._room, min((number + 1) * self._room, self._corpus.tokens)
        begin = _begin(self._corpus.tokens, self._seed, epoch)
        while done < end:
            shard, place = self._corpus.locate((begin + done) % self._corpus.tokens)
            sentence = shard.sentence_at(place - 1) + 1 if place else 0  # the first that begins here or behind
            done += shard.start_of(sentence) - place
            if done < end and sentence < len(shard.sentences):
                pair, after = self._pair(draw, shard, sentence)
                pairs.append(pair)
                done += shard.start_of(after) - shard.start_of(sentence)
        if not pairs:  # one sentence is longer than the stretch
            shard, place = self._corpus.locate((begin + number * self._room) % self._corpus.tokens)
            pairs.append(self._pair(draw, shard, shard.sentence_at(place))[0])
        return pairs

    def _pair(self, draw: Random, shard: Shard, sentence: int) -> tuple[Text, int]:
        """Return the pair that begins with a sentence, and the sentence that the next one begins with."""
        target = draw.randint(2, self._room) if draw.random() < SHORT else self._room
        begin, end = shard.document_of(sentence)
        # the last sentence of a document has none that follows: the one before it begins the pair
        first = max(begin, min(sentence, end - 2))
        # two sentences at least, however long the first is, or what begins with it would never be followed
        stop = max(_reached(shard, first, end, target), min(end, first + 2))
        cut = draw.randint(first + 1, max(first + 1, stop - 1))
        a = shard.tokens(first, cut)
        follows = cut < stop and draw.random() < 0.5
        b = shard.tokens(cut, stop) if follows else self._elsewhere(draw, shard, (begin, end), target - len(a))
        pair = self._joined(*_cut(a, b, self._room, draw), 0 if follows else 1)
        return pair, max(stop if follows else cut, sentence + 1)

    def _elsewhere(self, draw: Random, here: Shard, document: tuple[int, int], target: int) -> Ids:
        """Return about ``target`` tokens of another document than that of these sentences, from a random token's on."""
        total, (start, stop) = self._corpus.tokens, map(here.start_of, document)
        token = draw.randrange(total)
        shard, place = self._corpus.locate(token)
        if shard is here and start <= place < stop:  # then among the others, so that two draws are always enough
            before, token = token - place + start, draw.randrange(total - (stop - start))
            shard, place = self._corpus.locate(token if token < before else token + stop - start)
        first = shard.sentence_at(place)
        return shard.tokens(first, _reached(shard, first, shard.document_of(first)[1], target))

    def _joined(self, a: Ids, b: Ids, follows: int) -> Text:
        ids = np.concatenate([self._cls, a, self._sep, b, self._sep], dtype=np.int64)
        return Text(ids, (np.arange(len(ids)) >= len(a) + 2).astype(np.int64), follows)


class DocumentStretches:
    """Stretches of documents of one length, without pairs, as RoBERTa has them (Liu et al. 2019, section 4.2).

    Where a stretch crosses the border of a document, it becomes two texts, which do not attend to each other.
    ``length`` is the most tokens of an example's texts together, special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, seed: int = 0) -> None:
        if length < 3:
            raise InputError(f"The length is {length}; a text needs 3 tokens at least, 2 of them special.")
        self._corpus, self._seed, self._length = corpus, seed, length
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def __len__(self) -> int:
        return -(-self._corpus.tokens // (self._length - 2))

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the texts of a number from 0 on, each ``[CLS] … [SEP]``."""
        texts: list[Text] = []
        width = self._length - 2
        done, left = number * width, self._length
        begin = _begin(self._corpus.tokens, self._seed, epoch)
        while left > 2 and done < self._corpus.tokens:
            shard, place = self._corpus.locate((begin + done) % self._corpus.tokens)
            end = int(shard.sentences[shard.document_of(shard.sentence_at(place))[1] - 1])
            part = shard.ids[place : min(end, place + left - 2)][: self._corpus.tokens - done]
            texts.append(_single(self._cls, part, self._sep))
            done, left = done + len(part), left - len(part) - 2
        return texts


class RandomSentences:
    """Single sentences by themselves, ``[CLS] … [SEP]``: all sentences of the corpus are drawn equally often.

    An example is one sentence for every `ONE_IN` tokens of the length that pairs or stretches have. A sentence ends
    after ``limit`` tokens, special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, limit: int, seed: int = 0) -> None:
        self._corpus, self._seed, self._room, self._count = corpus, seed, limit - 2, max(1, length // ONE_IN)
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the sentences of a number from 0 on."""
        draw, total = Random(f"{self._seed} {epoch} {number} sentences"), int(self._corpus.sentence_starts[-1])
        drawn = (self._corpus.sentence(draw.randrange(total)) for _ in range(self._count))
        return [_single(self._cls, ids[: self._room], self._sep) for ids in drawn]


def _single(cls: Ids, part: NDArray[Any], sep: Ids) -> Text:
    ids = np.concatenate([cls, part, sep], dtype=np.int64)
    return Text(ids, np.zeros_like(ids))


def _special(token_id: int) -> Ids:
    return np.array([token_id], np.int64)


@lru_cache(maxsize=4)
def _begin(tokens: int, seed: int, epoch: int) -> int:
    """Return the token at which an epoch begins."""
    return Random(f"{seed} {epoch}").randrange(tokens)


def _reached(shard: Shard, first: int, end: int, target: int) -> int:
    """Return the sentence before which ``target`` tokens from the sentence ``first`` on are reached, or ``end``."""
    wanted = shard.start_of(first) + max(1, target)
    return min(end, first + int(shard.sentences[first:end].searchsorted(wanted)) + 1)


def _cut(a: Ids, b: Ids, room: int, draw: Random) -> tuple[Ids, Ids]:
    """Cut the longer of two texts until both fit, at either end by chance."""
    half = room - room // 2
    kept_a = min(len(a), max(half, room - len(b)))
    kept_b = min(len(b), room - kept_a)
    return _without(a, len(a) - kept_a, draw), _without(b, len(b) - kept_b, draw)


def _without(ids: Ids, surplus: int, draw: Random) -> Ids:
    front = draw.getrandbits(surplus).bit_count() if surplus else 0
    return ids[front : len(ids) - (surplus - front)]
