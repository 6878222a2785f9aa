"""The table of tasks: read without torch, names and aliases, and what its rows name exists."""

import subprocess
import sys

import pytest

from bertie.errors import InputError
from bertie.tasks.registry import ROWS, find
from bertie.tasks.task import Task


def test_reading_the_table_imports_no_torch() -> None:
    code = "import sys; from bertie.tasks.registry import find; find('embed'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_a_row_names_exists(row) -> None:
    assert issubclass(row.load_task(), Task)
    assert hasattr(row.load_model_class(), "from_pretrained")
    for name in (row.name, *row.aliases):
        assert find(name) is row


def test_the_references_alias() -> None:
    assert find("sentiment-analysis").name == "text-classification"


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no task 'fill-masks'; the tasks are .*Did you mean 'fill-mask'\?"):
        find("fill-masks")
    with pytest.raises(InputError, match="'fill-mask' has no default model"):
        find("fill-mask").default_model()
