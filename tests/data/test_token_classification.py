"""Tags as written: other spellings, other schemes, and types that a model lacks."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie.data.dataset import load_dataset
from bertie.data.record import BadRow
from bertie.data.tag_schemes import guess_scheme, split_tag, usual_tag
from bertie.data.token_classification import TagLabels
from bertie.metrics.entities import UNSEEN, entities_metric

SPELLED = [["B_LOC", "I_LOC", "O"], ["LOC-B", "LOC-I", "O"], ["LOC_B", "LOC_I", "O"], ["B-LOC", "I-LOC", "O"]]


@pytest.mark.parametrize("tags", SPELLED)
def test_usual_spellings(tags: list[str]) -> None:
    assert guess_scheme(set(tags), [tags]) == "BIO"
    assert [split_tag(tag, "BIO") for tag in tags] == [("B", "LOC"), ("I", "LOC"), ("O", "")]
    assert list(map(usual_tag, tags)) == ["B-LOC", "I-LOC", "O"]
    written = TagLabels.of([tags])
    assert written.normalize(tags, "", "train", Counter()) == ["B-LOC", "I-LOC", "O"]
    said = "" if tags[0] == "B-LOC" else f" ({tags[0]} is read as B-LOC)"
    assert written.describe(["O", "B-LOC"]) == [f"one tag per word, 2 tags: O, B-LOC{said}"]
    # the model's own spelling is kept for the comparison with its answers
    for own in SPELLED:
        assert written.restrict(own, "the model").normalize(tags, "", "data", Counter()) == own


def test_names_that_look_like_tags() -> None:
    assert guess_scheme({"B_cell", "T_cell", "O"}) == "plain"
    assert guess_scheme({"hepatitis-B", "O"}) == "plain"
    assert TagLabels.of([["hepatitis-B", "O"]]).spelled == ""


def test_iob1_is_read_as_bio() -> None:
    texts = [["I-PER", "I-PER", "B-PER", "O"], ["O", "I-LOC"]]
    written = TagLabels.of(texts)
    assert (written.written, written.wanted) == ("IOB1", "BIO")
    assert written.normalize(texts[0], "", "train", Counter()) == ["B-PER", "I-PER", "B-PER", "O"]
    assert written.describe(["O"]) == ["one tag per word, 1 tag: O (IOB1 is read as BIO)"]
    assert written.converted_to(None).normalize(texts[0], "", "train", Counter()) == texts[0]
    assert written.converted_to("BIOES").normalize(texts[0], "", "train", Counter()) == ["B-PER", "E-PER", "S-PER", "O"]
    assert TagLabels.of([["B-PER"]]).converted_to("plain").normalize(["B-PER"], "", "", Counter()) == ["B-PER"]


def test_types_that_a_model_lacks_are_noted() -> None:
    known = TagLabels.of([["B-FAC", "I-FAC", "B-PER"]]).restrict(["O", "B-PER"], "train")
    notes: Counter[str] = Counter()
    assert known.normalize(["B-FAC", "I-FAC", "I-PER"], "", "dev", notes) == ["B-FAC", "I-FAC", "I-PER"]
    assert list(notes) == ["Texts of dev with tags such as 'B-FAC', of a type that train lacks: they count as missed"]
    with pytest.raises(BadRow, match="Unknown tag 'FAC' in row 3; train has 'B-PER', 'O'"):
        known.normalize(["FAC"], "row 3", "dev", notes)


def test_unknown_types_count_as_missed_as_in_seqeval() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    gold = [["B-PER", "O", "B-FAC", "I-FAC"], ["B-FAC", "B-PER"]]
    said = [["B-PER", "O", "B-PER", "O"], ["O", "B-PER"]]
    metric = entities_metric(["O", "B-PER", "I-PER"], "BIO")
    sums = metric.statistics(metric.rows(said, gold)).sum(axis=0)
    found = metric.compute(sums)
    for name, expected in (
        ("precision", seqeval.precision_score(gold, said)),
        ("recall", seqeval.recall_score(gold, said)),
        ("f1", seqeval.f1_score(gold, said)),
        ("f1_macro", seqeval.f1_score(gold, said, average="macro")),
        ("accuracy", seqeval.accuracy_score(gold, said)),
    ):
        assert found[name] == pytest.approx(expected), name
    table = {
        row["label"]: row["support"] for row in metric.table(metric.statistics(metric.rows(said, gold)).sum(axis=0))
    }
    assert table == {"PER": 2, UNSEEN: 2}
    alone = metric.statistics(metric.rows(said[1:], [["O", "B-PER"]])).sum(axis=0)
    assert metric.compute(alone)["f1_macro"] == 1
    assert [row["label"] for row in metric.table(alone)] == ["PER"]


def test_dev_may_have_a_type_that_train_lacks() -> None:
    train = [{"words": ["a", "b"], "tags": ["B_PER", "I_PER"]}, {"words": ["a"], "tags": ["O"]}]
    dev = [{"words": ["a"], "tags": ["B_FAC"]}]
    data = load_dataset("token-classification", train, dev)
    assert data.labels == ["O", "B-PER", "I-PER"]
    assert [example.label for example in data.test or ()] == [["B-FAC"]]
    assert any("'B-FAC', of a type that train lacks: they count as missed: 1." in one for one in data.warnings)


@pytest.mark.parametrize(
    ("scheme", "tags"), [(None, ["B-PER", "I-PER"]), ("IOB1", ["I-PER", "I-PER"]), ("BIOES", ["B-PER", "E-PER"])]
)
def test_tags_are_converted_to_a_given_scheme(scheme: str | None, tags: list[str]) -> None:
    train = [{"words": ["a", "b"], "tags": ["I-PER", "I-PER"]}, {"words": ["a", "b"], "tags": ["I-PER", "B-PER"]}]
    assert load_dataset("token-classification", train, scheme=scheme).train[0].label == tags


@pytest.fixture
def tagger(minilm: Path, tmp_path: Path) -> Path:
    """A random tagger of persons and places with the scheme BIO."""
    torch.manual_seed(0)
    labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = bertie.BertConfig(**shape, id2label=dict(enumerate(labels)))
    config.label2id = {label: number for number, label in enumerate(labels)}
    bertie.BertForTokenClassification(config).save_pretrained(tmp_path / "tagger")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "tagger")
    saved = json.loads((tmp_path / "tagger" / "config.json").read_text())
    saved["task_specific_params"] = {"token-classification": {"scheme": "BIO"}}
    (tmp_path / "tagger" / "config.json").write_text(json.dumps(saved))
    return tmp_path / "tagger"


def test_a_model_of_one_scheme_is_scored_on_another(tagger: Path) -> None:
    def scored(texts: list[list[str]]) -> Any:
        rows = [{"words": ["Ada", "Bo", "met", "Cy"][: len(tags)], "tags": tags} for tags in texts]
        return bertie.evaluate("token-classification", rows, model=tagger, show_progress=False)

    bio = scored([["B-PER", "B-PER", "O", "B-LOC"], ["B-PER", "I-PER"], ["B-FAC"]])
    iob1 = scored([["I-PER", "B-PER", "O", "I-LOC"], ["I-PER", "I-PER"], ["I-FAC"]])
    bioes = scored([["S-PER", "S-PER", "O", "S-LOC"], ["B-PER", "E-PER"], ["S-FAC"]])
    spelled = scored([["PER_B", "PER_B", "O", "LOC_B"], ["PER_B", "PER_I"], ["FAC_B"]])
    assert bio.metrics == iob1.metrics == bioes.metrics == spelled.metrics
    assert {row["label"]: row["support"] for row in bio.table} == {"LOC": 1, "PER": 3, UNSEEN: 1}
    assert "IOB1 is read as BIO" in iob1.read_as
