"""The table of tasks: imported without torch, with unique names and aliases, naming classes that exist."""

import subprocess
import sys
from typing import get_args, get_overloads

import pytest

import bertie
from bertie.cli.app import PLACES
from bertie.config import BertConfig
from bertie.data.schemas import SCHEMAS
from bertie.errors import InputError
from bertie.hub import default_embedding_model, default_pretrained_model
from bertie.pipelines import factory
from bertie.tasks.registry import ROWS, find, find_trainable
from bertie.tasks.task import Task, TrainableTask


def test_importing_the_table_imports_no_torch() -> None:
    code = "import sys; from bertie.tasks.registry import find; find('embed'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_classes_named_in_rows_exist(row) -> None:
    assert issubclass(row.load_task(), Task)
    assert hasattr(getattr(bertie, row.model_class), "from_pretrained")
    for name in (row.name, *row.aliases):
        assert find(name) is row


def test_type_checkers_know_all_names_of_a_task() -> None:
    *known, _ = (each.__annotations__ for each in get_overloads(factory.pipeline))
    names = {row.pipeline: (row.name, *row.aliases) for row in ROWS}
    for each in known:
        assert get_args(each["task"]) == names[each["return"]]


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("sentiment-analysis", "text-classification"),
        ("ner", "token-classification"),
        ("text-ranking", "reranking"),
        ("cross-encoder", "reranking"),
        ("choose", "multiple-choice"),
        ("masked-lm", "fill-mask"),
        ("embedding", "embed"),
        ("similarity", "embed"),
        ("sts", "embed"),
        ("qa", "question-answering"),
        ("classification", "text-classification"),
        ("mlm", "fill-mask"),
        ("nsp", "next-sentence"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert find(alias).name == name
    assert find_trainable(alias).name == name


def test_no_two_tasks_share_a_name() -> None:
    names = [name for row in ROWS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", [row for row in ROWS if row.learns], ids=lambda row: row.name)
def test_trainable_tasks(row) -> None:
    assert all(find_trainable(name) is row for name in (row.name, *row.aliases))
    assert issubclass(row.load_trainable(), TrainableTask)
    assert set(row.load_trainable().saved) <= set(row.load_trainable().options())


def test_every_schema_has_its_task() -> None:
    assert {row.name for row in ROWS if row.learns} == set(SCHEMAS)


def test_pretraining_tasks_have_a_bundled_default_model() -> None:
    assert {row.name: row.default for row in ROWS if row.default} == {
        "embed": default_embedding_model,
        "fill-mask": default_pretrained_model,
        "next-sentence": default_pretrained_model,
        "pseudo-log-likelihood": default_pretrained_model,
        "zero-shot-classification": default_embedding_model,
        "zero-shot-similarity": default_embedding_model,
    }


def test_an_unknown_task_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no task 'fill-masks'; the tasks are .*Did you mean 'fill-mask'\?"):
        find("fill-masks")
    with pytest.raises(InputError, match="'text-classification' has no default model"):
        find("text-classification").default_model()


def test_an_unknown_task_to_learn_lists_those_that_learn() -> None:
    assert find_trainable("ner").name == "token-classification"
    with pytest.raises(
        InputError, match="There is no task 'sequence-clasification' to learn; .* Did you mean 'seq"
    ) as told:
        find_trainable("sequence-clasification")
    assert "feature-extraction" not in str(told.value)


def test_trainable_tasks_name_the_command_that_answers() -> None:
    for row in ROWS:
        assert bool(row.learns) == (row.command.split(" ")[0] in PLACES), row.name


def test_unnamed_columns_are_saved_under_their_role() -> None:
    row, config = find("text-classification"), BertConfig()
    row.save_columns(config, {"text": "1", "text_pair": "2", "label": "Kind"})
    assert row.saved_columns(config) == {"text": "text", "text_pair": "text_pair", "label": "Kind"}
