"""Token classification in training and scoring: labels on pieces, summed losses, tags of words, tuning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from computing import compute, loss_of
from seqeval.metrics import f1_score

import bertie
from bertie.errors import InputError
from bertie.metrics import Scores
from bertie.metrics.entities import entities_metric
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Outputs
from bertie.tasks.token_classification import TokenClassification

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
WORDS = [
    ["Ada", "Lovelace", "lived", "unbelievably", "well", "in", "London", "."],
    ["\x00", "Rome", "\u200b", "Rome"],
    [],
]
LABELS = [["B-PER", "I-PER", "O", "O", "O", "O", "B-LOC", "O"], ["O", "B-LOC", "I-LOC", "I-LOC"], []]


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Any:
    return bertie.BertTokenizer.from_pretrained(minilm)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = bertie.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        **TokenClassification.head(None, TAGS),
    )
    return bertie.BertForTokenClassification(config).eval()


@pytest.fixture
def task(tokenizer: Any, model: Any) -> TokenClassification:
    return TokenClassification(tokenizer=tokenizer, config=model.config)


def numbers(task: Any, features: Any) -> list[list[tuple[str, int]]]:
    """Return the labelled tokens of each row, with their labels."""
    rows = np.split(features.targets, np.cumsum(features.lengths)[:-1])
    return [
        [(token, int(label)) for token, label in zip(row.tokens, labels, strict=True) if label != -100]
        for row, labels in zip(features.encodings, rows, strict=True)
    ]


def test_labels_are_on_the_pieces_of_their_words(task: TokenClassification) -> None:
    features = task.add_labels(task.encode(WORDS), LABELS)
    first, second, third = numbers(task, features)
    assert first == [
        *(("ada", 1), ("love", 2), ("lived", 0), ("un", 0), ("well", 0), ("in", 0), ("london", 3), (".", 0)),
    ]
    assert second == [("rome", 3), ("rome", 4)]
    assert third == []
    assert task.divisor(features) == 10
    every = task.with_options(label_pieces="all")
    first, *_ = numbers(every, every.add_labels(every.encode(WORDS), LABELS))
    assert first[:4] == [("ada", 1), ("love", 2), ("##lace", 2), ("lived", 0)]


def test_each_word_is_labelled_once_in_the_window_that_owns_it(task: TokenClassification) -> None:
    words = [f"word{number}" for number in range(40)]
    labels = [TAGS[number % 5 if number % 5 in (0, 1, 3) else 0] for number in range(40)]
    windowed = task.with_options(windows=True, max_length=16, overlap=6)
    features = windowed.add_labels(windowed.encode([words, ["a"]]), [labels, ["O"]])
    assert len(features.lengths) > 4
    assert windowed.divisor(features) == 41
    whole = task.add_labels(task.encode([words[:15]]), [labels[:15]])
    assert [label for row in numbers(windowed, features)[:-1] for _, label in row][:15] == [
        label for _, label in numbers(task, whole)[0]
    ]
    # if the text is cut instead, the words after the cut have no label
    cut = task.with_options(max_length=16)
    features = cut.add_labels(cut.encode([words]), [labels])
    assert cut.divisor(features) == 7
    assert features.truncated == [80 - 14]


def test_bad_labels_and_options_are_refused(task: TokenClassification) -> None:
    features = task.encode(WORDS[:1])
    with pytest.raises(InputError, match="'B-PRE' is not one of the model's 5 labels .* Did you mean 'B-PER'"):
        task.add_labels(features, [["B-PRE", *LABELS[0][1:]]])
    with pytest.raises(InputError, match="8 words and 7 labels"):
        task.add_labels(features, [LABELS[0][1:]])
    with pytest.raises(InputError, match="class_weights has 2 entries"):
        task.with_options(class_weights=[1.0, 2.0])


def test_losses_are_sums_and_add_up(task: TokenClassification, model: Any) -> None:
    features = task.add_labels(task.encode(WORDS), LABELS)
    output = task.run(TaskModel(model), features)
    loss = task.loss(output, features)
    wanted = torch.from_numpy(features.targets)
    torch.testing.assert_close(loss, F.cross_entropy(output, wanted, reduction="sum"))
    parts = [features.select_inputs([number]) for number in range(3)]
    torch.testing.assert_close(loss, sum(loss_of(task, model, part) for part in parts))
    weighted = task.with_options(class_weights=[1.0, 2.0, 2.0, 3.0, 1.0])
    assert weighted.divisor(features) == 5 + 2 + 2 + 3 + 3 + 1
    torch.testing.assert_close(
        weighted.loss(output, features),
        F.cross_entropy(output, wanted, torch.tensor([1.0, 2.0, 2.0, 3.0, 1.0]), reduction="sum"),
    )
    loss.backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "pooler" not in name)
    model.zero_grad()


def test_predictions_are_one_tag_per_word(task: TokenClassification, model: Any) -> None:
    for options in ({}, {"scheme": "BIO"}, {"scheme": "BIO", "aggregation_strategy": "average"}, {"max_length": 6}):
        asked = task.with_options(**options)
        features = asked.encode(WORDS)
        found = asked.predictions(Outputs(compute(asked, model, features), features))
        assert [len(tags) for tags in found] == [8, 4, 0]
        assert all(tag in TAGS for tags in found for tag in tags)


def values_for(features: Any, tags: list[list[str]]) -> list[np.ndarray]:
    """Return logits that favour these tags of words, on first pieces."""
    found = []
    for row, wanted in zip(features.encodings, tags, strict=True):
        pieces = row.windows[-1].pieces
        logits = np.zeros((len(pieces.ids), 5), np.float32)
        for place, word in enumerate(pieces.word_ids):
            logits[place, TAGS.index(wanted[word])] = 4
        found.append(logits)
    return found


def test_an_entity_continues_across_a_word_without_pieces(task: TokenClassification) -> None:
    asked = task.with_options(scheme="BIO")
    features = asked.encode(WORDS)
    values = values_for(features, LABELS)
    assert asked.predictions(Outputs(values, features)) == LABELS
    assert asked.errors(Outputs(values, features, LABELS)) == [None] * 3
    wrong = [["O", *LABELS[0][1:]], *LABELS[1:]]
    (fault, *others) = asked.errors(Outputs(values, features, wrong))
    assert others == [None, None]
    assert fault is not None
    assert fault[:3] == (1, "PER: Lovelace | LOC: London", "PER: Ada Lovelace | LOC: London")
    (loose, *_) = task.predictions(
        Outputs(values_for(features, [["I-PER", "B-LOC", *["O"] * 6], *LABELS[1:]]), features)
    )
    assert loose[:2] == ["I-PER", "B-LOC"]
    (kept, *_) = asked.predictions(
        Outputs(values_for(features, [["I-PER", "B-LOC", *["O"] * 6], *LABELS[1:]]), features)
    )
    assert kept[0] != "I-PER"


def test_scheme_and_strategy_follow_the_labels(task: TokenClassification) -> None:
    features = task.encode(WORDS)
    tuned = task.tune(Outputs(values_for(features, LABELS), features, LABELS))
    assert (tuned.scheme, tuned.aggregation_strategy) == ("BIO", "first")
    assert tuned.temperature < 1  # all are right, so confidence may grow
    before, after = (
        each.reliability(Outputs(values_for(features, LABELS), features, LABELS)) for each in (task, tuned)
    )
    assert before is not None
    assert after is not None
    assert after.count.sum() == after.correct.sum() == 10  # two words have no pieces
    assert after.error < before.error
    assert task.reliability(Outputs([], task.encode([]), [])) is None
    assert task.expects() == (None, TAGS)
    # the model may have learned IOB1 or BIO, so neither is imposed
    assert task.prepare_labels([["I-PER", "B-PER"], ["O", "I-LOC"]]).scheme is None
    assert task.with_options(scheme="IOB1").prepare_labels([["B-PER"]]).scheme == "IOB1"
    assert task.with_options(label_pieces="all").prepare_labels(LABELS).aggregation_strategy == "average"
    assert task.with_options(scheme="IO", aggregation_strategy="max").prepare_labels(LABELS).scheme == "IO"
    assert task.tune(Outputs([], task.encode([]), [])).temperature == 1


@pytest.mark.parametrize(
    ("scheme", "gold", "said"),
    [
        ("BIO", ["B-A", "I-A", "O", "B-B"], ["B-A", "I-A", "O", "B-A"]),
        ("IOB1", ["I-A", "I-A", "B-A", "O"], ["I-A", "I-A", "I-A", "O"]),
        ("BIOES", ["B-A", "E-A", "S-A", "O"], ["B-A", "E-A", "O", "O"]),
        ("IO", ["I-A", "I-A", "O", "I-B"], ["I-A", "I-A", "O", "I-A"]),
        ("plain", ["A", "A", "O", "B"], ["A", "A", "O", "A"]),
    ],
)
def test_entities_are_counted_in_every_scheme(scheme: str, gold: list[str], said: list[str]) -> None:
    scores = Scores(entities_metric(sorted({*gold, *said}), scheme), replicates=0)
    scores.add([said], [gold])
    prefixed = [[tag if tag == "O" or "-" in tag else f"I-{tag}" for tag in tags] for tags in (gold, said)]
    assert scores.metrics()["f1"] == pytest.approx(f1_score([prefixed[0]], [prefixed[1]]))


def test_bilou_is_counted_as_bioes() -> None:
    scores = Scores(entities_metric(["O", "B-A", "I-A", "L-A", "U-A"], "BIOES"), replicates=0)
    scores.add([["B-A", "L-A", "O", "U-A"]], [["B-A", "L-A", "U-A", "U-A"]])
    assert scores.metrics()["precision"] == 1
    assert scores.metrics()["recall"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("letters", ["BMES", "BIES", "BILU", "BMEW"])
def test_bare_letters_are_not_types(letters: str) -> None:
    begin, inside, end, single = letters
    scores = Scores(entities_metric(list(letters), None), replicates=0)
    scores.add([[begin, inside, end, begin, end]], [[begin, inside, end, single, single]])
    assert scores.metrics()["recall"] == pytest.approx(1 / 3)
    assert scores.metrics()["precision"] == pytest.approx(1 / 2)


def test_a_few_steps_learn_a_few_texts(tokenizer: Any, model: Any) -> None:
    torch.manual_seed(0)
    learner = bertie.BertForTokenClassification(model.config).train()
    task = TokenClassification(tokenizer=tokenizer, config=model.config)
    features = task.add_labels(task.encode(WORDS), LABELS)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    for _ in range(60):
        loss = loss_of(task, learner, features) / task.divisor(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learner.eval()
    answers = task.prepare_labels(LABELS)
    scores = Scores(answers.metric(), replicates=0)
    scores.add(answers.predictions(Outputs(compute(answers, learner, features), features)), answers.references(LABELS))
    assert scores.metrics()["f1"] == 1
    (entities, *_) = answers.decode(Outputs(compute(answers, learner, features), features))
    text = " ".join(WORDS[0])
    assert [text[one["start"] : one["end"]] for one in entities] == ["Ada Lovelace", "London"]
