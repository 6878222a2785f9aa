"""A model's folder: opened as the class that it was saved from, and written with all its files for a derived model."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bertie
from bertie.checkpoints.fitting import needed_by_answers
from bertie.checkpoints.folder import Place, open_weights
from bertie.checkpoints.new_folder import check_new, copy_other_files, note_in_card
from bertie.config import CONFIG_NAME, BertConfig
from bertie.errors import CheckpointError
from bertie.files import atomic_folder
from bertie.hub import resolve
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tasks.sentence_transformers_config import FILES, read_recipe
from bertie.tokenization.tokenizer import Tokenizer

_POOLER = "pooler.dense.weight"
_BARE = "BertModel"


@dataclass(frozen=True)
class Opened:
    """A model with its tokenizer and folder; its own files are in ``folder / subfolder``."""

    model: BertPreTrainedModel
    tokenizer: Any
    folder: Path
    subfolder: str

    def write(
        self,
        out: str | os.PathLike[str],
        model: BertPreTrainedModel,
        without: Collection[str] = (),  # names of files to leave out
        tokenizer: Tokenizer | None = None,  # replaces its own
    ) -> None:
        """Write a model derived from this one, with the other files of its folder, to the new folder ``out``."""
        with atomic_folder(check_new(out)) as temporary:
            copy_other_files(self.folder, temporary, self.subfolder, without)
            note_in_card(temporary)
            model.save_pretrained(temporary / self.subfolder)
            if tokenizer is not None:
                tokenizer.save_pretrained(temporary / self.subfolder)


def open_model(name_or_path: str) -> Opened:
    """Load a model with all the parts that its files contain."""
    folder = resolve(name_or_path, files=[CONFIG_NAME, "*.json", "*.txt", "*.md", *FILES, "*.safetensors"])
    subfolder = read_recipe(folder).subfolder
    place = folder / subfolder
    name = (BertConfig.from_pretrained(place).architectures or [_BARE])[0]
    kind: Any = getattr(bertie, name if name.startswith("Bert") and name in dir(bertie) else _BARE)
    # a bare encoder gets a pooler only if its files have one: a newly initialised one would be warned of, and saved
    options = {}
    if kind is bertie.BertModel and not any(key.endswith(_POOLER) for key in open_weights(Place(str(place))).infos):
        options = {"add_pooling_layer": False}
    model, info = kind.from_pretrained(place, output_loading_info=True, **options)
    missing = sorted(needed_by_answers(info["missing_keys"], model.config))
    if missing:
        raise CheckpointError(f"{str(place)!r} should be a {name}, but lacks {missing[0]!r}; train it first")
    return Opened(model, bertie.AutoTokenizer.from_pretrained(place), folder, subfolder)
