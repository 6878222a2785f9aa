"""Entity metrics equal conlleval's and seqeval's, for tags that need not be well-formed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval

from bertie.errors import InputError
from bertie.metrics import EntityMetric, Scores

TAGS = {
    "BIO": ["O", "B-per", "I-per", "B-loc", "I-loc"],
    "BIOES": ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("per", "loc"))],
    "IO": ["O", "I-per", "I-loc"],
}
KEYS = {"zero_division": 0}


def texts(scheme: str) -> st.SearchStrategy:
    pair = st.tuples(st.sampled_from(TAGS[scheme]), st.sampled_from(TAGS[scheme]))
    return st.lists(st.lists(pair, min_size=1, max_size=8), min_size=1, max_size=5)


def scored(scheme: str, predictions: list, labels: list) -> Scores:
    scores = Scores(EntityMetric(TAGS[scheme], scheme), replicates=20)
    scores.add(predictions, labels)
    return scores


def conlleval(texts: list) -> set:
    """Return the chunks that the Perl script's state machine finds: (text, first, last, type)."""
    found = set()
    for at, tags in enumerate(texts):
        before, kind_before, begun = "O", "", 0
        for place, tag in enumerate([*tags, "O"]):
            tag, _, kind = tag.partition("-")
            pair = (before, tag)
            differ = kind != kind_before
            if pair in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")} or (before != "O" and differ):
                found.add((at, begun, place - 1, kind_before))
            if pair in {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")} or (tag != "O" and differ):
                begun = place
            before, kind_before = tag, kind
    return found


@pytest.mark.parametrize("scheme", ["BIO", "IO"])
@given(data=st.data())
@settings(deadline=None)
def test_entities_equal_conlleval(scheme: str, data: st.DataObject) -> None:
    drawn = data.draw(texts(scheme))
    predictions, labels = ([[pair[side] for pair in text] for text in drawn] for side in (0, 1))
    predicted, gold = conlleval(predictions), conlleval(labels)
    metrics = scored(scheme, predictions, labels).metrics()
    assert metrics["precision"] == pytest.approx(len(predicted & gold) / max(1, len(predicted)))
    assert metrics["recall"] == pytest.approx(len(predicted & gold) / max(1, len(gold)))
    assert metrics["f1"] == pytest.approx(2 * len(predicted & gold) / max(1, len(predicted) + len(gold)))
    assert metrics["accuracy"] == pytest.approx(seqeval.accuracy_score(labels, predictions))


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@given(data=st.data())
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_entities_equal_seqeval(scheme: str, data: st.DataObject) -> None:
    drawn = data.draw(texts(scheme))
    predictions, labels = ([[pair[side] for pair in text] for text in drawn] for side in (0, 1))
    scores = scored(scheme, predictions, labels)
    metrics = scores.metrics()
    try:
        expected = {
            name: getattr(seqeval, f"{name}_score")(labels, predictions, **KEYS)
            for name in ("precision", "recall", "f1")
        }
        report = seqeval.classification_report(labels, predictions, output_dict=True, **KEYS)
    except ValueError:  # seqeval fails if there is no entity at all
        assert metrics["f1"] == 0
        return
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    for row in scores.table():
        if row["label"] in report:
            assert row["support"] == report[row["label"]]["support"]
            assert row["f1"] == pytest.approx(report[row["label"]]["f1-score"])


@pytest.mark.parametrize(
    ("scheme", "tags", "expected"),
    [
        ("BIO", "I-per I-per O", [(0, 1)]),
        ("BIO", "B-per I-loc I-loc", [(0, 0), (1, 2)]),
        ("BIO", "B-per B-per I-per", [(0, 0), (1, 2)]),
        ("BIOES", "B-per I-per O S-loc", [(0, 1), (3, 3)]),
        ("BIOES", "B-per E-per I-per E-per", [(0, 1), (2, 3)]),
        ("IO", "I-per I-per I-loc O I-loc", [(0, 1), (2, 2), (4, 4)]),
    ],
)
def test_where_entities_begin(scheme: str, tags: str, expected: list) -> None:
    table = scored(scheme, [tags.split()], [tags.split()]).table()
    assert sum(row["support"] for row in table) == len(expected)


def test_an_entity_ends_with_its_text() -> None:
    scores = scored("IO", [["O", "I-per"], ["I-per"], []], [["O", "I-per"], ["I-per"], []])
    assert [row["support"] for row in scores.table()] == [0, 2]
    assert scores.metrics()["f1"] == 1
    assert scores.intervals()["f1"] == (0.0, 1.0)  # a replicate may hold neither


def test_missing_entities_are_noted() -> None:
    assert scored("BIO", [["O"]], [["O"]]).notes() == ["The labels contain no entity: precision, recall and F1 are 0."]
    assert scored("BIO", [["O"]], [["B-per"]]).notes() == ["No entity was predicted."]


def test_bad_tags_are_refused() -> None:
    with pytest.raises(InputError, match="scheme is 'IOB9'; allowed are 'BIO', 'BIOES', 'IO'"):
        EntityMetric(TAGS["BIO"], "IOB9")
    with pytest.raises(InputError, match="tag 'E-per' does not belong to BIO; allowed are O, B-TYPE, I-TYPE"):
        EntityMetric(TAGS["BIOES"], "BIO")
    with pytest.raises(InputError, match=r"Text 1 has 1 predicted tags and 2 labels"):
        scored("BIO", [["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(InputError, match=r"label of text 1 has the tag 'B-prs', .* Did you mean 'B-per'"):
        scored("BIO", [["O"], ["O"]], [["O"], ["B-prs"]])
