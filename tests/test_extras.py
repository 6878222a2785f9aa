"""Optional packages: there, not there, and there but broken."""

import json
from pathlib import Path

import pytest

from bertie.errors import BertieError
from bertie.extras import loaded, missing, need


def test_what_is_installed_is_imported() -> None:
    assert need("json", "train", "This") is json
    assert missing("json.decoder", "train") == ""


def test_what_is_missing_is_named_with_its_extra() -> None:
    says = "Reading Parquet files needs no_such_package, which is not installed: pip install 'bertie[parquet]'"
    with pytest.raises(BertieError) as error:
        need("no_such_package.parquet", "parquet", "Reading Parquet files")
    assert str(error.value) == says
    assert missing("no_such_package.parquet", "parquet", "Reading Parquet files") == says


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


def test_what_is_loaded_is_found_and_nothing_else_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "never_imported.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    assert loaded("json") is json
    assert loaded("never_imported") is None
