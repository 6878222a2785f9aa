"""What is no path, or one that no file can have, ends at every door in one of our errors, shortly told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fuzz.folders import write_base

import bertie
from bertie.errors import BertieError

NO_PATHS: list[Any] = [None, 5, b"x", ["x"], {"a": 1}, "x" * 5000, "a/" + "x" * 5000, "\0", "x\ud800", "/dev/null"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model."""
    write_base(made := tmp_path_factory.mktemp("base"), "plain")
    return made


DOORS: dict[str, Callable[[Path, Any], Any]] = {
    "model": lambda _, given: bertie.BertModel.from_pretrained(given),
    "config": lambda _, given: bertie.BertConfig.from_pretrained(given),
    "tokenizer": lambda _, given: bertie.BertTokenizer.from_pretrained(given),
    "legacy tokenizer": lambda _, given: bertie.BertTokenizerLegacy.from_pretrained(given),
    "pipeline": lambda _, given: bertie.pipeline("fill-mask", given or 5),
    "a file of a config": lambda _, given: bertie.BertConfig.from_json_file(given),
    "a folder of a config": lambda _, given: bertie.BertConfig().save_pretrained(given),
    "a vocabulary": lambda _, given: bertie.BertTokenizer(vocab=given or 5),
    "subfolder": lambda folder, given: bertie.BertModel.from_pretrained(folder, subfolder=given or 5),
    "config=": lambda folder, given: bertie.BertModel.from_pretrained(folder, config=given or 5),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("given", NO_PATHS, ids=lambda given: repr(given)[:10])
def test_what_is_no_path(door: str, given: Any, folder: Path) -> None:
    if door == "a vocabulary" and isinstance(given, dict):
        pytest.skip("a mapping is a vocabulary")
    with pytest.raises(BertieError) as error:
        DOORS[door](folder, given)
    assert len(str(error.value)) < 1000
