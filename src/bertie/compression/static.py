"""bertie.distil_static: a static embedding model, with a teacher's vector of each token by itself (model2vec)."""

import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.new_folder import check_new
from bertie.checkpoints.safetensors_file import write_tensors
from bertie.errors import InputError
from bertie.files import atomic_folder, write_json
from bertie.pipelines import EmbedPipeline, pipeline
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features
from bertie.tasks.inference import compute_rows
from bertie.tasks.sentence_transformers_config import MODULES, SETTINGS
from bertie.tasks.text_encoder import check_count
from bertie.tokenization.tokenizer import Tokenizer

WIDTH = 256
# the unused entries of BERT's vocabularies
UNUSED = re.compile(r"\[unused\d+\]")
# a in Arora et al. 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings"
SIF = 1e-4


def distil_static(teacher: str | os.PathLike[str], out: str | os.PathLike[str], width: int = WIDTH) -> Path:
    """Write a model of one vector per token to a new folder: hundreds of times faster, and less accurate.

    A token's vector is the teacher's vector of the token by itself, reduced to ``width`` dimensions by PCA, and scaled
    by ``a / (a + p)``, where ``p`` is the token's frequency by Zipf's law, from its rank in the vocabulary, and ``a``
    is 1e-4. A text's vector is the mean of its tokens', normalised to length 1. This is what model2vec does.

    Args:
        teacher: the folder or hub name of an embedding model.
        out: the new folder, which `bertie.pipeline("embed")` and sentence-transformers can open.
        width: the size of a vector, at most the teacher's.

    Raises:
        InputError: the width is out of range, or the tokenizer has no ``tokenizer.json``.
        CheckpointError: the teacher's files are missing or damaged, or ``out`` is not new.
    """
    path = check_new(out)
    embed = pipeline("embed", os.fspath(teacher))
    check_count("width", width, embed.dimension)
    if getattr(embed.tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"The tokenizer of {os.fspath(teacher)!r} has no tokenizer.json; choose another teacher.")
    table = np.zeros((len(embed.tokenizer), width), np.float32)
    used = used_tokens(embed.tokenizer)
    table[used] = weighted(principal(vectors_of_tokens(embed)[used], width))
    with atomic_folder(path) as temporary:
        embed.tokenizer.save_pretrained(temporary)
        write_tensors({"embedding.weight": table}, temporary / "model.safetensors")
        write_json(temporary / SETTINGS, {"similarity_fn_name": "cosine"})
        steps = (("StaticEmbedding", ""), ("Normalize", "1_Normalize"))
        (temporary / "1_Normalize").mkdir()
        modules = [
            {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
            for number, (kind, place) in enumerate(steps)
        ]
        write_json(temporary / MODULES, modules)
    return path


def used_tokens(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the ids of tokens that occur in texts, without unused entries, [CLS], [SEP] and [MASK].

    They are in the order of the vocabulary, which is roughly by frequency; their weights rely on it.
    """
    others = {tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token}
    found = [
        number for word, number in tokenizer.get_vocab().items() if word not in others and not UNUSED.fullmatch(word)
    ]
    return np.array(sorted(found))


def vectors_of_tokens(embed: EmbedPipeline) -> Array:
    """Return the teacher's vector of each token of the vocabulary by itself, float32 ``[V, D]``."""
    count, tokenizer = len(embed.tokenizer), embed.tokenizer
    ids = np.array([[tokenizer.cls_token_id, number, tokenizer.sep_token_id] for number in range(count)])
    features = Features(ids.ravel(), None, [3] * count, [0] * count, [False] * count)
    task = embed.codec.with_options(prompt="")  # which some models leave out of the pooling, and here there is none
    return np.stack(compute_rows(task, embed.computing, features))


def principal(vectors: Array, width: int) -> Array:
    """Return the first ``width`` principal components of vectors ``[V, D]``, ``[V, width]``."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return centred @ directions[:, ::-1][:, :width]


def weighted(vectors: NDArray[np.float64]) -> Array:
    """Return vectors ``[V, D]`` of tokens, the most frequent first, multiplied by their SIF weights."""
    frequencies = 1 / np.arange(2, len(vectors) + 2)
    return (vectors * (SIF / (SIF + frequencies / frequencies.sum()))[:, None]).astype(np.float32)
