"""bertie.distil: losses against their formulas, students with some layers, folders that open, and errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import TINY

import bertie
from bertie.compression import check
from bertie.compression.distillation import DistillationLearner, _task_of
from bertie.compression.distillation_losses import hidden_sum, labels_sum, logits_sum, relations_sum
from bertie.compression.folder import open_model
from bertie.compression.layer_choice import chosen_layers, with_layers
from bertie.errors import BertieError, InputError, InputTypeError
from bertie.tasks.sentence_transformers_config import Layer, Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

TEXTS = ["A cat sat on the mat.", "It rained all day, and nobody came.", "Why?", "The price of bread rose again."] * 10
FOUR = {**TINY, "num_hidden_layers": 4, "initializer_range": 0.3}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "vectors": ("BertModel", {}),
    "classes": ("BertForSequenceClassification", {"num_labels": 3}),
    "several labels": (
        "BertForSequenceClassification",
        {"num_labels": 3, "problem_type": "multi_label_classification"},
    ),
    "numbers": ("BertForSequenceClassification", {"num_labels": 1}),
    "tags": ("BertForTokenClassification", {"num_labels": 3}),
}


@pytest.fixture
def make(minilm: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that saves a teacher of four layers."""

    def saved(kind: str) -> Path:
        name, fields = KINDS[kind]
        torch.manual_seed(0)
        getattr(bertie, name)(bertie.BertConfig(**FOUR, **fields)).save_pretrained(tmp_path / "teacher")
        bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "teacher")
        if kind == "vectors":
            write_recipe(tmp_path / "teacher", Recipe(max_length=20, layers=(Layer("Normalize"),)), 16)
        return tmp_path / "teacher"

    return saved


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [1.0, 2.0])


def learner_of(folder: Path, layers: list[int], losses: tuple[str, ...]) -> DistillationLearner:
    opened = open_model(str(folder))
    task = _task_of(opened)
    student = with_layers(opened.model, layers)
    return DistillationLearner(student, opened.model.eval(), task, task.encode(TEXTS[:4]), layers, losses, 2.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_equal_to_the_teacher_has_no_loss(make: Callable[..., Path], kind: str) -> None:
    learner = learner_of(make(kind), [0, 1, 2, 3], ("answers", "hidden", "relations"))
    learner.model.eval()
    torch.testing.assert_close(learner.loss([0, 1, 2, 3]), torch.zeros(3), atol=1e-5, rtol=0)
    tokens = float(sum(learner.sizes))
    of_answers = tokens if kind == "tags" else 4.0
    assert learner.divisor([0, 1, 2, 3]) == {"answers": of_answers, "hidden": tokens, "relations": tokens}


@pytest.mark.parametrize("kind", KINDS)
def test_losses_fall_and_the_folder_opens(make: Callable[..., Path], kind: str, tmp_path: Path) -> None:
    folder, out = make(kind), tmp_path / "student"
    before = learner_of(folder, [1, 3], ("answers", "hidden", "relations"))
    before.model.eval()
    settings = bertie.Settings(epochs=6, learning_rate=3e-3, batch_size=8)
    found = bertie.distil(folder, TEXTS, out, layers=2, settings=settings, min_cosine=0, min_agreement=0)
    assert found.texts == 2
    student = open_model(str(out)).model
    assert (type(student).__name__, student.config.num_hidden_layers) == (KINDS[kind][0], 2)
    after = DistillationLearner(
        student.eval(), before.teacher, before.task, before.features, [1, 3], ("answers", "hidden", "relations"), 2.0
    )
    assert (after.loss([0, 1, 2, 3]) < before.loss([0, 1, 2, 3])).all()
    if kind == "vectors":
        assert bertie.pipeline("embed", str(out))(TEXTS[:2]).shape == (2, 16)
        assert (out / "modules.json").read_text() == (folder / "modules.json").read_text()


def test_the_losses_are_those_of_the_papers() -> None:
    torch.manual_seed(0)
    found, wanted = torch.randn(5, 3), torch.randn(5, 3)
    p, q = (wanted / 2).softmax(1), (found / 2).softmax(1)
    torch.testing.assert_close(logits_sum(found, wanted, 2.0), 4 * (p * (p / q).log()).sum())
    p, q = (wanted / 2).sigmoid(), (found / 2).sigmoid()
    both = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(labels_sum(found, wanted, 2.0), 4 * both.sum())
    torch.testing.assert_close(hidden_sum([found], [wanted]), ((found - wanted) ** 2).sum() / 3)
    lengths, heads = [3, 2], torch.randn(2, 3, 5, 2, 4)  # student and teacher; queries, keys, values
    expected = 0.0
    for part in range(3):
        for rows in (slice(0, 3), slice(3, 5)):
            for head in range(2):
                student, teacher = (F.softmax(one[part, rows, head] @ one[part, rows, head].T / 2, 1) for one in heads)
                expected += (teacher * (teacher / student).log()).sum() / (3 * 2)
    torch.testing.assert_close(relations_sum(list(heads[0]), list(heads[1]), lengths), expected)


@pytest.mark.parametrize(
    ("layers", "count", "expected"),
    [(3, 6, [1, 3, 5]), (1, 6, [5]), (6, 12, [1, 3, 5, 7, 9, 11]), (2, 3, [1, 2]), ([0, 5], 6, [0, 5])],
)
def test_evenly_spaced_layers(layers: Any, count: int, expected: list[int]) -> None:
    assert chosen_layers(layers, count) == expected


@pytest.mark.parametrize("layers", [0, 6, -1, [], [3, 1], [1, 1], [6], [-1]])
def test_layers_that_the_teacher_does_not_have(layers: Any) -> None:
    with pytest.raises(InputError, match="the teacher"):
        chosen_layers(layers, 6)


def test_a_dissimilar_student_is_not_written(make: Callable[..., Path], tmp_path: Path) -> None:
    arguments: Any = (make("vectors"), TEXTS, tmp_path / "student")
    settings = bertie.Settings(steps=1, learning_rate=1e-6)
    with pytest.raises(
        BertieError, match=r"mean cosine of the texts is .*, below 1.0\. Nothing is written; force=True"
    ):
        bertie.distil(*arguments, layers=1, settings=settings, min_cosine=1.0)
    assert not (tmp_path / "student").exists()
    bertie.distil(*arguments, layers=1, settings=settings, min_cosine=1.0, force=True)
    assert (tmp_path / "student" / "model.safetensors").exists()


def test_refused(make: Callable[..., Path], mini: Path, tmp_path: Path) -> None:
    folder, out = make("vectors"), tmp_path / "student"
    for options, message in (
        ({"losses": ["hiden"]}, "There is no loss 'hiden'.*Did you mean 'hidden'"),
        ({"losses": []}, "losses is empty"),
        ({"losses": ["answers", "answers"]}, "losses names 'answers' twice"),
        ({"temperature": float("inf")}, "temperature is inf; allowed: numbers above 0"),
        ({"temperature": 0}, "temperature is 0; allowed: numbers above 0"),
        ({"layers": 4}, "layers is 4; the teacher has 4: allowed: 1 to 3"),
    ):
        with pytest.raises(InputError, match=message):
            bertie.distil(folder, TEXTS, out, **options)
    for texts, found in (([], "0 texts"), ("one text is no characters", "1 text")):
        with pytest.raises(InputError, match=f"^texts has {found}; give at least two, better hundreds"):
            bertie.distil(folder, texts, out)
    with pytest.raises(InputError, match=r"^check has no text\.$"):
        bertie.distil(folder, TEXTS, out, check=[])
    with pytest.raises(InputTypeError, match="The teacher is a BertForPreTraining; a student learns from 'BertModel'"):
        bertie.distil(mini, TEXTS, out)
    assert not out.exists()
