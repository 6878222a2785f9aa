"""Similarity: losses equal to sentence-transformers' on the same vectors, gradients, and metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from computing import compute, loss_of
from sentence_transformers.sentence_transformer import losses

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.metrics import RegressionMetric, RetrievalMetric, Scores
from bertie.tasks.embed import Embed
from bertie.tasks.features import Features, Outputs
from bertie.tasks.sentence_transformers_config import read_recipe
from bertie.tasks.similarity import Similarity, ranks_of_partners
from bertie.tasks.summed_losses import contrastive_sum, false_negatives

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})
PAIRS = [("a b c d e f g h", "b c"), ("d", "e f g"), ("h i", "h i j"), ("a c e", "c")]
TRIPLES = [(*pair, negative) for pair, negative in zip(PAIRS, ["i", "a a a", "b", "j i h g f e d c b"], strict=True)]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    return bertie.BertModel(config, add_pooling_layer=False).eval()


def task_of(model: Any, **options: Any) -> Similarity:
    return Similarity(tokenizer=TOKENIZER, config=model.config, **options)


def directions_of(model: Any, texts: Sequence[str], **options: Any) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors_of(model, list(texts), **options), dim=1)


def vectors_of(model: Any, texts: list[str], **options: Any) -> torch.Tensor:
    task = Embed(tokenizer=TOKENIZER, config=model.config, **options)
    return torch.from_numpy(np.stack(compute(task, model, task.encode(texts))))


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("inputs", [PAIRS, TRIPLES], ids=["pairs", "triples"])
def test_in_batch_negatives_as_in_sentence_transformers(model: Any, inputs: Any, windows: bool) -> None:
    options = {"windows": True, "max_length": 6, "overlap": 1} if windows else {}
    task = task_of(model, **options).prepare_labels([None] * 4)
    assert not task.divisible
    features = task.add_labels(task.encode(inputs), [None] * 4)
    columns = [vectors_of(model, list(column), **options) for column in zip(*inputs, strict=True)]
    both: dict[str, Any] = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    peer = losses.MultipleNegativesRankingLoss(None, **(both if inputs is PAIRS else {}))
    expected = peer.compute_loss_from_embeddings(columns, torch.zeros(4))
    loss = loss_of(task, model, features) / task.divisor(features)
    torch.testing.assert_close(loss.detach(), expected, atol=1e-5, rtol=1e-5)
    loss.backward()
    gradient = model.embeddings.word_embeddings.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    model.zero_grad()


@pytest.mark.parametrize("windows", [False, True])
def test_matryoshka_as_in_sentence_transformers(model: Any, windows: bool) -> None:
    """The loss is the sum of sentence-transformers' over the vectors truncated to each dimension and normalized."""
    options = {"windows": True, "max_length": 6, "overlap": 1} if windows else {}
    dims = (model.config.hidden_size, 8, 2)
    task = task_of(model, matryoshka_dims=dims, **options).prepare_labels([5.0, 0.0, 2.5, 4.0])
    features = task.add_labels(task.encode(PAIRS), [5.0, 0.0, 2.5, 4.0])
    columns = [vectors_of(model, list(column), **options) for column in zip(*PAIRS, strict=True)]

    class Peer(torch.nn.Module):
        def get_embedding_dimension(self) -> int:
            return dims[0]

        def forward(self, column: dict[str, Any]) -> dict[str, Any]:
            return {**column, "sentence_embedding": columns[column["number"]]}

    peer = Peer()
    found = losses.MatryoshkaLoss(peer, losses.CosineSimilarityLoss(peer), dims)
    expected = found([{"number": 0}, {"number": 1}], torch.tensor([1.0, 0.0, 0.5, 0.8]))
    torch.testing.assert_close(loss_of(task, model, features).detach() / 4, expected, atol=1e-5, rtol=1e-5)


def test_bad_matryoshka_dims(model: Any, caplog: pytest.LogCaptureFixture) -> None:
    width = model.config.hidden_size
    for dim in (0, width + 1):
        with pytest.raises(InputError, match=f"matryoshka_dims is {dim}; allowed are 1 to {width}"):
            task_of(model, matryoshka_dims=[width, dim])
    task_of(model, matryoshka_dims=[2])
    assert f"matryoshka_dims does not include {width}" in caplog.text


def test_truncation_of_vectors_is_saved(model: Any, tmp_path: Path) -> None:
    task_of(model, truncate_dim=8).save(tmp_path)
    assert read_recipe(tmp_path).truncate_dim == 8


def test_pairs_and_triples_may_be_mixed() -> None:
    random = torch.Generator().manual_seed(0)
    anchors, positives, negatives = (
        torch.nn.functional.normalize(torch.randn(count, 8, generator=random), dim=1) for count in (3, 3, 1)
    )
    found = 20 * anchors @ torch.cat([positives, negatives]).T
    expected = torch.nn.functional.cross_entropy(found, torch.arange(3), reduction="sum")
    texts = np.arange(3), np.arange(3, 6), np.arange(6, 7)
    torch.testing.assert_close(contrastive_sum(anchors, positives, negatives, 20, texts), expected)


@pytest.mark.parametrize("windows", [False, True])
def test_equal_texts_in_a_step_are_not_negatives(model: Any, windows: bool) -> None:
    """Each anchor's loss is that in a batch without duplicates."""
    options = {"windows": True, "max_length": 6, "overlap": 1} if windows else {}
    pairs = [("a b c d e f g h", "b c"), ("d", "e f g"), ("a b c d e f g h", "h i"), ("j", "e f g"), ("d", "e f g")]
    task = task_of(model, **options).prepare_labels([None] * 5)
    features = task.encode(pairs)
    anchors, positives = (directions_of(model, column, **options) for column in zip(*pairs, strict=True))
    peer = losses.MultipleNegativesRankingLoss(None)
    expected = []
    # row → the rows that share no text with it; the third and fourth pair are each other's negatives
    for row, others in {0: [1, 3, 4], 1: [0, 2], 2: [1, 3, 4], 3: [0, 2], 4: [0, 2]}.items():
        for ours, theirs in ((anchors, positives), (positives, anchors)):
            found = peer.scale * ours[row] @ theirs[[row, *others]].T
            expected.append(torch.nn.functional.cross_entropy(found, torch.tensor(0)))
    loss = loss_of(task, model, features)
    torch.testing.assert_close(loss.detach(), sum(expected) / 2, atol=1e-5, rtol=1e-5)


def test_repeated_pairs_and_false_negatives(model: Any) -> None:
    task = task_of(model).prepare_labels([None] * 2)
    assert loss_of(task, model, task.encode([PAIRS[0]] * 2)).item() == pytest.approx(0, abs=1e-5)
    inputs = [("a", "b", "d"), ("c", "d", "e"), ("b", "f", "a")]
    right = false_negatives(*(np.array(column) for column in (list("acb"), list("bdf"), list("bdfdea"))))
    # the anchor a has itself as a negative, b has its own text as a partner; d is the partner of c only
    assert right.tolist() == [
        [True, False, False, False, False, True],
        [False, True, False, True, False, False],
        [True, False, True, False, False, False],
    ]
    anchors, *others = (directions_of(model, column) for column in zip(*inputs, strict=True))
    found = 20 * anchors @ torch.cat(others).T
    found[torch.from_numpy(right) & ~torch.eye(3, 6, dtype=torch.bool)] = -torch.inf
    expected = torch.nn.functional.cross_entropy(found, torch.arange(3), reduction="sum")
    torch.testing.assert_close(loss_of(task, model, task.encode(inputs)).detach(), expected, atol=1e-5, rtol=1e-5)


def test_scores_are_learned_as_cosines(model: Any) -> None:
    scores = [5.0, 0.0, 2.5, 4.0]
    task = task_of(model).prepare_labels(scores)
    assert (task.scored, task.lowest, task.highest, task.divisible) == (True, 0.0, 5.0, True)
    features = Features.concatenate([task.add_labels(task.encode(PAIRS), scores)])
    first, second = (vectors_of(model, list(column)) for column in zip(*PAIRS, strict=True))
    peer = losses.CosineSimilarityLoss(None)
    expected = peer.compute_loss_from_embeddings([first, second], torch.tensor(scores) / 5)
    whole = loss_of(task, model, features)
    torch.testing.assert_close(whole.detach() / 4, expected)
    parts = [loss_of(task, model, features.select_inputs(part)) for part in ([3, 1], [0], [2])]
    torch.testing.assert_close(sum(parts), whole)
    assert task_of(model).prepare_labels([0.2, 0.9]).highest == 1.0
    signed = task_of(model).prepare_labels([-1.0, 1.0])
    assert signed.lowest == -1.0
    assert signed.references([-1.0, 0.5, 1.0]).tolist() == [0.0, 0.75, 1.0]


def test_scores_are_needed_for_all_pairs_and_for_pairs_only(model: Any) -> None:
    with pytest.raises(InputError, match="1 of 2 pairs have no score"):
        task_of(model).prepare_labels([0.5, None])
    task = task_of(model, scored=True)
    with pytest.raises(InputError, match="pair 1 has no score"):
        task.add_labels(task.encode(PAIRS[:2]), [0.5, None])
    with pytest.raises(InputError, match="A score belongs to a pair"):
        task.add_labels(task.encode(TRIPLES[:1]), [0.5])
    for wrong in ("a", ("a",), ("a", "b", "c", "d"), ("a", 3)):
        with pytest.raises(InputTypeError, match="Input 1 is .* must be a pair"):
            task.encode([PAIRS[0], wrong])
    for options in ({"scale": 0.0}, {"lowest": 1.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            task_of(model, **options)


def test_metrics_with_scores(model: Any) -> None:
    gold = [5.0, 0.0, 2.5, 4.0]
    task = task_of(model).prepare_labels(gold)
    features = task.encode(PAIRS)
    values = compute(task, model, features)
    first, second = (vectors_of(model, list(column)) for column in zip(*PAIRS, strict=True))
    cosines = torch.nn.functional.cosine_similarity(first, second).numpy()
    found = task.predictions(Outputs(values, features))
    np.testing.assert_allclose(found, cosines, atol=1e-6)
    scores = Scores(task.metric())
    assert isinstance(scores.metric, RegressionMetric)
    scores.add(found, task.references(gold))
    assert scores.metrics()["pearson"] == pytest.approx(np.corrcoef(cosines, gold)[0, 1])
    gaps = np.abs(cosines - np.array(gold) / 5)
    faults = task.errors(Outputs(values, features, gold))
    assert [fault.severity if fault else None for fault in faults] == [
        pytest.approx(gap, abs=1e-6) if gap >= 0.25 else None for gap in gaps
    ]


@pytest.mark.parametrize("windows", [False, True])
def test_metrics_without_scores(model: Any, windows: bool) -> None:
    task = task_of(model, **({"windows": True, "max_length": 6, "overlap": 1} if windows else {}))
    features = task.encode(TRIPLES)
    values = compute(task, model, features)
    ranks = task.predictions(Outputs(values, features))
    anchors = np.stack([vectors[0] for vectors in values])
    others = np.concatenate([vectors[1:] for vectors in values])
    cosines = anchors @ others.T
    assert ranks.tolist() == [int((row >= row[2 * at]).sum()) for at, row in enumerate(cosines)]
    scores = Scores(task.metric())
    assert isinstance(scores.metric, RetrievalMetric)
    scores.add(ranks, task.references([None] * 4))
    figures = scores.metrics()
    assert figures["mrr"] == pytest.approx(np.mean(1 / ranks))
    assert figures["recall@1"] == np.mean(ranks == 1)
    assert [fault is None for fault in task.errors(Outputs(values, features, [None] * 4))] == (ranks == 1).tolist()
    assert task.predictions(Outputs([], features.select_inputs([]))).tolist() == []


def test_ranks_with_repeated_texts_and_constant_vectors() -> None:
    one, other = np.eye(2)
    twice = [np.stack([one, one]), np.stack([one, one]), np.stack([other, other])]
    assert ranks_of_partners(twice, ["a", "b", "c", "b", "d", "e"]).tolist() == [1, 1, 1]
    same = [np.stack([one, one])] * 3
    assert ranks_of_partners(same, ["a", "b", "c", "d", "e", "f"]).tolist() == [3, 3, 3]
    # other partners of an anchor, and its own text, are equally good answers
    assert ranks_of_partners(same, ["a", "b", "a", "d", "e", "f"]).tolist() == [2, 2, 3]
    assert ranks_of_partners(same, ["a", "b", "b", "c", "d", "e"]).tolist() == [3, 2, 3]
    with pytest.raises(InputError, match="one integer of at least 1 per row"):
        RetrievalMetric().rows([0.5], [None])
