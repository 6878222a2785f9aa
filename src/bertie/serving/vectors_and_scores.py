"""Vectors and scores, shared by the routes of all API families: normalised, truncated, raw, ranked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertie.serving.exchange import Exchange, check_finite
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.service import Answers
from bertie.tasks.arrays import Array
from bertie.tasks.operations import Operations
from bertie.tasks.sentence_transformers_config import first_prompt


async def vectors_of(
    exchange: Exchange,
    inputs: Sequence[Any],
    model: str | None = None,
    *,
    normalize: bool = True,
    dimensions: int | None = None,
    field: str = "dimensions",
    **options: Any,
) -> tuple[Array, Answers]:
    """Return the vectors ``[N, D]`` of texts or rows of ids, and their `Answers`.

    Each vector is cut to its first ``dimensions`` numbers (None: all), then given length 1 by ``normalize``; a model
    may normalise anyway. ``field`` is the client's name for ``dimensions``. Options are those of `Exchange.answer`.
    """
    answers = await exchange.answer("embed", inputs, model, **options)
    return truncate_and_normalize(np.array(answers.values), normalize, dimensions, field), answers


def truncate_and_normalize(vectors: Array, normalize: bool, dimensions: int | None, field: str = "dimensions") -> Array:
    """Return vectors ``[N, D]`` as `vectors_of` does."""
    if dimensions is not None:
        if dimensions < 1:
            raise Refusal(VALIDATION, f"`{field}` should be positive")
        if dimensions > vectors.shape[1]:
            raise Refusal(VALIDATION, f"`{field}` should be smaller than the maximum embedding dimension.")
        vectors = vectors[:, :dimensions]
    vectors = Operations().normalize(vectors) if normalize else vectors
    check_finite(vectors)
    return vectors


def known_prompt_name(exchange: Exchange, model: str | None, names: Sequence[str]) -> str | None:
    """Return the first of these prompt names that the embedding model has."""
    recipe = exchange.service.model_for("embed", model).task("embed").recipe  # type: ignore[attr-defined]
    return first_prompt(recipe.prompts, names)


async def scores_of(
    exchange: Exchange,
    pairs: Sequence[tuple[str, str]],
    model: str | None = None,
    *,
    raw_scores: bool = False,
    **options: Any,
) -> tuple[list[float], Answers]:
    """Return the relevance score of each pair (query, passage), and their `Answers`.

    ``raw_scores`` are logits; ``options`` are those of `Exchange.answer`.
    """
    function = "none" if raw_scores else None
    answers = await exchange.answer("reranking", pairs, model, function_to_apply=function, **options)
    return [answer["score"] for answer in answers.values], answers


def best_first(scores: Sequence[float]) -> list[int]:
    """Return the indices of the scores, the highest first."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])
