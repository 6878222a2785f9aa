"""Masking: the definition on literal cases, and the statistics of many draws.

A figure of draws is compared with what is expected in standard deviations; seeds are fixed, so no test fails by chance.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bertie
from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.tasks.masking import GEOMETRIC, LONGEST, UNITS, Masked, Masker, Masking

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *("##" + letter for letter in "abcdefghij")]
ID = {word: number for number, word in enumerate(WORDS)}
TOKENIZER = bertie.BertTokenizer(vocab=ID)
ORDINARY = range(5, 25)
SIGMAS = 5


def near(count: float, number: float, probability: float) -> bool:
    """Whether a count of ``number`` independent events is within `SIGMAS` of its expectation."""
    return abs(count - number * probability) < SIGMAS * np.sqrt(number * probability * (1 - probability))


def is_uniform(counts: np.ndarray) -> bool:
    """Whether counts are consistent with a uniform distribution, by the chi-squared statistic."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return ((counts - expected) ** 2 / expected).sum() < freedom + SIGMAS * np.sqrt(2 * freedom)


def ids_of(text: str) -> np.ndarray:
    return np.array([ID[word] for word in text.split()])


def mask(text: str, draws: list[list[float]], rate: float = 0.5, units: str = "tokens") -> tuple[str, list[int]]:
    """Return the masked row, and the positions to predict."""
    ids = ids_of(text)
    found = Masker(Masking(rate, units), TOKENIZER).mask(ids, [len(ids)], np.array(draws))
    chosen = np.flatnonzero(found.labels != IGNORED)
    assert found.labels[chosen].tolist() == ids[chosen].tolist()
    return " ".join(WORDS[number] for number in found.ids), chosen.tolist()


def test_the_lowest_draws_are_predicted_and_the_second_draw_decides_their_replacement() -> None:
    which = [0.0, 0.2, 0.9, 0.1, 0.0, 0.3, 0.4, 0.8, 0.0]
    text = "[CLS] a b c [SEP] d e f [SEP]"
    # half of six ordinary tokens: a, c and d; masked, replaced and kept
    fates = [0, 0.79, 0, 0.85, 0, 0.95, 0, 0, 0]
    # the last of the 19 other tokens, and the one before it
    assert mask(text, [which, fates, [0.999] * 9]) == ("[CLS] [MASK] b ##j [SEP] d e f [SEP]", [1, 3, 5])
    assert mask(text, [which, fates, [1.9 / 19] * 9]) == ("[CLS] [MASK] b b [SEP] d e f [SEP]", [1, 3, 5])
    assert mask(text, [which, fates, [2.1 / 19] * 9]) == ("[CLS] [MASK] b d [SEP] d e f [SEP]", [1, 3, 5])
    # at least one is predicted, if there is one
    assert mask("[CLS] a b [SEP]", [[0, 0.2, 0.1, 0], [0] * 4, [0] * 4], rate=0.01)[1] == [2]
    assert mask("[CLS] [UNK] [SEP]", [[0] * 3] * 3)[1] == []


def test_words_are_drawn_by_their_first_token_and_the_last_is_cut() -> None:
    text = "[CLS] a ##b ##c d e ##f [SEP]"
    which = [0, 0.5, 0, 0, 0.1, 0.9, 0, 0]
    fates = [0, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0]
    assert mask(text, [which, fates, [0] * 8], 0.6, "words") == (
        "[CLS] a [MASK] [MASK] [MASK] e ##f [SEP]",
        [1, 2, 3, 4],
    )
    assert mask(text, [which, fates, [0] * 8], 0.5, "words")[1] == [1, 2, 4]
    # a continuation piece at the beginning of a row, or after a special token, is a word of its own
    assert mask("[CLS] ##a ##b [UNK] ##c [SEP]", [[0, 0.5, 0, 0, 0.1, 0], [0] * 6, [0] * 6], 0.3, "words")[1] == [4]


def test_spans_are_runs_of_whole_words_with_one_fate() -> None:
    text = "[CLS] a b ##c d e [SEP] f g [SEP]"
    which = [0, 0.9, 0.1, 0, 0.8, 0.7, 0, 0.2, 0.6, 0]
    longest, shortest = 0.9999, 0.0
    lengths = [0, shortest, longest, 0, 0, 0, 0, longest, 0, 0]
    fates = [0, 0, 0.85, 0, 0, 0, 0, 0.95, 0, 0]
    # the span that begins at b ends at the [SEP]; all its tokens are replaced, each by its own random token
    others = [0, 0, 0.999, 0, 0.999, 0, 0, 0, 0, 0]
    found = mask(text, [which, fates, others, lengths], 4 / 7, "spans")
    assert found == ("[CLS] a ##j a ##j a [SEP] f g [SEP]", [2, 3, 4, 5])
    # then the span that begins at f; all of it is kept
    assert mask(text, [which, fates, others, lengths], 6 / 7, "spans")[1] == [2, 3, 4, 5, 7, 8]


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), min_size=1, max_size=5),
    st.floats(0.01, 0.99),
    st.sampled_from(UNITS),
    st.integers(0, 2**32),
)
def test_rows_are_masked_independently(rows: list[list[str]], rate: float, units: str, seed: int) -> None:
    masking = Masking(rate, units)
    masker = Masker(masking, TOKENIZER)
    lengths = list(map(len, rows))
    ids = np.array([ID[word] for row in rows for word in row])
    draws = np.random.default_rng(seed).random((masking.draws, len(ids)))
    before = ids.copy()
    found = masker.mask(ids, lengths, draws)
    assert (ids == before).all()
    counts = masker.counts(ids, lengths).tolist()
    start = 0
    for length, count in zip(lengths, counts, strict=True):
        place = slice(start, start + length)
        alone = masker.mask(ids[place], [length], draws[:, place])
        assert alone.ids.tolist() == found.ids[place].tolist()
        assert alone.labels.tolist() == found.labels[place].tolist()
        assert (alone.labels != IGNORED).sum() == count
        able = int((ids[place] >= 5).sum())
        assert count == (max(1, round(rate * able)) if able else 0)
        start += length
    assert (found.ids[ids < 5] == ids[ids < 5]).all()
    assert (found.labels[ids < 5] == IGNORED).all()


def many(units: str, rate: float = 0.15, rows: int = 4000, length: int = 60) -> tuple[np.ndarray, Masked]:
    """Return ids ``[rows, length]`` of words of one to four pieces, and the masked rows."""
    random = np.random.default_rng(7)
    ids = random.integers(5, 15, (rows, length)) + 10 * (random.random((rows, length)) < 0.3)
    ids[:, 0], ids[:, -1] = ID["[CLS]"], ID["[SEP]"]
    masking = Masking(rate, units)
    draws = random.random((masking.draws, ids.size))
    found = Masker(masking, TOKENIZER).mask(ids.ravel(), [length] * rows, draws)
    return ids, Masked(*(values.reshape(rows, length) for values in found))


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_of_the_predicted_tokens_80_percent_are_masked_10_replaced_and_10_kept(units: str, rate: float) -> None:
    ids, found = many(units, rate)
    chosen = found.labels != IGNORED
    assert (chosen.sum(axis=1) == round(rate * 58)).all()
    new, old = found.ids[chosen], ids[chosen]
    hidden, kept = new == ID["[MASK]"], new == old
    # the tokens of a span are masked or kept together, so there are about a fourth as many independent events
    number = len(new) / (4 if units == "spans" else 1)
    for each, share in ((hidden, 0.8), (kept, 0.1), (~hidden & ~kept, 0.1)):
        assert near(each.mean() * number, number, share)
    swapped = ~hidden & ~kept
    assert is_uniform(np.bincount(new[swapped], minlength=25)[5:])
    # a token is replaced by each of the other 19 with equal probability, and never by itself
    steps = (np.searchsorted(ORDINARY, new[swapped]) - np.searchsorted(ORDINARY, old[swapped])) % 20
    counts = np.bincount(steps, minlength=20)
    assert counts[0] == 0
    assert is_uniform(counts[1:])
    assert (found.ids[~chosen] == ids[~chosen]).all()


@pytest.mark.parametrize("units", ["tokens", "words"])
def test_all_positions_are_equally_likely(units: str) -> None:
    _, found = many(units)
    counts = (found.labels != IGNORED).sum(axis=0)
    assert counts[[0, -1]].tolist() == [0, 0]
    assert (np.abs(counts[1:-1] - 4000 * 9 / 58) < SIGMAS * np.sqrt(4000 * 9 / 58 * 49 / 58)).all()


def test_words_are_whole_except_the_last_of_a_row() -> None:
    ids, found = many("words")
    begins = ids < 15
    begins[:, 1] = True
    words = np.cumsum(begins.ravel())
    chosen = (found.labels != IGNORED).ravel()
    sizes, hit = np.bincount(words), np.bincount(words, chosen)
    cut = (hit > 0) & (hit < sizes)
    row_of_word = np.zeros(len(sizes), int)
    row_of_word[words] = np.repeat(np.arange(len(ids)), ids.shape[1])
    assert np.bincount(row_of_word[cut], minlength=len(ids)).max() == 1
    assert cut.sum() < len(ids)


def test_spans_have_geometric_lengths() -> None:
    # rows of one-piece words, long enough that few spans meet
    rows, length, random = 4_000, 200, np.random.default_rng(3)
    ids = np.full(rows * length, ID["a"])
    masking = Masking(10 / length, "spans")
    draws = random.random((masking.draws, ids.size))
    draws[1] = 0.0
    chosen = Masker(masking, TOKENIZER).mask(ids, [length] * rows, draws).labels.reshape(rows, length) != IGNORED
    # the first span of a row is the one with the lowest draw; only the end of the row cuts it
    first = draws[0].reshape(rows, length).argmin(axis=1)
    inside = first < length - LONGEST
    assert chosen[np.arange(rows), first].all()
    runs = [np.append(row[start:], False).argmin() for row, start in zip(chosen, first, strict=True)]
    probabilities = GEOMETRIC * (1 - GEOMETRIC) ** np.arange(LONGEST)
    probabilities /= probabilities.sum()
    assert probabilities @ np.arange(1, LONGEST + 1) == pytest.approx(3.8, abs=0.01)  # as in the paper
    drawn = np.ceil(np.log1p(-draws[3] * (1 - 0.8**10)) / np.log(0.8))
    counts = np.bincount(np.clip(drawn, 1, 10).astype(int), minlength=11)[1:]
    assert all(near(count, ids.size, share) for count, share in zip(counts, probabilities, strict=True))
    # runs are as long as drawn, or longer where the next span begins in them or right after them
    wanted = np.clip(drawn.reshape(rows, length)[np.arange(rows), first], 1, 10)
    lengths = np.array(runs)[inside]
    assert (lengths >= wanted[inside]).all()
    assert np.mean(lengths == wanted[inside]) > 0.85


def test_impossible_masking_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="to predict is 0; it must be between 0 and 1"):
        Masking(0)
    with pytest.raises(InputError, match="Masking draws tokens, words, spans, not 'word'. Did you mean 'words'"):
        Masking(units="word")
    other: Any = bertie.BertTokenizer(vocab=ID)
    monkeypatch.setattr(type(other), "continuing_subword_prefix", None, raising=False)
    with pytest.raises(InputError, match="only tokens can be drawn, not spans"):
        Masker(Masking(units="spans"), other)
    other.mask_token = None
    with pytest.raises(InputError, match="has no mask token"):
        Masker(Masking(), other)
