"""Pretraining examples: the definition on small corpora, and the statistics of many."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

import bertie
from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.pretraining import examples
from bertie.pretraining import preparation as preparing
from bertie.pretraining.examples import DocumentStretches, NextSentencePairs, RandomSentences, Text
from bertie.pretraining.preparation import prepare
from bertie.pretraining.shards import Corpus

# every word is a token, and encodes its document, its sentence and its position there
LENGTHS = [[4, 7, 3, 9], [5], [6, 6], [2, 30, 2, 8, 1]]
WORDS = [[[f"d{d}s{s}w{w}" for w in range(n)] for s, n in enumerate(doc)] for d, doc in enumerate(LENGTHS)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def tokenizer() -> bertie.BertTokenizer:
    words = [word for document in WORDS for sentence in document for word in sentence]
    return bertie.BertTokenizer({token: number for number, token in enumerate([*SPECIAL, *words])})


@pytest.fixture(scope="module")
def corpus(tokenizer: bertie.BertTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "BLOCK", 200)  # two shards
        texts = ["\n\n".join(" ".join(sentence) for sentence in document) for document in WORDS]
        prepare(texts, tokenizer, folder, heldout=0)
    assert len(Corpus(folder).shards) == 2
    return Corpus(folder)


def halves(pair: Text, tokenizer: bertie.BertTokenizer) -> tuple[list[str], list[str]]:
    tokens = tokenizer.convert_ids_to_tokens(pair.ids.tolist())
    middle = tokens.index("[SEP]")
    assert (tokens[0], tokens[-1], tokens.count("[SEP]")) == ("[CLS]", "[SEP]", 2)
    assert pair.token_types.tolist() == [0] * (middle + 1) + [1] * (len(tokens) - middle - 1)
    return tokens[1:middle], tokens[middle + 1 : -1]


def of_epoch(pairs: NextSentencePairs, epoch: int) -> list[Text]:
    return [pair for number in range(len(pairs)) for pair in pairs.example(epoch, number)]


def place(token: str) -> tuple[int, int]:
    """Return the document of a word, and its position there."""
    document, rest = token[1:].split("s")
    sentence, word = map(int, rest.split("w"))
    return int(document), sum(LENGTHS[int(document)][:sentence]) + word


def is_run(tokens: list[str]) -> bool:
    """Whether words are consecutive words of one document."""
    places = [place(token) for token in tokens]
    return bool(places) and places == [(places[0][0], places[0][1] + n) for n in range(len(places))]


@pytest.mark.parametrize("length", [5, 8, 13, 40, 128])
def test_pairs_follow_the_definition(length: int, corpus: Corpus, tokenizer: bertie.BertTokenizer) -> None:
    pairs = NextSentencePairs(corpus, tokenizer, length, seed=3)
    labels = set()
    for epoch in range(30):
        for pair in of_epoch(pairs, epoch):
            a, b = halves(pair, tokenizer)
            assert len(pair.ids) <= length
            assert is_run(a)
            assert is_run(b)
            assert (place(a[0])[0] == place(b[0])[0]) == (pair.follows == 0)
            if pair.follows == 0:
                # B continues where A ended, except for what was truncated
                gap = place(b[0])[1] - place(a[-1])[1] - 1
                assert gap == 0 or (gap > 0 and len(pair.ids) == length)
            labels.add(pair.follows)
    assert labels == {0, 1}


def test_an_example_depends_on_seed_epoch_and_number_alone(corpus: Corpus, tokenizer: bertie.BertTokenizer) -> None:
    def of(seed: int, epoch: int, numbers: list[int]) -> list[list[list[int]]]:
        pairs = NextSentencePairs(corpus, tokenizer, 20, seed)
        return [[pair.ids.tolist() for pair in pairs.example(epoch, number)] for number in numbers]

    assert of(0, 1, [0, 1, 2, 3]) == of(0, 1, [3, 2, 1, 0])[::-1]
    assert of(0, 1, [0, 1, 2, 3]) != of(0, 2, [0, 1, 2, 3])
    assert of(0, 1, [0, 1, 2, 3]) != of(1, 1, [0, 1, 2, 3])


def test_statistics_of_many_pairs(book: tuple[Corpus, bertie.BertTokenizer]) -> None:
    corpus, tokenizer = book
    pairs = NextSentencePairs(corpus, tokenizer, 64)
    found = [pair for epoch in range(8) for pair in of_epoch(pairs, epoch)]
    count = len(found)
    assert count > 3000
    share = sum(pair.follows == 0 for pair in found) / count
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / count)


def test_another_document_is_found_beside_a_huge_one(
    tokenizer: bertie.BertTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = Counter[int]()

    class Counting(Random):
        def randrange(self, *given: int) -> int:  # type: ignore[override]
            draws[0] += 1
            return super().randrange(*given)

    huge, first, second = "\n\n".join(["d3s1w0 d3s1w1"] * 5000), "d0s0w0", "d0s1w0 d0s1w1 d0s1w2"
    prepare([first, huge, second], tokenizer, tmp_path, heldout=0)
    pairs = NextSentencePairs(Corpus(tmp_path), tokenizer, 23)
    monkeypatch.setattr(examples, "Random", Counting)
    found = [pair for epoch in range(8) for pair in of_epoch(pairs, epoch)]
    assert draws[0] < 5 * len(found)  # where it begins, its length, its cut, and two for the other document
    others = Counter(halves(pair, tokenizer)[1][0] for pair in found if pair.follows == 1)
    count = others["d0s0w0"] + others["d0s1w0"]
    assert count > 1000
    # by their tokens: 1 of 4
    assert abs(others["d0s0w0"] / count - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)


def test_every_part_of_a_document_is_seen_about_equally_often(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(4000)]
    tokenizer = bertie.BertTokenizer({token: number for number, token in enumerate([*SPECIAL, *words])})
    sentences = [" ".join(words[start : start + 10]) for start in range(0, 4000, 10)]
    prepare(["\n\n".join(sentences[start : start + 20]) for start in range(0, 400, 20)], tokenizer, tmp_path, heldout=0)
    for length in (33, 128):
        pairs = NextSentencePairs(Corpus(tmp_path), tokenizer, length)
        ids = np.concatenate([pair.ids for epoch in range(60) for pair in of_epoch(pairs, epoch)])
        seen = np.bincount(ids)[5:].reshape(20, 20, 10).mean(axis=(0, 2))  # by sentence of its document
        # a pair that begins before a document's middle reaches it; nothing before its first sentence reaches that
        assert seen.max() < 2.5 * seen.min()


def test_one_pair_in_ten_has_a_random_length(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    prepare(
        ["\n\n".join([f"d2s1w{n % 30}" for n in range(20_000 + d)]) for d in (0, 1)], tokenizer, tmp_path, heldout=0
    )
    pairs = NextSentencePairs(Corpus(tmp_path), tokenizer, 103)
    lengths = np.array([len(pair.ids) for epoch in range(6) for pair in of_epoch(pairs, epoch)])
    short = lengths[lengths < 103] - 3
    count = len(lengths)
    assert count >= 2000
    # a text of a random length from 2 to 100 tokens is as long as the others once in 99
    expected = 0.1 * 98 / 99
    assert abs(len(short) / count - expected) < 5 * np.sqrt(expected * (1 - expected) / count)
    assert abs(short.mean() - (2 + 99) / 2) < 5 * np.sqrt(98**2 / 12 / len(short))


def test_stretches_cover_an_epoch_once_and_cross_no_border(corpus: Corpus, tokenizer: bertie.BertTokenizer) -> None:
    for length in (3, 9, 50):
        stretches = DocumentStretches(corpus, tokenizer, length)
        seen: Counter[str] = Counter()
        for number in range(len(stretches)):
            texts = stretches.example(2, number)
            assert sum(len(text.ids) for text in texts) <= length
            for text in texts:
                first, *tokens, last = tokenizer.convert_ids_to_tokens(text.ids.tolist())
                assert (first, last) == ("[CLS]", "[SEP]")
                assert is_run(tokens)
                seen.update(tokens)
        words = {word for document in WORDS for sentence in document for word in sentence}
        assert set(seen) <= words
        # what special tokens of a second text in a stretch take is left out
        assert len(seen) > (1 if length == 3 else 0.75) * len(words) - 1


def test_every_sentence_is_drawn_equally_often(corpus: Corpus, tokenizer: bertie.BertTokenizer) -> None:
    sentences = RandomSentences(corpus, tokenizer, length=256, limit=20)
    seen: Counter[tuple[str, ...]] = Counter()
    for epoch in range(4):
        for number in range(1000):
            drawn = sentences.example(epoch, number)
            assert len(drawn) == 2  # one for every 128 tokens
            for text in drawn:
                first, *tokens, last = tokenizer.convert_ids_to_tokens(text.ids.tolist())
                assert (first, last, text.follows) == ("[CLS]", "[SEP]", IGNORED)
                seen[tuple(tokens)] += 1
    expected = [tuple(sentence[:18]) for document in WORDS for sentence in document]
    assert set(seen) == set(expected)
    counts = np.array(list(seen.values()))
    mean = 8000 / len(expected)
    assert ((counts - mean) ** 2 / mean).sum() < len(expected) + 5 * np.sqrt(2 * len(expected))
    assert sentences.example(3, 5)[0].ids.tolist() == sentences.example(3, 5)[0].ids.tolist()


def test_data_without_pairs_is_refused(tokenizer: bertie.BertTokenizer, corpus: Corpus, tmp_path: Path) -> None:
    prepare(["One. Two."], tokenizer, tmp_path, heldout=0)
    with pytest.raises(InputError, match="need at least two documents, and there is one"):
        NextSentencePairs(Corpus(tmp_path), tokenizer, 20)
    prepare(["One", "Two", "Three"], tokenizer, tmp_path / "short", heldout=0)
    with pytest.raises(InputError, match="Each of the 3 documents is one sentence, so none follows another"):
        NextSentencePairs(Corpus(tmp_path / "short"), tokenizer, 20)
    with pytest.raises(InputError, match="The length is 4; a pair needs at least 5 tokens"):
        NextSentencePairs(corpus, tokenizer, 4)
    with pytest.raises(InputError, match="The length is 2; a text needs at least 3 tokens"):
        DocumentStretches(corpus, tokenizer, 2)
