"""The starting point of a pretraining: a new or existing model, the data's tokenizer, a teacher."""

from pathlib import Path
from typing import Any

import torch

from bertie.checkpoints.folder import Place, open_weights
from bertie.config import CONFIG_NAME, BertConfig
from bertie.errors import InputError, nearest, spelled
from bertie.hub import resolve, sha256
from bertie.models.compile import compile as compile_model
from bertie.models.dequantizing import to_train
from bertie.models.loading import one_device
from bertie.models.pretraining import BertForPreTraining
from bertie.pipelines import EmbedPipeline, pipeline
from bertie.pretraining.recipe import Recipe
from bertie.pretraining.shards import read_manifest, read_tokenizer
from bertie.tasks.sentence_transformers_config import FILES, read_recipe
from bertie.tokenization.auto import AutoTokenizer
from bertie.tokenization.fast import BertTokenizer
from bertie.training import local_device
from bertie.training.fingerprint import digest

SIZES: dict[str, dict[str, Any]] = {
    "mini": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}


def start_model(recipe: Recipe) -> tuple[BertForPreTraining, BertTokenizer]:
    """Return the model in float32 on its device, and the tokenizer of the data.

    Raises:
        CheckpointError: the data or the model is missing or damaged.
        InputError: there is no such size, or the model has another vocabulary than the data.
    """
    read_manifest(recipe.data)  # raises an error if this is not prepared data
    tokenizer = read_tokenizer(recipe.data)
    device = local_device() if recipe.device is None else one_device(recipe.device, "device")
    # a new model depends on the seed only, and the caller's random state is left alone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.settings.seed)
        model = _new(recipe, tokenizer) if recipe.start is None else _continued(recipe, recipe.start, tokenizer)
    model = model.to(device)
    return compile_model(model) if recipe.compile else model, tokenizer


def start_teacher(recipe: Recipe, device: torch.device) -> EmbedPipeline | None:
    """Return the pipeline of the teacher, on the model's device; None if there is no teacher."""
    return None if recipe.teacher is None else pipeline("embed", recipe.teacher, device=str(device))


def teacher_digest(teacher: str | None) -> str | None:
    """Return a digest of the contents of a teacher's files; None if there is no teacher."""
    if teacher is None:
        return None
    stated = (CONFIG_NAME, *FILES)
    folder = resolve(teacher, files=stated)
    weights = open_weights(Place(teacher, subfolder=read_recipe(folder).subfolder))
    files = {one.file for one in weights.infos.values()}
    files |= {path for pattern in stated for path in folder.glob(pattern) if path.is_file()}
    return digest(content.encode() for content in sorted(map(sha256, files)))


def _new(recipe: Recipe, tokenizer: BertTokenizer) -> BertForPreTraining:
    name = str(recipe.config)
    if name in SIZES:
        shape = SIZES[name] | {"vocab_size": len(tokenizer)}
        config = BertConfig(**shape, pad_token_id=tokenizer.pad_token_id, **_dropout(recipe))
    elif Path(name).exists():
        config = BertConfig.from_pretrained(name, **_dropout(recipe))
    else:
        sizes = ", ".join(SIZES)
        raise InputError(f"{spelled('config')} is {name!r}; allowed: {sizes}, or a config file.{nearest(name, SIZES)}")
    return BertForPreTraining(config)


def _continued(recipe: Recipe, start: str, tokenizer: BertTokenizer) -> BertForPreTraining:
    own, data = AutoTokenizer.from_pretrained(start).get_vocab(), tokenizer.get_vocab()
    if own != data:
        differ = len(own.items() ^ data.items())
        raise InputError(
            f"The model {start!r} has another vocabulary than the data in {str(recipe.data)!r} ({len(own):,} and "
            f"{len(data):,} entries; {differ:,} are not in both with the same id); prepare the data with the model's "
            "tokenizer."
        )
    return to_train(BertForPreTraining.from_pretrained(start, dtype="float32", **_dropout(recipe)), start)


def _dropout(recipe: Recipe) -> dict[str, Any]:
    if recipe.dropout is None:
        return {}
    return {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": recipe.dropout}
