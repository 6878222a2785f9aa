"""Reranking: scores equal to sentence-transformers' CrossEncoder, ranked passages, and metrics per query."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from computing import compute, loss_of
from sentence_transformers import CrossEncoder
from sklearn.metrics import average_precision_score

import bertie
from bertie.errors import CheckpointError, InputError, InputTypeError
from bertie.metrics import RankingMetric, RerankingMetric, Scores
from bertie.tasks.features import Outputs
from bertie.tasks.reranking import Reranking

QUERY = "how do cats sleep"
PASSAGES = [
    "A cat sleeps for most of the day, curled up in a warm place.",
    "Stocks fell.",
    "",
    "Dogs bark at night. " * 30,
    "Cats.",
]


@pytest.fixture(scope="module")
def folder(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random cross-encoder."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("reranker")
    config = bertie.BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        num_labels=1,
        initializer_range=0.3,
    )
    bertie.BertForSequenceClassification(config).save_pretrained(path)
    bertie.BertTokenizer.from_pretrained(minilm, model_max_length=64).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def rerank(folder: Path) -> Any:
    return bertie.pipeline("rerank", folder, device="cpu")


def test_the_scores_of_a_cross_encoder(folder: Path, rerank: Any) -> None:
    peer = CrossEncoder(str(folder), device="cpu")
    expected = peer.predict([(QUERY, passage) for passage in PASSAGES])
    found = rerank(QUERY, PASSAGES)
    assert [one["index"] for one in found] == np.argsort(-expected).tolist()
    assert [one["text"] for one in found] == [PASSAGES[one["index"]] for one in found]
    np.testing.assert_allclose([one["score"] for one in found], sorted(expected, reverse=True), atol=1e-6)
    assert [one["corpus_id"] for one in peer.rank(QUERY, PASSAGES)] == [one["index"] for one in found]
    (cut,) = (one for one in found if one["index"] == 3)
    assert cut["truncated"] > 0
    assert not any("truncated" in one for one in found if one["index"] != 3)


@pytest.mark.parametrize(
    "known",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}},
        {"sbert_ce_default_activation_function": "torch.nn.Softplus"},
    ],
)
def test_a_cross_encoder_without_an_activation(folder: Path, tmp_path: Path, known: dict[str, Any]) -> None:
    model = bertie.BertForSequenceClassification.from_pretrained(folder)
    for name, value in known.items():
        setattr(model.config, name, value)
    model.save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    expected = CrossEncoder(str(tmp_path), device="cpu").predict([(QUERY, passage) for passage in PASSAGES[:2]])
    pipe = bertie.pipeline("reranking", tmp_path, device="cpu")
    found = [one["score"] for one in pipe([(QUERY, passage) for passage in PASSAGES[:2]])]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert all(0 < one["score"] < 1 for one in pipe(QUERY, PASSAGES, function_to_apply="sigmoid"))


@pytest.mark.parametrize("named", ["os.system", "torch.hub.load", "torch.nn.Softmax", "mine.Tanh", 5])
def test_an_unknown_activation_is_refused(folder: Path, tmp_path: Path, named: Any) -> None:
    model = bertie.BertForSequenceClassification.from_pretrained(folder)
    model.config.sentence_transformers = {"activation_fn": named}
    model.save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"asks for .*{named}.*, which bertie does not have; of torch.*Tanh"):
        bertie.pipeline("reranking", tmp_path, device="cpu")


@pytest.mark.parametrize("activation", [torch.nn.Identity(), torch.nn.Sigmoid(), torch.nn.Tanh(), torch.nn.GELU()])
def test_a_cross_encoder_as_sentence_transformers_saves_it(
    folder: Path, tmp_path: Path, activation: torch.nn.Module
) -> None:
    peer = CrossEncoder(str(folder), device="cpu", activation_fn=activation)
    peer.save_pretrained(str(tmp_path))
    pairs = [(QUERY, passage) for passage in PASSAGES[:2]]
    found = [one["score"] for one in bertie.pipeline("reranking", tmp_path, device="cpu")(pairs)]
    np.testing.assert_allclose(found, CrossEncoder(str(tmp_path), device="cpu").predict(pairs), atol=1e-5)


def test_forms_of_input(rerank: Any) -> None:
    best = rerank(QUERY, PASSAGES, top_k=2)
    assert best == rerank(QUERY, PASSAGES)[:2]
    one = {"query": QUERY, "passages": PASSAGES}
    assert rerank(one) == rerank(QUERY, PASSAGES)
    both = rerank([one, {"query": "stocks", "passages": ["Stocks fell."]}, {"query": "none", "passages": []}])
    assert [len(ranked) for ranked in both] == [5, 1, 0]
    assert both[0][0] == pytest.approx(rerank(one)[0])
    assert rerank((QUERY, "Cats.")) == pytest.approx({"score": {x["text"]: x["score"] for x in rerank(one)}["Cats."]})
    assert [x["score"] for x in rerank(QUERY, PASSAGES, function_to_apply="none")] != [x["score"] for x in best]
    windows = rerank(QUERY, PASSAGES, windows=True)
    assert not any("truncated" in one for one in windows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a query",), "A query needs its passages"),
        ((["a"], ["b"]), "passages belong to one query"),
        (({"query": 3, "passages": []},), "The query is 3"),
        (("a", "b"), "The passages are 'b'"),
    ],
)
def test_bad_queries_are_refused(rerank: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        rerank(*arguments)


def test_a_single_text_and_a_model_of_two_labels(rerank: Any) -> None:
    with pytest.raises(InputError, match="Input 0 is not a pair"):
        rerank(["a text"])
    model = bertie.BertForSequenceClassification(bertie.BertConfig(num_hidden_layers=1, num_labels=2))
    with pytest.raises(InputError, match="The model has 2 labels; a reranker has one"):
        bertie.pipeline("reranking", model, tokenizer=rerank.tokenizer)


PAIRS = [("a", "one"), ("a", "two three"), ("b", "four"), ("b", "five"), ("b", "one two")]


@pytest.fixture
def task(rerank: Any) -> Reranking:
    task: Reranking = rerank.codec
    return task


def test_learning_by_binary_cross_entropy(folder: Path, task: Reranking) -> None:
    labels = [3.0, 0.0, 1.0, 2.0, 0.0]
    suited = task.prepare_labels(labels)
    assert suited.highest == 3.0
    assert task.prepare_labels([0.0, 0.5]).highest == 1.0
    features = suited.add_labels(suited.encode(PAIRS), labels)
    model = bertie.BertForSequenceClassification.from_pretrained(folder)
    loss = loss_of(suited, model, features)
    logits = torch.from_numpy(compute(suited, model, features))[:, 0]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(labels) / 3, reduction="sum")
    torch.testing.assert_close(loss.detach(), expected)
    assert suited.divisor(features) == 5
    with pytest.raises(InputError, match="A relevance is 3, but the highest is 1"):
        task.add_labels(features, labels)
    with pytest.raises(InputError, match="A relevance is -1"):
        task.references([-1.0])
    assert Reranking.head(None, []) == {"num_labels": 1, "problem_type": "multi_label_classification"}


def test_metrics_are_those_of_rankings(rerank: Any, task: Reranking) -> None:
    labels = [1.0, 0.0, 0.0, 1.0, 0.0]
    features = task.encode(PAIRS)
    values = compute(task, rerank.model, features)
    predictions = task.predictions(Outputs(values, features))
    scores = [score for _, score in predictions]
    assert [query for query, _ in predictions] == list("aabbb")
    expected = Scores(RankingMetric())
    expected.add([scores[:2], scores[2:]], [labels[:2], labels[2:]])
    found = Scores(task.metric())
    order = [4, 0, 2, 1, 3]  # rows of a query need not be adjacent
    found.add([predictions[at] for at in order[:2]], task.references([labels[at] for at in order[:2]]))
    found.add([predictions[at] for at in order[2:]], task.references([labels[at] for at in order[2:]]))
    accuracy = np.mean((np.array(scores) >= 0.5) == (np.array(labels) >= 0.5))
    assert found.metrics() == pytest.approx({**expected.metrics(), "accuracy": accuracy})
    assert found.intervals()["map"] is not None
    faults = task.errors(Outputs(values, features, labels))
    assert sum(fault is None for fault in faults) == round(accuracy * 5)
    assert task.tune(Outputs(values, features, labels)).temperature != 1.0
    assert task.tune(Outputs(values, features, [0.3] * 5)) == task
    assert task.reliability(Outputs(values, features, [0.3] * 5)) is None


def test_queries_with_one_passage_each_are_one_ranking() -> None:
    random = np.random.default_rng(0)
    given, gold = random.random(50).round(2), random.random(50) < 0.3
    scores = Scores(RerankingMetric())
    scores.add([(str(number), score) for number, score in enumerate(given)], gold.astype(float))
    assert scores.metrics()["map"] == pytest.approx(average_precision_score(gold, given), abs=0.02)
    assert scores.intervals()["map"] is None
    assert "one ranking" in scores.notes()[0]


def test_queries_of_two_systems() -> None:
    gold = [1.0, 0.0, 1.0, 0.0]
    right, wrong = [(query, label) for query, label in zip("aabb", gold, strict=True)], [("a", 0.0), ("a", 1.0)] * 2
    first, second = Scores(RerankingMetric()), Scores(RerankingMetric())
    first.add(right, gold)
    second.add([(query, score) for query, (_, score) in zip("aabb", wrong, strict=True)], gold)
    difference = {name: figure - second.metrics()[name] for name, figure in first.metrics().items()}
    assert difference == {"mrr": 0.5, "ndcg@10": pytest.approx(0.369, abs=1e-3), "map": 0.5, "accuracy": 1.0}
    assert first.resampled().keys() == difference.keys()
    scores = Scores(RerankingMetric())
    scores.add([("a", 0.3), ("a", 0.2), ("b", 0.1)], [1.0, 0.0, 0.0])
    assert scores.notes() == ["1 of 2 queries has no relevant passage and counts 0."]


def test_tuned_options_are_saved(folder: Path, tmp_path: Path, task: Reranking) -> None:
    from bertie.tasks.registry import find

    model = bertie.BertForSequenceClassification.from_pretrained(folder)
    row = find("cross-encoder")
    row.save_options(model.config, task.with_options(temperature=2.0, highest=4.0, windows=True))
    model.save_pretrained(tmp_path)
    task.tokenizer.save_pretrained(tmp_path)
    again = bertie.pipeline("rerank", tmp_path).codec
    assert (again.temperature, again.highest, again.windows, again.window_scores) == (2.0, 4.0, True, "max")
