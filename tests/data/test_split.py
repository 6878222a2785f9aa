"""Splits: shares of classes, texts that stay together, and the same parts for the same seed."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from bertie import progress
from bertie.data.dataset import Dataset, ExampleReader, load_dataset
from bertie.data.example import Example
from bertie.data.schemas import SCHEMAS, by_query
from bertie.data.split import (
    _split_off,
    folds,
    is_share,
    make_folds,
    make_splits,
    rare_classes,
    split,
    without_old_names,
)
from bertie.errors import InputError


def named(labels: str) -> list[Example]:
    return [Example(f"text {number}", label) for number, label in enumerate(labels)]


def test_classes_keep_their_shares() -> None:
    kept, held = split(named("a" * 50 + "b" * 30 + "c" * 20 + "d"), 0.1)
    assert Counter(example.label for example in held) == {"a": 5, "b": 3, "c": 2}
    assert len(kept) == 91


@pytest.mark.parametrize(
    ("labels", "held"),
    [
        ("a" * 14, 1),  # 1.4 texts
        ("a" * 15, 2),  # 1.5
        ("bcdefghijklmnopqrstu" + "a" * 10, 2),  # 1, and of what the classes of one text leave no more than another
    ],
)
def test_shares_are_rounded(labels: str, held: int) -> None:
    assert len(split(named(labels), 0.1)[1]) == held


def test_only_the_seed_matters() -> None:
    examples = named("ab" * 50)
    assert split(examples, 0.2, 1) == split(examples, 0.2, 1) != split(examples, 0.2, 2)
    first = [example.text for example in split(examples, 0.05, 7)[1]]
    assert first == ["text 28", "text 35", "text 61", "text 62", "text 70"]  # on any machine


def test_labels_go_by_the_rarest() -> None:
    examples = [Example(str(n), ["often", "rare"] if n % 10 == 0 else ["often"] if n % 3 else []) for n in range(400)]
    held = split(examples, 0.25)[1]
    assert (len(held), sum("rare" in example.label for example in held)) == (100, 10)


def test_equal_texts_and_contexts_stay_together() -> None:
    examples = [
        Example({"question": str(n), "context": f"context {n // 5}", "id": str(n)}, {"answers": []}) for n in range(100)
    ]
    kept, held = split(examples, 0.2)
    assert len(held) == 20
    assert not {one.text["context"] for one in kept} & {one.text["context"] for one in held}
    kept, held = split([Example("same", "a"), Example("same", "b"), Example("other", "a")], 0.5)
    assert {example.text for example in kept} != {example.text for example in held}


def test_passages_of_a_query_stay_together() -> None:
    examples = [Example((f"query {n // 4}", f"passage {n}"), float(n % 4 == 0)) for n in range(80)]
    kept, held = split(examples, 0.2, together=by_query)
    assert len(held) == 16
    assert not {one.text[0] for one in kept} & {one.text[0] for one in held}


def test_what_cannot_be_split() -> None:
    with pytest.raises(InputError, match=r"^The fraction of a split is 1.5; it must be between 0 and 1.$"):
        split(named("ab"), 1.5)
    with pytest.raises(InputError, match="^Examples of a single text cannot be split in two; give a file for"):
        split([Example("same", "a")] * 3, 0.5)


LABELS = st.none() | st.floats(0, 1) | st.sampled_from("abcd") | st.lists(st.sampled_from("abcd"), unique=True)


@given(st.lists(st.builds(Example, st.sampled_from("uvwxyz"), LABELS), max_size=40), st.floats(0.01, 0.99))
def test_nothing_is_lost_and_no_text_is_in_both_parts(examples: list[Example], fraction: float) -> None:
    if len({example.text for example in examples}) < 2:
        return
    kept, held = split(examples, fraction)
    assert kept
    assert held
    assert sorted(map(repr, kept + held)) == sorted(map(repr, examples))
    assert not {example.text for example in kept} & {example.text for example in held}


def test_real_labels(shared) -> None:
    data = load_dataset("text-classification", shared / "data" / "emotions" / "train.csv")
    held = split(data.train, 0.1)[1]
    assert abs(len(held) - 4341) < 30
    counts, all_counts = (Counter(name for one in part for name in one.label) for part in (held, data.train))
    assert all(0.05 < counts[name] / all_counts[name] < 0.2 for name in data.labels)


@pytest.mark.parametrize(("queries", "whole"), [(20, True), (2, False)])
def test_rankings_are_split_by_query_if_there_are_enough(queries: int, whole: bool) -> None:
    examples = [Example((f"query {n % queries}", f"passage {n}"), float(n % 7 == 0)) for n in range(120)]
    reader = ExampleReader("reranking")
    data = Dataset(examples, None, None, [], reader.bad, [], reader, reader.labelling, "", False)
    names = dict.fromkeys(("train", "dev", "test"), "ranked.csv")
    parts = make_splits(data, None, None, 0, reader.schema, names)
    apart = [{one.text[0] for one in part} for part in (parts.train, parts.dev, parts.test)]
    assert [len(part) for part in (parts.train, parts.dev, parts.test)] == ([96, 12, 12] if whole else [97, 11, 12])
    assert (sum(map(len, apart)) == queries) is whole


def test_a_query_with_most_of_the_passages_can_still_be_split() -> None:
    examples = [Example((f"query {max(n - 90, 0)}", f"passage {n}"), float(n % 7 == 0)) for n in range(100)]
    reader = ExampleReader("reranking")
    data = Dataset(examples, None, None, [], reader.bad, [], reader, reader.labelling, "", False)
    for seed in range(20):
        parts = make_splits(
            data, None, None, seed, reader.schema, dict.fromkeys(("train", "dev", "test"), "ranked.csv")
        )
        assert parts.train
        assert parts.dev
        assert not {one.text[0] for one in parts.test} & {one.text[0] for one in parts.train + parts.dev}


def shares(labels: Sequence[Any], parts: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[sum(labels[index] == name for index in part) for part in parts] for name in sorted(set(labels))]


@given(
    labels=st.lists(st.sampled_from("aaaaabbc"), min_size=6, max_size=60),
    count=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_folds_have_the_properties_of_stratified_k_fold(labels: list[str], count: int, seed: int) -> None:
    found = folds(named("".join(labels)), count, seed)
    assert sorted(index for part in found for index in part) == list(range(len(labels)))
    with warnings.catch_warnings(action="ignore"):
        peer = StratifiedKFold(count, shuffle=True, random_state=0)
        try:
            theirs = [part.tolist() for _, part in peer.split(labels, labels)]
        except ValueError:  # no class has so many rows as there are folds: refused there
            theirs = found
    for parts in (found, theirs):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert all(max(row) - min(row) <= 1 for row in shares(labels, parts))
    assert found == folds(named("".join(labels)), count, seed)


def test_folds_keep_groups_as_stratified_group_k_fold_does() -> None:
    examples = [Example((f"query {n // 4}", f"passage {n}"), float(n % 4 == 0)) for n in range(80)]
    found = folds(examples, 5, together=by_query)
    assert list(map(len, found)) == [16] * 5
    assert not any(
        {examples[index].text[0] for index in one} & {examples[index].text[0] for index in other}
        for at, one in enumerate(found)
        for other in found[:at]
    )
    # groups of different sizes and classes: the rows of a class are spread as evenly as there
    groups = [number for number in range(24) for _ in range(1 + number % 3)]
    labels = ["ab"[number % 2] for number in groups]
    texts = [Example(f"text {number}", label) for number, label in zip(groups, labels, strict=True)]
    peer = StratifiedGroupKFold(4, shuffle=True, random_state=0).split(labels, labels, groups)
    theirs = [part.tolist() for _, part in peer]
    found = folds(texts, 4)
    for one in range(4):
        assert not {groups[index] for index in found[one]} & {groups[i] for part in found[:one] for i in part}
    worst = [max(max(row) - min(row) for row in shares(labels, parts)) for parts in (found, theirs)]
    assert worst[0] <= worst[1]


def test_folds_of_labels_go_by_the_rarest_and_too_few_texts_are_refused() -> None:
    examples = [Example(str(n), ["often", "rare"] if n % 10 == 0 else ["often"] if n % 3 else []) for n in range(100)]
    found = folds(examples, 5)
    assert [sum("rare" in examples[index].label for index in part) for part in found] == [2] * 5
    assert rare_classes(examples, 5) == []
    assert rare_classes(named("aaaabb"), 3) == [
        "1 of 2 classes have fewer rows than there are folds, 3, such as 'b' with 2: some folds are scored without "
        "them."
    ]
    assert rare_classes(named("aaaabbb"), 3) == []
    with pytest.raises(InputError, match=r"folds is 3, but the 4 rows have 2 different texts; give at most 2\."):
        folds([Example("a", "x"), Example("a", "y"), Example("b", "x"), Example("b", "y")], 3)


def test_the_size_of_a_split_off_part_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.data.split.MAX_SIZE", 3)
    left, held, _ = _split_off(named("a" * 100), None, 0, SCHEMAS["text-classification"], "dev")
    assert (len(left), len(held)) == (97, 3)


def test_large_groups_are_assigned_first() -> None:
    texts = "abccdddd"
    assert sorted(map(len, folds([Example(text, 0.5) for text in texts], 2))) == [4, 4]


def test_folds_are_numbered_from_1() -> None:
    reader = ExampleReader("text-classification")
    data = Dataset(named("aabb"), None, None, [], reader.bad, [], reader, reader.labelling, "", False)
    parts = make_folds(data, 2, 0, 0, reader.schema, {"train": "a.csv"})
    assert [part.sources["test"] for part in parts] == ["fold 1 of 2 of a.csv", "fold 2 of 2 of a.csv"]
    assert [part.counts for part in parts] == [{"train": 2, "dev": 0, "test": 2}] * 2


def test_a_share_is_below_1_and_leaves_a_row() -> None:
    assert [is_share(part) for part in (None, 0, 0.2, "dev.csv", [])] == [True, True, True, False, False]
    schema = SCHEMAS["text-classification"]
    with pytest.raises(InputError, match=r"^Only one row of train is left, .*\(dev=0: the last epoch is kept\)"):
        _split_off(named("a"), None, 0, schema, "dev")
    with pytest.raises(InputError, match="^All 2 rows have the same text, and choosing needs another"):
        _split_off([Example("same", "a"), Example("same", "b")], None, 0, schema, "dev")
    assert [len(part) for part in _split_off(named("ab"), None, 0, schema, "dev")[:2]] == [1, 1]
    for share in (1, -0.1):
        with pytest.raises(InputError, match=rf"^dev is {share}; .* from 0 \(the last epoch is kept\) to below 1\.$"):
            _split_off(named("ab"), share, 0, schema, "dev")


def test_the_old_names_of_dev_and_test_are_understood_and_reported_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_said", set())  # by another test of this process
    assert without_old_names("dev.csv", "test.csv", None, None) == ("dev.csv", "test.csv")
    assert without_old_names("dev.csv", None, None, 3) == ("dev.csv", None)
    assert without_old_names(None, None, None, None) == (None, None)
    assert caplog.messages == []
    for _ in range(2):
        assert without_old_names("old dev.csv", None, "old tune.csv", None) == ("old tune.csv", "old dev.csv")
        assert without_old_names("dev.csv", None, None, None) == ("dev.csv", None)
    was = "test was formerly called dev, and dev tune"
    assert caplog.messages == [
        f"{was}: they are understood that way here; use the new names.",
        f"dev chooses the best epoch, and test is scored ({was}).",
    ]
    with pytest.raises(InputError, match="test was formerly called dev, and dev tune: give dev and test, without tune"):
        without_old_names(None, "test.csv", 0.1, None)
