"""bertie.distil_static: one vector a token, from what a model makes of each token alone (model2vec)."""

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
    """Write a model of one vector a token into a new folder: hundreds of times faster, and less exact.

    A token's vector is the teacher's of the token alone, in the ``width`` directions in which those of the vocabulary
    differ most (PCA), times ``a / (a + p)``: ``p`` is how often Zipf's law expects the token by its place in the
    vocabulary, ``a`` is 1e-4. A text's vector is the mean of its tokens', of length 1. This is what model2vec does.

    Args:
        teacher: the folder, or name in the hub, of a model of sentence vectors.
        out: the new folder, which `bertie.pipeline("embed")` and sentence-transformers open.
        width: the numbers of a vector, at most the teacher's.

    Raises:
        InputError: a width that cannot be, or a tokenizer that is no ``tokenizer.json``.
        CheckpointError: the teacher's files are missing or damaged, or ``out`` is not new.
    """
    path = check_new(out)
    embed = pipeline("embed", os.fspath(teacher))
    check_count("width", width, embed.dimension)
    if getattr(embed.tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"The tokenizer of {os.fspath(teacher)!r} has no tokenizer.json; take another teacher.")
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
    """Return the ids of tokens that occur in texts: without unused entries, [CLS], [SEP] and [MASK].

    Frequent tokens come first among them, which is what their weights go by.
    """
    others = {tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token}
    found = [
        number for word, number in tokenizer.get_vocab().items() if word not in others and not UNUSED.fullmatch(word)
    ]
    return np.array(sorted(found))


def vectors_of_tokens(embed: EmbedPipeline) -> Array:
    """Return the teacher's vector of each token of the vocabulary alone, float32 ``[V, D]``."""
    count, tokenizer = len(embed.tokenizer), embed.tokenizer
    ids = np.array([[tokenizer.cls_token_id, number, tokenizer.sep_token_id] for number in range(count)])
    features = Features(ids.ravel(), None, [3] * count, [0] * count, [False] * count)
    return np.stack(compute_rows(embed.codec, embed.computing, features))


def principal(vectors: Array, width: int) -> Array:
    """Return vectors ``[V, D]`` in the directions of their largest variance, ``[V, width]``."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return centred @ directions[:, ::-1][:, :width]


def weighted(vectors: NDArray[np.float64]) -> Array:
    """Return vectors ``[V, D]`` of tokens, the most frequent first, each with its weight."""
    shares = 1 / np.arange(2, len(vectors) + 2)
    return (vectors * (SIF / (SIF + shares / shares.sum()))[:, None]).astype(np.float32)
