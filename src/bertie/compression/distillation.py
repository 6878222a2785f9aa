"""bertie.distil: a student with some of its teacher's layers learns the teacher's outputs on texts."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.checkpoints.new_folder import check_new
from bertie.compression.check import Comparison, compare, split_texts
from bertie.compression.distillation_losses import (
    cosine_distance_sum,
    hidden_sum,
    labels_sum,
    logits_sum,
    relations_sum,
)
from bertie.compression.folder import Opened, open_model
from bertie.compression.layer_choice import chosen_layers, with_layers
from bertie.errors import InputError, InputTypeError, nearest, spelled
from bertie.frames import listed_texts
from bertie.messages import listed
from bertie.models.task_model import TaskModel
from bertie.pipelines.factory import load_task
from bertie.settings import Settings
from bertie.tasks.features import Features
from bertie.tasks.registry import find
from bertie.training import local_device, train

# what a student learns from its teacher
ANSWERS, HIDDEN, RELATIONS = LOSSES = ("answers", "hidden", "relations")
# comparing more texts takes minutes and changes nothing
MAX_COMPARED = 512
# model class → task
_TASKS = {
    "BertModel": "embed",
    "BertForSequenceClassification": "text-classification",
    "BertForTokenClassification": "token-classification",
}


def distil(
    teacher: str | os.PathLike[str],
    texts: Iterable[Any],
    out: str | os.PathLike[str],
    *,
    layers: int | Sequence[int] = 3,
    losses: Sequence[str] = LOSSES,
    temperature: float = 2.0,
    settings: Settings | None = None,
    check: Iterable[Any] | None = None,
    min_cosine: float = 0.9,
    min_agreement: float = 0.9,
    force: bool = False,
    show_progress: bool | None = None,
) -> Comparison:
    """Train a model of fewer layers to answer as ``teacher`` does, compare the two, and write it to a new folder.

    The student starts with layers of the teacher. From unlabelled texts it learns the teacher's answers: the direction
    of its vector, its class probabilities (Hinton et al. 2015) or tags; its hidden states layer by layer (Jiao et al.
    2020); and the relations of its last layer's queries, keys and values (Wang et al. 2021).

    Args:
        teacher: the folder or hub name of an embedding model, a classifier or a tagger.
        texts: thousands of texts (or pairs, or lists of words) of the kind the student will read.
        out: the new folder for the student and the other files of the teacher.
        layers: how many layers, evenly spaced up to the last; or which, numbered from 0.
        losses: what is learned: some of "answers", "hidden" and "relations".
        temperature: logits are divided by it before they are compared.
        settings: how to train; None: the defaults of `bertie.Settings`.
        check: texts on which both are compared; None: one in twenty of ``texts`` or fewer, held out of the training.
        min_cosine: the lowest mean cosine allowed between the texts' vectors of student and teacher.
        min_agreement: the lowest share of equal predictions allowed.
        force: write the student even if it does not reach these, or is slower.
        show_progress: True always shows a progress bar, False never, None only on a terminal and for long work.

    Returns:
        The comparison of student and teacher on this machine.

    Raises:
        InputError, InputTypeError: an argument is out of range, or the teacher is of another kind.
        CheckpointError: the teacher's files are missing or damaged, or ``out`` is not new.
        BertieError: the student is not similar enough, or not faster; nothing is written then.
    """
    check_new(out)
    _check_losses(losses, temperature)
    opened = open_model(os.fspath(teacher))
    task = _task_of(opened)
    model = opened.model.to(local_device()).eval()
    chosen = chosen_layers(layers, model.config.num_hidden_layers)
    given = listed_texts(texts)
    training, compared = split_texts(given, check, max(20, len(given) // MAX_COMPARED))
    student = with_layers(model, chosen)
    features = task.encode(training).without_texts()
    learner = DistillationLearner(student, model, task, features, chosen, losses, temperature)
    train(learner, settings, show_progress=show_progress)
    found = compare(model.cpu(), student.cpu().eval(), task.encode(compared))
    found.refuse(force, min_mean=min_cosine, min_agreement=min_agreement)
    opened.write(out, student)
    return found


class DistillationLearner:
    """A `bertie.training.Learner` of unlabelled texts, whose targets are the teacher's answers and states."""

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: Any,  # turns hidden states into vectors, if these are the answers
        features: Features,
        matched: Sequence[int],  # the teacher's layer for each of the student's
        losses: Sequence[str],
        temperature: float,
    ) -> None:
        self.model, self.teacher, self.task, self.features = student, teacher, task, features
        self._matched, self._losses, self._temperature = matched, losses, temperature
        self.sizes = features.input_lengths()

    def divisor(self, examples: Sequence[int]) -> Mapping[str, float]:
        """Return the number of texts or tokens that each loss sums over."""
        texts, tokens = float(len(examples)), float(sum(self.sizes[number] for number in examples))
        of_tokens = {HIDDEN, RELATIONS} | ({ANSWERS} if self.task.works_on_tokens else set())
        return {loss: tokens if loss in of_tokens else texts for loss in self._losses}

    def loss(self, examples: Sequence[int]) -> Tensor:
        part = self.features.select_inputs(examples)
        with torch.no_grad():
            teacher = self._states(self.teacher, part)
        student = self._states(self.model, part)
        return torch.stack([getattr(self, f"_{loss}")(student, teacher, part) for loss in self._losses])

    def describe(self, examples: Sequence[int]) -> str:
        return f"texts {', '.join(map(str, examples[:3]))}" + (", …" if len(examples) > 3 else "")

    def _states(self, model: Any, part: Features) -> Any:
        return model(TaskModel(model).packed(part), output_hidden_states=True, return_dict=True)

    def _answers(self, student: Any, teacher: Any, part: Features) -> Tensor:
        if "logits" not in student:
            vectors = [self.task.vectors(output.last_hidden_state, part) for output in (student, teacher)]
            return cosine_distance_sum(*vectors)
        config = TaskModel(self.model).config
        if config.num_labels == 1:
            return F.mse_loss(student.logits.float(), teacher.logits.float(), reduction="sum")
        summed = labels_sum if config.problem_type == "multi_label_classification" else logits_sum
        return summed(student.logits, teacher.logits, self._temperature)

    def _hidden(self, student: Any, teacher: Any, _part: Features) -> Tensor:
        return hidden_sum(student.hidden_states[1:], [teacher.hidden_states[number + 1] for number in self._matched])

    def _relations(self, student: Any, teacher: Any, part: Features) -> Tensor:
        with torch.no_grad():
            targets = _projected(self.teacher, teacher.hidden_states, self._matched[-1])
        return relations_sum(_projected(self.model, student.hidden_states, -1), targets, part.lengths)


def _projected(model: Any, states: Sequence[Tensor], layer: int) -> list[Tensor]:
    """Return the queries, keys and values ``[T, H, K]`` of a layer, computed from its input states."""
    attention = model.base_model.encoder.layer[layer].attention.self
    inputs = states[layer if layer >= 0 else layer - 1]
    return [attention.heads(each(inputs)) for each in (attention.query, attention.key, attention.value)]


def _task_of(opened: Opened) -> Any:
    """Return the model's task, which reads each text as one row, truncated if it is too long."""
    name = type(opened.model).__name__
    if name not in _TASKS:
        raise InputTypeError(f"The teacher is a {name}; a student learns from {listed(list(_TASKS))}.")
    row = find(_TASKS[name])
    task, _, _ = load_task(row, str(opened.folder), device=str(local_device()))
    return task.with_options(**{**row.saved_options(opened.model.config), "windows": False})


def _check_losses(losses: Sequence[str], temperature: float) -> None:
    for name in losses:
        if name not in LOSSES:
            raise InputError(f"There is no loss {name!r}; there are {', '.join(LOSSES)}.{nearest(name, LOSSES)}")
    if len(set(losses)) < len(losses):
        raise InputError(f"{spelled('losses')} names {max(losses, key=list(losses).count)!r} twice; name each once.")
    if not losses:
        raise InputError(f"{spelled('losses')} is empty; give some of {', '.join(LOSSES)}.")
    if not 0 < temperature < math.inf:
        raise InputError(f"{spelled('temperature')} is {temperature:g}; allowed: numbers above 0.")
