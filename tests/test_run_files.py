"""A run's arguments are read from its folder; other folders have none."""

import json
from pathlib import Path

from bertie.run_files import RUN, read_run


def test_arguments_are_read_only_from_a_runs_folder(tmp_path: Path) -> None:
    assert read_run(tmp_path) == {}
    assert read_run(tmp_path / "missing") == {}
    (tmp_path / RUN).write_text(json.dumps({"task": "embed"}), encoding="utf-8")
    assert read_run(str(tmp_path)) == {"task": "embed"}
