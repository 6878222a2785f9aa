"""Mutated model folders: bertie answers as transformers does, or ends in one of its own errors, shortly told."""

import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tests.fuzz.folders import mutate, write_base
from tokenizers import Tokenizer

import bertie
from bertie.engine import Engine
from bertie.errors import BertieError
from bertie.tasks.features import Features
from bertie.tokenization.backend import BertBackend

TEXTS = ["the cats sat on a mat.", "", "é E zebra [SEP] [MASK]", "a" * 300]
IDS = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 10, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
KINDS = ("plain", "shards", "pickle", "embedding")
SEEDS = 300  # mutants of each kind


def logits(module: Any, folder: Path) -> Any:
    """The logits, or None where a part begins anew, which is said."""
    cls = module.BertForSequenceClassification
    model, info = cls.from_pretrained(folder, dtype="float32", output_loading_info=True)
    if info["missing_keys"] or info["mismatched_keys"]:
        return None
    with torch.inference_mode():
        return model(IDS, attention_mask=MASK).logits.numpy()


def answers_of_both(folder: Path) -> Iterator[str]:
    """Give where the engine and the model of a folder do not agree: both refuse it, or their logits are equal."""
    found = {}
    for name, call in (("the engine", _of_engine), ("the model", partial(logits, bertie))):
        try:
            found[name] = call(folder)
        except BertieError as error:
            found[name] = error
        except Exception as error:
            yield f"{name}: {type(error).__name__}: {str(error)[:300]}"
            return
    ours, theirs = found.values()
    refused = isinstance(ours, BertieError), isinstance(theirs, BertieError) or theirs is None
    if refused[0] != refused[1]:
        yield f"the engine: {str(ours)[:300]}; the model: {str(theirs)[:300]}"
    elif not refused[0] and not _close(ours, theirs):
        yield f"the engine answers {str(ours)[:300]}, the model {str(theirs)[:300]}"


def _of_engine(folder: Path) -> Any:
    rows = Features(np.array([2, 5, 6, 7, 8, 3, 2, 9, 10, 3]), None, [6, 4], [0, 0], [False, False])
    return Engine.open(folder, "BertForSequenceClassification").logits(rows)


def ids(module: Any, folder: Path) -> Any:
    """The ids of some texts; where tokenizer.json states another pipeline than BERT's, the file itself is right."""
    tokenizer = module.AutoTokenizer.from_pretrained(folder)
    if module is not bertie and not _is_berts(folder):
        rust = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return [rust.encode(text).ids for text in TEXTS]
    return [tokenizer(text, truncation=False)["input_ids"] for text in TEXTS]


def _is_berts(folder: Path) -> bool:
    """Whether the pipeline of tokenizer.json is that of the tokenizer's arguments, which the reference builds anew."""
    ours = bertie.AutoTokenizer.from_pretrained(folder)
    return isinstance(ours._backend, BertBackend)


def vectors(module: Any, folder: Path) -> Any:
    if module is bertie:
        return bertie.pipeline("embed", folder, device="cpu")(TEXTS)
    if not _is_berts(folder) or not (folder / "modules.json").exists():  # rows of docs/differences.md
        return None
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


def faults(call: Callable[[Any, Path], Any], folder: Path) -> Iterator[str]:
    """Give what is wrong with bertie's answer, beside the reference's where that has one, or with its error."""
    try:
        ours = call(bertie, folder)
    except BertieError as error:
        if len(str(error)) > 1500 or "\n" in str(error):
            yield f"an error of {len(str(error))} characters: {str(error)[:300]!r}"
        return
    except Exception as error:
        yield f"{type(error).__name__}: {str(error)[:300]}"
        return
    try:
        theirs = call(transformers, folder)
    except Exception:  # what the reference does not read, bertie may
        return
    if not (ours is None or theirs is None or (ours == theirs if isinstance(ours, list) else _close(ours, theirs))):
        yield f"{call.__name__} {str(ours)[:300]}, not {str(theirs)[:300]}"


def _close(ours: Any, theirs: Any) -> bool:
    return ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-5, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_transformers_or_one_of_our_errors(kind: str, tmp_path: Path) -> None:
    transformers.logging.set_verbosity(logging.CRITICAL)
    write_base(tmp_path / "base", kind)
    found, folder = [], tmp_path / "mutant"
    for seed in range(SEEDS):
        shutil.copytree(tmp_path / "base", folder, symlinks=True)
        told = mutate(folder, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found += [f"{kind}, {told}: {fault}" for fault in answers_of_both(folder)]
            for call in (logits, ids, vectors) if kind == "embedding" else (logits, ids):
                found += [f"{kind}, {told}: {fault}" for fault in faults(call, folder)]
        shutil.rmtree(folder)
    assert not found, "\n" + "\n".join(found)
