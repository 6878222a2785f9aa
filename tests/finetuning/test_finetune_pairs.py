"""finetune() and evaluate() for pairs, choices and masked words: the saved folder gives the same answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

import bertie
from bertie.tasks.embed import Embed
from bertie.tasks.fill_mask import FillMask
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.reranking import Reranking

WORDS = ["the", "a", "cat", "dog", "bird", "man", "sat", "ran", "slept", "sang", "under", "mat", "tree", "road", "red"]
RANDOM = np.random.default_rng(0)


def text(low: int = 3, high: int = 9) -> str:
    return " ".join(RANDOM.choice(WORDS, RANDOM.integers(low, high)))


def rows(count: int, **makers: Any) -> list[dict[str, Any]]:
    return [{name: make() for name, make in makers.items()} for _ in range(count)]


CASES: dict[str, tuple[str, list[dict[str, Any]], type, Any]] = {
    "scores": (
        "embedding",
        rows(40, sentence1=text, sentence2=text, score=lambda: float(RANDOM.integers(0, 6))),
        Embed,
        "the cat sat",
    ),
    "partners": ("embedding", rows(40, anchor=text, positive=text), Embed, "the cat sat"),
    "triples": ("embedding", rows(40, anchor=text, positive=text, negative=text), Embed, "the cat sat"),
    "relevance": (
        "reranking",
        rows(
            40, query=lambda: RANDOM.choice(["cat", "dog"]).item(), passage=text, label=lambda: int(RANDOM.integers(3))
        ),
        Reranking,
        {"query": "cat", "passages": ["the cat sat", "a dog ran", "big"]},
    ),
    "choices": (
        "multiple-choice",
        rows(40, prompt=text, choices=lambda: [text() for _ in range(2, 4)], label=lambda: int(RANDOM.integers(2))),
        MultipleChoice,
        {"prompt": "the cat", "choices": ["sat", "ran", "sang"]},
    ),
    "masked words": ("masked-lm", rows(40, text=text), FillMask, "the [MASK] sat"),
}


@pytest.fixture(scope="module")
def start(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("start")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    bertie.BertForMaskedLM(bertie.BertConfig(vocab_size=30522, **sizes)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


def numbers(answer: Any) -> Any:
    if isinstance(answer, np.ndarray):
        return answer
    found = answer if isinstance(answer, list) else [answer]
    return np.array([one["score"] for one in found])


@pytest.mark.parametrize("windows", [None, True], ids=["cut", "windows"])
@pytest.mark.parametrize("case", CASES)
def test_the_saved_folder_gives_the_same_answers(case: str, windows: bool | None, start: Path, tmp_path: Path) -> None:
    task, data, kind, asked = CASES[case]
    options = {} if windows is None else {"windows": True, "max_length": 9, "overlap": 1}
    settings = bertie.Settings(steps=6, batch_size=8, learning_rate=1e-3)
    found = bertie.finetune(
        task,
        data[:30],
        test=data[30:],
        model=start,
        out=tmp_path / "run",
        settings=settings,
        show_progress=False,
        **options,
    )
    assert found is not None
    assert type(found.pipeline.codec) is kind
    evaluated = bertie.evaluate(task, data[30:], model=tmp_path / "run", show_progress=False)
    for name in ("spearman", "mrr", "map", "accuracy", "recall@1"):
        assert found.metrics.get(name) == pytest.approx(evaluated.metrics.get(name), abs=1e-4), name
    again = bertie.pipeline(task, tmp_path / "run", device="cpu")
    np.testing.assert_allclose(numbers(again(asked)), numbers(found.pipeline(asked)), atol=1e-5)
    if kind is Embed:
        np.testing.assert_allclose(np.linalg.norm(again(asked)), 1, atol=1e-6)  # though the start had no such layer
        peer = SentenceTransformer(str(tmp_path / "run"), device="cpu").encode(asked)
        np.testing.assert_allclose(again(asked), peer, atol=1e-5)
    if kind is Reranking and windows is None:
        pairs = [(asked["query"], passage) for passage in asked["passages"]]
        logits = CrossEncoder(str(tmp_path / "run"), device="cpu").predict(pairs, activation_fn=torch.nn.Identity())
        own = [one["score"] for one in again(pairs, function_to_apply="none", temperature=1.0)]
        np.testing.assert_allclose(own, logits, atol=1e-5)


@pytest.mark.parametrize("case", ["scores", "partners", "choices"])
def test_low_rank_adapters(case: str, start: Path) -> None:
    pytest.importorskip("peft")
    task, data, _, asked = CASES[case]
    settings = bertie.Settings(steps=3, batch_size=8)
    found = bertie.finetune(task, data, model=start, lora=2, settings=settings, show_progress=False)
    assert found is not None
    assert np.isfinite(numbers(found.pipeline(asked))).all()
    if task == "embedding":
        before = bertie.BertModel.from_pretrained(start, add_pooling_layer=False)
        table = "embeddings.word_embeddings.weight"
        assert torch.equal(found.model.get_parameter(table), before.get_parameter(table))
