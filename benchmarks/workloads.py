"""The named workloads: real texts and models, small enough for two cores; `SIZES` has their quick and full sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import bertie
import texts
from bertie.hub import default_embedding_model
from comparison.engines.converting import once
from comparison.own import count_tokens
from comparison.workload import Workload


@dataclass(frozen=True)
class Size:
    """The size of a workload."""

    texts: int
    rounds: int


# name → (quick: `make bench`, whole: `make bench-all`)
SIZES = {
    "embed": (Size(224, 2), Size(256, 5)),
    "classify": (Size(20, 2), Size(96, 3)),
    "long": (Size(48, 2), Size(64, 3)),
    "full": (Size(16, 3), Size(32, 3)),
    "query": (Size(100, 2), Size(100, 5)),
    "query-8": (Size(40, 2), Size(60, 3)),
    "query-64": (Size(40, 2), Size(60, 3)),
    "query-256": (Size(20, 2), Size(40, 3)),
    "train": (Size(32, 2), Size(64, 3)),
    "tokenize": (Size(2000, 5), Size(4000, 7)),
    "start": (Size(1, 2), Size(1, 5)),
}
NAMES = tuple(SIZES)


def make(name: str, whole: bool, cache: Path) -> Workload:
    """Return the workload of this name; generated models are kept in ``cache``."""
    size = SIZES[name][whole]
    kind, _, tokens = name.partition("-")
    made = _MAKERS[kind](size.texts, *([int(tokens)] if tokens else []))
    model = str(_MODELS.get(made.get("task", "embed"), lambda _: default_embedding_model())(cache))
    fields = {"task": "embed", "measure": "throughput", "max_length": 256, **made}
    count = count_tokens(Path(model), fields["texts"], fields["max_length"])
    return Workload(name=name, model=model, rounds=size.rounds, tokens=count, **fields)


def _embed(count: int) -> dict[str, Any]:
    return {"title": "MiniLM-L6 vectors of mixed-length texts", "texts": tuple(texts.mixed(count))}


def _classify(count: int) -> dict[str, Any]:
    title = "base-size classification of mixed-length texts"
    # a few batches of 32 would be half empty: the peers do better with smaller ones
    return {"title": title, "texts": tuple(texts.mixed(count)), "task": "classify", "batch_size": min(16, count // 2)}


def _long(count: int) -> dict[str, Any]:
    found = tuple(texts.documents(count))
    return {"title": "MiniLM-L6 vectors of long documents", "texts": found, "max_length": 512, "batch_size": 8}


def _full(count: int) -> dict[str, Any]:
    found = tuple(texts.full(count, 512, _length()))
    return {"title": "MiniLM-L6 vectors, all of 512 tokens", "texts": found, "max_length": 512, "batch_size": 8}


def _query(count: int, tokens: int | None = None) -> dict[str, Any]:
    if tokens is None:
        found = (texts.QUESTIONS * count)[:count]
        return {"title": "one short question at a time", "texts": found, "measure": "latency"}
    found = tuple(texts.cut_to(tokens, texts.full(count, tokens, _length()), _length()))
    return {"title": f"one text of {tokens} tokens at a time", "texts": found, "measure": "latency"}


def _train(count: int) -> dict[str, Any]:
    title = "masked-LM training steps of 32 mixed-length texts"
    return {"title": title, "texts": tuple(texts.mixed(count)), "task": "train"}


def _tokenize(count: int) -> dict[str, Any]:
    found = tuple((texts.mixed(1000) * (count // 1000 + 1))[:count])
    return {"title": "text to ids, one thread", "texts": found, "task": "tokenize", "one_thread": True}


def _start(count: int) -> dict[str, Any]:
    return {"title": "import, load, first vector", "texts": texts.QUESTIONS[:count], "measure": "start"}


_MAKERS: dict[str, Callable[..., dict[str, Any]]] = {
    "embed": _embed,
    "classify": _classify,
    "long": _long,
    "full": _full,
    "query": _query,
    "train": _train,
    "tokenize": _tokenize,
    "start": _start,
}


def _length() -> Callable[[str], int]:
    tokenizer = bertie.AutoTokenizer.from_pretrained(default_embedding_model())
    return lambda text: len(tokenizer(text)["input_ids"])


def _base_classifier(cache: Path) -> Path:
    """Return the folder of a classifier of BERT-base's shape with random weights, which don't affect speed."""
    return _made("base-classifier", cache, lambda: bertie.BertForSequenceClassification(bertie.BertConfig()))


def _masked_lm(cache: Path) -> Path:
    """Return the folder of MiniLM with a new masked-LM head, the same for every engine."""
    return _made("minilm-masked-lm", cache, lambda: bertie.BertForMaskedLM.from_pretrained(default_embedding_model()))


def _made(name: str, cache: Path, make_model: Callable[[], Any]) -> Path:
    """Return the folder of a model generated once, with a fixed seed."""

    def write(folder: Path) -> None:
        torch.manual_seed(0)
        make_model().save_pretrained(folder)
        bertie.BertTokenizer.from_pretrained(default_embedding_model()).save_pretrained(folder)

    once(cache / name, write)
    return cache / name


_MODELS: dict[str, Callable[[Path], Path]] = {"classify": _base_classifier, "train": _masked_lm}
