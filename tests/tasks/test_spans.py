"""Answer spans against an exhaustive search, their probabilities, and the positions to learn."""

import numpy as np
import pytest

from bertie.tasks.spans import (
    AnswerSpan,
    Normalizer,
    WindowScores,
    best_spans,
    null_scores,
    pieces_of,
    positions_in,
    whole_words,
)


def scored(seed: int, borders: list[tuple[int, int, int, int]]) -> list[WindowScores]:
    """Return windows of random scores; each border has the window's pieces (start, stop) and those it owns."""
    random = np.random.default_rng(seed)
    return [
        WindowScores(
            begin,
            random.normal(size=end - begin).astype(np.float32),
            random.normal(size=end - begin).astype(np.float32),
            range(own, stop),
            (float(random.normal()), float(random.normal())),
        )
        for begin, end, own, stop in borders
    ]


BORDERS = [(0, 9, 0, 7), (5, 14, 7, 12), (10, 16, 12, 16)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [1, 3, 100])
@pytest.mark.parametrize("count", [1, 4, 1000])
def test_the_best_spans_equal_an_exhaustive_search(seed: int, longest: int, count: int) -> None:
    windows = scored(seed, BORDERS)
    every = [
        AnswerSpan(first, last, float(window.start[first - window.first]) + float(window.end[last - window.first]))
        for window in windows
        for first in window.owned
        for last in range(first, min(first + longest, window.first + len(window.end)))
    ]
    every.sort(key=lambda span: -span.logit)
    found = best_spans(windows, count, longest)
    assert [span[:2] for span in found] == [span[:2] for span in every[:count]]
    assert [span.logit for span in found] == pytest.approx([span.logit for span in every[:count]])


def test_ties_go_to_the_earlier_then_the_shorter_answer() -> None:
    window = WindowScores(0, np.zeros(3), np.zeros(3), range(3), (0.0, 0.0))
    assert [span[:2] for span in best_spans([window], 4, 5)] == [(0, 0), (0, 1), (0, 2), (1, 1)]


def test_a_context_without_pieces_has_no_answer() -> None:
    window = WindowScores(0, np.zeros(0), np.zeros(0), range(0), (1.0, 2.0))
    assert best_spans([window], 3, 5) == []
    assert Normalizer.of([window]).probability(3.0) == pytest.approx(1.0)


def test_the_no_answer_score_is_the_lowest_of_all_windows() -> None:
    windows = scored(0, BORDERS)
    assert sum(null_scores(windows)) == min(sum(window.null) for window in windows)


def test_probabilities_of_one_window_are_products_of_softmaxes() -> None:
    (window,) = scored(1, [(0, 6, 0, 6)])
    start, end = (
        np.exp(scores.astype(np.float64)) / (np.exp(scores.astype(np.float64)).sum() + np.exp(null))
        for scores, null in zip(window[1:3], window.null, strict=True)
    )
    normalizer = Normalizer.of([window])
    for span in best_spans([window], 100, 6):
        assert normalizer.probability(span.logit) == pytest.approx(start[span.first] * end[span.last])


def test_large_scores_do_not_overflow() -> None:
    window = WindowScores(0, np.array([1000.0, -1000]), np.array([2000.0, 0]), range(2), (0.0, 0.0))
    assert Normalizer.of([window]).probability(3000.0) == pytest.approx(1.0)


def test_whole_words() -> None:
    assert whole_words(AnswerSpan(2, 3, 0.0), [0, 1, 1, 2, 2, 3]) == (1, 4)
    assert whole_words(AnswerSpan(0, 0, 0.0), [None, None]) == (0, 0)


def test_characters_to_pieces_and_positions() -> None:
    offsets = [(0, 3), (4, 6), (6, 9), (10, 11)]
    assert pieces_of(offsets, 4, 9) == (1, 2)
    assert pieces_of(offsets, 5, 7) == (1, 2)
    assert pieces_of(offsets, 3, 10) == (1, 2)
    assert pieces_of(offsets, 3, 4) is None
    assert pieces_of(offsets, 4, 4) is None
    assert pieces_of([], 0, 1) is None
    assert positions_in((1, 2), 0, 4, 5) == (6, 7)
    assert positions_in((1, 2), 1, 3, 5) == (5, 6)
    assert positions_in((1, 2), 2, 4, 5) == (0, 0)
    assert positions_in((1, 2), 0, 2, 5) == (0, 0)
    assert positions_in(None, 0, 4, 5) == (0, 0)
