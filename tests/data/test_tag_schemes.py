"""Tag schemes: rules, the best tags under them (against exhaustive search), entities to and from tags, and guesses."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.data.tag_schemes import (
    SCHEMES,
    Entity,
    Rules,
    best_tags,
    convert_tags,
    find_entities,
    guess_scheme,
    make_tags,
    split_tag,
)
from bertie.errors import InputError

LABELS = {
    "BIO": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "BIOES": ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")],
    "IO": ["O", "I-PER", "I-LOC"],
    "IOB1": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
    "plain": ["O", "PER", "LOC"],
}


def test_entities_of_literal_tags() -> None:
    tags = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-PER"]
    assert find_entities(tags, "BIO") == [("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4), ("PER", 5, 5)]
    assert find_entities(["I-PER", "I-PER", "B-PER", "I-LOC"], "IOB1") == [("PER", 0, 1), ("PER", 2, 2), ("LOC", 3, 3)]
    assert find_entities(["B-PER", "E-PER", "S-PER", "I-LOC", "E-LOC"], "BIOES") == [
        ("PER", 0, 1),
        ("PER", 2, 2),
        ("LOC", 3, 4),
    ]
    assert find_entities(["B-PER", "L-PER", "U-PER"], "BIOES") == [("PER", 0, 1), ("PER", 2, 2)]
    assert find_entities(["NOUN", "NOUN", "VERB", "O"], "plain") == [("NOUN", 0, 1), ("VERB", 2, 2)]
    assert find_entities(["B", "I", "O", "B"], "BIO") == [("", 0, 1), ("", 3, 3)]
    assert find_entities(["B", "M", "E", "S", "S"], "BIOES") == [("", 0, 2), ("", 3, 3), ("", 4, 4)]
    assert find_entities(["B", "I", "L", "U", "O", "W"], "BIOES") == [("", 0, 2), ("", 3, 3), ("", 5, 5)]
    assert find_entities([], "BIO") == []


def test_a_type_may_contain_a_hyphen() -> None:
    assert split_tag("B-work-of-art", "BIO") == ("B", "work-of-art")
    assert split_tag("X-1", "plain") == ("I", "X-1")


@st.composite
def lists_of_entities(draw: st.DrawFn) -> tuple[list[Entity], int]:
    """Non-overlapping entities, and the number of words."""
    found, place = [], 0
    for gap, size, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["A", "B"])))):
        found.append(Entity(kind, place + gap, place + gap + size - 1))
        place += gap + size
    return found, place + draw(st.integers(0, 2))


@given(lists_of_entities())
def test_entities_come_back_from_their_tags(case: tuple[list[Entity], int]) -> None:
    found, words = case
    for scheme in ("BIO", "BIOES", "IOB1"):
        tags = make_tags(found, words, scheme)
        assert len(tags) == words
        assert find_entities(tags, scheme) == found
        for other in ("BIO", "BIOES", "IOB1"):
            assert convert_tags(tags, scheme, other) == make_tags(found, words, other)
    for scheme in ("IO", "plain"):  # neighbours of one type become one, and what is covered stays
        covered = {place for _, first, last in found for place in range(first, last + 1)}
        tags = make_tags(found, words, scheme)
        assert {place for place, tag in enumerate(tags) if tag != "O"} == covered
        assert make_tags(find_entities(tags, scheme), words, scheme) == tags


@given(lists_of_entities())
def test_rules_allow_the_tags_that_the_scheme_writes(case: tuple[list[Entity], int]) -> None:
    found, words = case
    for scheme in SCHEMES:
        tags = make_tags(found, words, scheme)
        labels = sorted({*tags, "O", *(f"{p}-{k}" for p in "BIES" for k in "AB")} if scheme != "plain" else {*tags})
        if not tags:
            continue
        scores = np.array([[1.0 if label == tag else 0.0 for label in labels] for tag in tags])
        assert [labels[i] for i in best_tags(scores, Rules.of(labels, scheme))] == tags


def test_overlapping_entities_are_refused() -> None:
    with pytest.raises(InputError, match="overlaps"):
        make_tags([Entity("A", 0, 2), Entity("B", 2, 3)], 5, "BIO")
    with pytest.raises(InputError, match="is not within the text of 2 words"):
        make_tags([Entity("A", 0, 2)], 2, "BIO")


def allowed(tags: list[str], scheme: str) -> bool:
    """Whether tags obey a scheme, written independently from the definitions."""
    for before, tag in itertools.pairwise(["O", *tags, "O"]):
        (p, kind_before), (q, kind) = split_tag(before, scheme), split_tag(tag, scheme)
        same = p != "O" and q != "O" and kind == kind_before
        if scheme == "BIO" and q == "I" and not same:
            return False
        if scheme == "IOB1" and q == "B" and not same:
            return False
        if scheme == "BIOES":
            if q in ("I", "E") and not (same and p in ("B", "I")):
                return False
            if p in ("B", "I") and not (same and q in ("I", "E")):
                return False
    return True


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", range(8))
def test_best_tags_are_the_best_of_all(scheme: str, seed: int) -> None:
    labels = LABELS[scheme]
    scores = np.random.default_rng(seed).normal(size=(4, len(labels))).astype(np.float32)
    sums = {
        tags: sum(float(scores[place, tag]) for place, tag in enumerate(tags))
        for tags in itertools.product(range(len(labels)), repeat=4)
        if allowed([labels[tag] for tag in tags], scheme)
    }
    assert tuple(best_tags(scores, Rules.of(labels, scheme)).tolist()) == max(sums, key=lambda tags: sums[tags])


def test_concatenated_texts_have_the_tags_of_each_alone() -> None:
    random = np.random.default_rng(0)
    sizes = [*random.integers(0, 12, size=700).tolist(), 0]
    for scheme, labels in LABELS.items():
        rules = Rules.of(labels, scheme)
        scores = random.normal(size=(sum(sizes), len(labels)))
        alone = [best_tags(part, rules) for part in np.split(scores, np.cumsum(sizes)[:-1])]
        assert np.array_equal(best_tags(scores, rules, sizes), np.concatenate(alone))


def test_equal_scores_take_the_lower_label() -> None:
    rules = Rules.of(LABELS["BIO"], "BIO")
    assert best_tags(np.zeros((4, 5)), rules).tolist() == [0, 0, 0, 0]
    # I-PER needs a beginning: B-PER, or the label of the lower number before it
    scores = np.array([[0.0, 0, 0, 0, 0], [0.0, 0, 9, 0, 0]])
    assert best_tags(scores, rules).tolist() == [1, 2]
    assert best_tags(np.zeros((0, 5)), rules).tolist() == []


def test_a_type_without_b_may_begin_with_i() -> None:
    labels = ["O", "B-PER", "I-PER", "I-MISC"]
    scores = np.array([[0.0, 0, 1, 5], [0.0, 0, 5, 0]])
    assert best_tags(scores, Rules.of(labels, "BIO")).tolist() == [3, 0]
    labels = ["O", "B-PER", "I-PER"]  # BIOES that never saw E-PER
    assert best_tags(np.array([[0.0, 5, 0], [0.0, 0, 5]]), Rules.of(labels, "BIOES")).tolist() == [1, 2]


def test_labels_that_cannot_obey_the_rules_are_kept() -> None:
    rules = Rules.of(["B-X", "E-X"], "BIOES")
    assert best_tags(np.array([[0.0, 1.0]]), rules).tolist() == [1]


def test_a_long_document_obeys_the_rules() -> None:
    labels = LABELS["BIOES"]
    scores = np.random.default_rng(0).normal(size=(5_000, len(labels)))
    tags = best_tags(scores, Rules.of(labels, "BIOES"))
    assert allowed([labels[tag] for tag in tags], "BIOES")


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "BIO"),
        (["B", "I", "O"], "BIO"),
        (["O", "B-PER"], "BIO"),
        (["O", "I-PER", "I-LOC"], "IO"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "BIOES"),
        (["O", "B-PER", "I-PER", "L-PER", "U-PER"], "BIOES"),
        (["B", "M", "E", "S"], "BIOES"),
        (["B", "I", "E", "S"], "BIOES"),
        (["O", "B", "I", "L", "U"], "BIOES"),
        (["I", "O"], "IO"),
        (["S", "M"], "plain"),
        (["M", "W"], "plain"),
        (["NOUN", "VERB"], "plain"),
        (["O", "PER", "LOC"], "plain"),
        (["O", "B-PER", "LABEL_2"], "plain"),
        (["O"], "plain"),
        ([], "plain"),
    ],
)
def test_guesses(labels: list[str], scheme: str) -> None:
    assert guess_scheme(labels) == scheme


def test_iob1_is_guessed_from_texts() -> None:
    labels = ["O", "B-PER", "I-PER"]
    assert guess_scheme(labels, [["I-PER", "B-PER"], ["O", "I-PER"]]) == "IOB1"
    assert guess_scheme(labels, [["B-PER", "I-PER"], ["O", "B-PER"]]) == "BIO"
    assert guess_scheme(labels, [["O"]]) == "BIO"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError, match="no scheme 'BOI'"):
        Rules.of(["O"], "BOI")
