"""A run's arguments are read back from its folder; another folder has none."""

import json
from pathlib import Path

from bertie.run_files import RUN, read_run


def test_arguments_are_read_from_a_run_and_from_no_other_folder(tmp_path: Path) -> None:
    assert read_run(tmp_path) == {}
    assert read_run(tmp_path / "missing") == {}
    (tmp_path / RUN).write_text(json.dumps({"task": "embed"}), encoding="utf-8")
    assert read_run(str(tmp_path)) == {"task": "embed"}
