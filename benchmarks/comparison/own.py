"""A user's own model and texts as a workload: what the folder says the model is for, a fair sample of the texts."""

import random
from collections.abc import Sequence
from pathlib import Path

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.hub import resolve
from bertie.tasks.sentence_transformers_config import Recipe, read_recipe
from bertie.tokenization.auto import AutoTokenizer
from comparison.workload import Workload

TASKS = ("embed", "classify")
_FILES = ("*.json", "vocab.txt", "*.safetensors", "*_*/*")


def own_workload(
    model: str | Path,
    texts: Sequence[str],
    *,
    task: str | None = None,
    measure: str = "throughput",
    most: int = 256,
    max_length: int | None = None,
    batch_size: int = 32,
    rounds: int = 3,
) -> Workload:
    """Return the workload of running ``model`` on ``texts``.

    Args:
        model: a folder, or a name in the hub.
        texts: all the user's texts; of more than ``most``, so many are drawn by a fixed seed.
        task: "embed" or "classify"; None: what the model's folder says.
        measure: "throughput", "latency" or "start".
        most: texts in a round.
        max_length: tokens read of a text; None: the model's limit.
        batch_size: texts in a peer's batch.
        rounds: how often each engine is timed.

    Raises:
        InputError: no texts, or a value out of its range.
        CheckpointError: the model's files are missing or damaged.
    """
    folder = resolve(model, files=_FILES)
    config = BertConfig.from_pretrained(folder)
    if task is None:
        task = "classify" if "BertForSequenceClassification" in (config.architectures or []) else "embed"
    if task not in TASKS:
        raise InputError(f"The task is {task!r}; bench compares {' and '.join(TASKS)}.")
    if not texts or most < 1:
        raise InputError(f"There are {len(texts)} texts, of which at most {most} are taken; at least one is needed.")
    recipe = read_recipe(folder) if task == "embed" else Recipe()
    limit = min(max_length or recipe.max_length or config.max_position_embeddings, config.max_position_embeddings)
    sample = tuple(texts) if len(texts) <= most else tuple(random.Random(0).sample(list(texts), most))
    return Workload(
        name=task,
        title=f"{Path(model).name}, {'vectors' if task == 'embed' else 'labels'} of your texts",
        task=task,
        measure=measure,
        model=str(folder),
        texts=sample,
        max_length=limit,
        tokens=count_tokens(folder, sample, limit),
        batch_size=batch_size,
        rounds=rounds,
        pooling=_pooling(recipe),
        normalize=recipe.normalized,
    )


def count_tokens(folder: Path, texts: Sequence[str], max_length: int) -> int:
    """Return how many tokens of the texts a model reads, special ones included."""
    rows = AutoTokenizer.from_pretrained(folder)(list(texts), truncation=True, max_length=max_length)["input_ids"]
    return sum(map(len, rows))


def _pooling(recipe: Recipe) -> str:
    """Return the pooling in a word that peers know, or what they would have to know."""
    beyond = [
        words
        for words, there in (
            (" and ".join(recipe.modes) + " pooling", len(recipe.modes) > 1 or recipe.modes[0] not in ("mean", "cls")),
            ("layers on vectors", recipe.token_layers or recipe.layers != recipe.layers[-1:] * recipe.normalized),
            ("cut vectors", recipe.truncate_dim),
            ("a prompt", recipe.default_prompt),
            ("lower-casing", recipe.lower_case),
            ("a subfolder", recipe.subfolder),
        )
        if there
    ]
    return " and ".join(beyond) or recipe.modes[0]
