"""Optional packages: installed, missing, and broken."""

import json
import sys
import traceback
from pathlib import Path

import pytest

import bertie
from bertie.data.dataset import ExampleReader
from bertie.errors import BertieError
from bertie.extras import loaded, missing, need, refuse_without_torch


def test_what_is_installed_is_imported() -> None:
    assert need("json", "train", "This") is json
    assert missing("json.decoder", "train") == ""


def test_what_is_missing_is_named_with_its_extra() -> None:
    says = "Reading Parquet files needs no_such_package, which is not installed: pip install 'bertie[parquet]'"
    with pytest.raises(BertieError) as error:
        need("no_such_package.parquet", "parquet", "Reading Parquet files")
    assert str(error.value) == says
    assert missing("no_such_package.parquet", "parquet", "Reading Parquet files") == says


def test_the_message_is_the_only_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch() -> None:
        try:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        except ImportError as error:
            refuse_without_torch(error, "bertie.BertModel")

    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (
        lambda: need("no_such_package", "train"),
        without_torch,
        lambda: bertie.BertConfig.from_pretrained(tmp_path),
        lambda: bertie.BertConfig.from_pretrained("no/such-model", local_files_only=True),
        lambda: list(ExampleReader("text-classification").read([{"text": "", "label": "a"}])),
    ):
        with pytest.raises(BertieError) as error:
            call()
        assert "".join(traceback.format_exception(error.value)).count("Traceback") == 1


def test_a_package_that_cannot_be_imported_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text("import no_such_package")
    (tmp_path / "damaged.py").write_text("raise ImportError('wrong libc')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BertieError, match="half_there, which is installed but cannot be imported .No module named"):
        need("half_there", "train")
    with pytest.raises(BertieError, match="damaged, which is installed but cannot be imported .wrong libc"):
        need("damaged", "train")


def test_loaded_modules_are_found_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    assert loaded("json") is json
    assert loaded("never_imported") is None
