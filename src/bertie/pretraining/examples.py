"""Pretraining examples, made on demand: each is a pure function of seed, epoch and number."""

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

# the share of pairs with a random shorter length (BERT, appendix A.2)
SHORT_SHARE = 0.1
# an example has one single sentence per this many tokens of its length
TOKENS_PER_SENTENCE = 128


class Text(NamedTuple):
    """``[CLS] A [SEP] B [SEP]``, or ``[CLS] A [SEP]``: ``ids`` and ``token_types`` ``[S]``.

    ``follows`` is 0 if B follows A in its document, 1 if it does not, and `IGNORED` if there is no B.
    """

    ids: Ids
    token_types: Ids
    follows: int = IGNORED


class NextSentencePairs:
    """Pairs of texts, half of which are consecutive (BERT, section 3.1, task 2, and appendix A.2).

    The tokens of the corpus are divided into stretches of the pairs' length, from a random offset in each epoch; an
    example consists of the pairs that begin in its stretch. As in the original, a pair takes as many sentences of a
    document as fill it. A is a random number of them. B is the rest or, half of the time, as much of another document
    from a random sentence on; the rest then begins the next pair. ``length`` is the maximum number of tokens of a pair,
    special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, seed: int = 0) -> None:
        if corpus.documents < 2:
            raise InputError("Pairs of sentences need at least two documents, and there is one; give more.")
        if corpus.documents == corpus.sentence_starts[-1]:
            raise InputError(
                f"Each of the {corpus.documents} documents is one sentence, so none follows another; learn without "
                "next sentences, or prepare the data with larger documents (--documents)."
            )
        if length < 5:
            raise InputError(f"The length is {length}; a pair needs at least 5 tokens, 3 of them special.")
        self._corpus, self._seed, self._room = corpus, seed, length - 3
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def __len__(self) -> int:
        return -(-self._corpus.tokens // self._room)

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the pairs of example ``number`` (from 0): those that begin in its stretch, or span all of it."""
        rng, pairs = Random(f"{self._seed} {epoch} {number}"), []
        done, end = number * self._room, min((number + 1) * self._room, self._corpus.tokens)
        begin = _epoch_offset(self._corpus.tokens, self._seed, epoch)
        while done < end:
            shard, place = self._corpus.locate((begin + done) % self._corpus.tokens)
            sentence = shard.sentence_at(place - 1) + 1 if place else 0  # the first that begins here or later
            done += shard.start_of(sentence) - place
            if done < end and sentence < len(shard.sentences):
                pair, after = self._pair(rng, shard, sentence)
                pairs.append(pair)
                done += shard.start_of(after) - shard.start_of(sentence)
        if not pairs:  # one sentence is longer than the stretch
            shard, place = self._corpus.locate((begin + number * self._room) % self._corpus.tokens)
            pairs.append(self._pair(rng, shard, shard.sentence_at(place))[0])
        return pairs

    def _pair(self, rng: Random, shard: Shard, sentence: int) -> tuple[Text, int]:
        """Return the pair that begins with a sentence, and the sentence that the next one begins with."""
        target = rng.randint(2, self._room) if rng.random() < SHORT_SHARE else self._room
        begin, end = shard.document_of(sentence)
        # a document's last sentence has no successor: the one before it begins the pair
        first = max(begin, min(sentence, end - 2))
        # at least two sentences, however long the first is, or pairs beginning with it would never be consecutive
        stop = max(_stop_sentence(shard, first, end, target), min(end, first + 2))
        cut = rng.randint(first + 1, max(first + 1, stop - 1))
        a = shard.tokens(first, cut)
        follows = cut < stop and rng.random() < 0.5
        b = shard.tokens(cut, stop) if follows else self._random_text(rng, shard, (begin, end), target - len(a))
        pair = self._make_text(*_truncate_pair(a, b, self._room, rng), 0 if follows else 1)
        return pair, max(stop if follows else cut, sentence + 1)

    def _random_text(self, rng: Random, here: Shard, document: tuple[int, int], target: int) -> Ids:
        """Return about ``target`` tokens of another document, from the sentence of a random token on."""
        total, (start, stop) = self._corpus.tokens, map(here.start_of, document)
        token = rng.randrange(total)
        shard, place = self._corpus.locate(token)
        if shard is here and start <= place < stop:  # draw again among all other tokens
            before, token = token - place + start, rng.randrange(total - (stop - start))
            shard, place = self._corpus.locate(token if token < before else token + stop - start)
        first = shard.sentence_at(place)
        return shard.tokens(first, _stop_sentence(shard, first, shard.document_of(first)[1], target))

    def _make_text(self, a: Ids, b: Ids, follows: int) -> Text:
        ids = np.concatenate([self._cls, a, self._sep, b, self._sep], dtype=np.int64)
        return Text(ids, (np.arange(len(ids)) >= len(a) + 2).astype(np.int64), follows)


class DocumentStretches:
    """Stretches of documents of one length, without pairs, as in RoBERTa (Liu et al. 2019, section 4.2).

    A stretch that crosses a document boundary becomes two texts, which do not attend to each other. ``length`` is the
    maximum number of tokens of an example's texts together, special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, seed: int = 0) -> None:
        if length < 3:
            raise InputError(f"The length is {length}; a text needs at least 3 tokens, 2 of them special.")
        self._corpus, self._seed, self._length = corpus, seed, length
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def __len__(self) -> int:
        return -(-self._corpus.tokens // (self._length - 2))

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the texts of example ``number`` (from 0), each ``[CLS] … [SEP]``."""
        texts: list[Text] = []
        width = self._length - 2
        done, left = number * width, self._length
        begin = _epoch_offset(self._corpus.tokens, self._seed, epoch)
        while left > 2 and done < self._corpus.tokens:
            shard, place = self._corpus.locate((begin + done) % self._corpus.tokens)
            end = int(shard.sentences[shard.document_of(shard.sentence_at(place))[1] - 1])
            part = shard.ids[place : min(end, place + left - 2)][: self._corpus.tokens - done]
            texts.append(_single(self._cls, part, self._sep))
            done, left = done + len(part), left - len(part) - 2
        return texts


class RandomSentences:
    """Single sentences, ``[CLS] … [SEP]``, drawn uniformly from the corpus.

    An example has one sentence for every `TOKENS_PER_SENTENCE` tokens of ``length``, that of pairs or stretches.
    Sentences are truncated to ``limit`` tokens, special ones included.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, limit: int, seed: int = 0) -> None:
        self._corpus, self._seed, self._room, self._count = (
            corpus,
            seed,
            limit - 2,
            max(1, length // TOKENS_PER_SENTENCE),
        )
        self._cls, self._sep = _special(tokenizer.cls_token_id), _special(tokenizer.sep_token_id)

    def example(self, epoch: int, number: int) -> list[Text]:
        """Return the sentences of example ``number`` (from 0)."""
        rng, total = Random(f"{self._seed} {epoch} {number} sentences"), int(self._corpus.sentence_starts[-1])
        drawn = (self._corpus.sentence(rng.randrange(total)) for _ in range(self._count))
        return [_single(self._cls, ids[: self._room], self._sep) for ids in drawn]


def _single(cls: Ids, part: NDArray[Any], sep: Ids) -> Text:
    ids = np.concatenate([cls, part, sep], dtype=np.int64)
    return Text(ids, np.zeros_like(ids))


def _special(token_id: int) -> Ids:
    return np.array([token_id], np.int64)


@lru_cache(maxsize=4)
def _epoch_offset(tokens: int, seed: int, epoch: int) -> int:
    """Return the token at which an epoch begins, drawn at random."""
    return Random(f"{seed} {epoch}").randrange(tokens)


def _stop_sentence(shard: Shard, first: int, end: int, target: int) -> int:
    """Return the sentence at which to stop so that ``target`` tokens from ``first`` on are reached, at most ``end``."""
    wanted = shard.start_of(first) + max(1, target)
    return min(end, first + int(shard.sentences[first:end].searchsorted(wanted)) + 1)


def _truncate_pair(a: Ids, b: Ids, room: int, rng: Random) -> tuple[Ids, Ids]:
    """Truncate the longer of two texts until both fit; each token is dropped from a random end."""
    half = room - room // 2
    kept_a = min(len(a), max(half, room - len(b)))
    kept_b = min(len(b), room - kept_a)
    return _drop_tokens(a, len(a) - kept_a, rng), _drop_tokens(b, len(b) - kept_b, rng)


def _drop_tokens(ids: Ids, surplus: int, rng: Random) -> Ids:
    front = rng.getrandbits(surplus).bit_count() if surplus else 0
    return ids[front : len(ids) - (surplus - front)]
