"""Losses as plain functions of logits and labels; the label -100 is ignored, and without labels the loss is 0."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.capture import is_tracing
from bertie.config import IGNORED
from bertie.errors import InputError, InputTypeError
from bertie.layers.rectangle import Batch, shown, shown_at
from bertie.packing import require_integers, require_tensor
from bertie.row_losses import row_losses


def cross_entropy(logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean cross-entropy of ``logits [M, C]`` over the labels ``[M]`` that are not -100; 0 if there are none.

    ``num_items_in_batch`` replaces the number of labels as the divisor (gradient accumulation).
    """
    losses = row_losses(logits, labels.to(logits.device).long())
    # summed in fp32 at least: the sum over a few thousand tokens overflows fp16
    total = losses.sum(dtype=torch.promote_types(losses.dtype, torch.float32))
    if num_items_in_batch is None:
        num_items_in_batch = (labels != IGNORED).sum().clamp(min=1).to(total.device, total.dtype)
    return (total / num_items_in_batch).to(losses.dtype)


class TokenLabels(NamedTuple):
    """Checked labels ``[T]`` of packed tokens, and the indices ``[M]`` of labelled ones (None during graph capture)."""

    values: Tensor
    labelled: Tensor | None

    @classmethod
    def of(cls, values: Tensor, given: Tensor, num_classes: int) -> "TokenLabels":
        """Check labels as they were ``given`` (see `check_labels`), and find the labelled tokens.

        Called before the encoder is launched, because on CUDA the host waits here.
        """
        if is_tracing():
            return cls(values, None)
        labelled, wrong = values != IGNORED, _outside(given, num_classes)
        count, any_wrong = torch.stack([labelled.sum(), wrong.sum()]).tolist()
        if any_wrong:
            raise _out_of_range(given, wrong, num_classes, "labels")
        return cls(values, labelled.nonzero_static(size=count).squeeze(1))


def labelled_only(hidden_states: Tensor, labels: TokenLabels | None, output_logits: bool) -> Tensor:
    """Return the hidden states that a word head needs: only those of labelled tokens, ``[M, D]``, if no logits are."""
    if labels is None or labels.labelled is None or output_logits:
        return hidden_states
    return hidden_states.flatten(0, -2).index_select(0, labels.labelled)


def masked_lm(
    logits: Tensor, batch: Batch, labels: TokenLabels | None, output_logits: bool = True
) -> tuple[Tensor | None, Tensor | None]:
    """Return a word head's logits as the caller sees them, or None, and the loss over the labelled tokens, if any.

    ``logits`` belong to the hidden states from `labelled_only`.
    """
    if labels is None:
        return shown(batch, logits)[0], None
    values, labelled = labels
    if labelled is not None and not output_logits:
        return None, cross_entropy(logits, values.index_select(0, labelled))
    if labelled is not None:
        out, logits = shown_at(batch, logits, labelled)
        return out, cross_entropy(logits, values.index_select(0, labelled))
    out, logits = shown(batch, logits)
    return (out if output_logits else None), cross_entropy(logits.flatten(0, -2), values)


def next_labels(labels: Tensor, batch: Batch) -> Tensor:
    """Return each token's label: that of the next column of its row; the last column has none."""
    rows = batch.pad(labels, fill=IGNORED)
    return batch.unpad(F.pad(rows[:, 1:], (0, 1), value=IGNORED), fill=IGNORED)


def classification(logits: Tensor, labels: Tensor, problem_type: str | None) -> Tensor:
    """The loss of ``logits [B, C]`` and labels that passed ``check_targets``.

    Mean squared error for regression, binary cross-entropy for multi-label classification, averaged over all elements.
    """
    kind = problem_type or _guess(labels, logits.shape[-1])
    if kind == "single_label_classification":
        return cross_entropy(logits, labels.reshape(-1))
    labels = labels.to(logits).reshape(logits.shape)
    if kind == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.mse_loss(logits, labels)


def check_targets(labels: Tensor | None, texts: int, num_labels: int, problem_type: str | None) -> None:
    """Refuse labels that do not fit the number of texts and classes and the problem type."""
    if labels is None:
        return
    require_tensor("labels", labels)
    kind = problem_type or _guess(labels, num_labels)
    if kind == "single_label_classification":
        class_labels(labels, texts, num_labels)
    elif labels.shape != (texts, num_labels) and (num_labels > 1 or labels.numel() != texts):
        shape = (texts, num_labels) if num_labels > 1 else (texts,)
        raise InputError(f"labels has shape {tuple(labels.shape)}, but {kind} needs {shape} here.")


def _guess(labels: Tensor, num_labels: int) -> str:
    """Return the problem type that the labels' dtype and the number of classes imply (decision 13)."""
    if num_labels == 1:
        return "regression"
    return "single_label_classification" if labels.dtype in (torch.int64, torch.int32) else "multi_label_classification"


def span(start_logits: Tensor, end_logits: Tensor, start_positions: Tensor, end_positions: Tensor) -> Tensor:
    """Mean of the cross-entropies of the start and the end, each over the columns of ``[B, S]`` logits.

    Positions outside the row, or on padding (whose logit is the lowest number), are ignored.
    """
    losses = []
    for logits, positions in ((start_logits, start_positions), (end_logits, end_positions)):
        columns = positions.to(logits.device).long().view(-1)
        inside = (columns >= 0) & (columns < logits.shape[1])
        reached = logits.gather(1, columns.clamp(0, max(logits.shape[1] - 1, 0))[:, None]).squeeze(1)
        inside = inside & (reached > torch.finfo(logits.dtype).min)
        losses.append(cross_entropy(logits, torch.where(inside, columns, IGNORED)))
    return (losses[0] + losses[1]) / 2


def check_positions(positions: Tensor, texts: int, name: str) -> None:
    """Refuse answer positions that are not one integer a text; those outside a text are ignored by the loss."""
    require_tensor(name, positions)
    require_integers(name, positions)
    if positions.numel() != texts:
        raise InputError(f"{name} has shape {tuple(positions.shape)}, but this batch needs {(texts,)}, one a text.")


def class_labels(labels: Tensor, texts: int, num_classes: int, name: str = "labels") -> Tensor:
    """Return checked class indices ``[B]``, given as ``[B]`` or ``[B, 1]``."""
    check_labels(labels, num_classes, name)
    if labels.numel() != texts:
        raise InputError(f"{name} has shape {tuple(labels.shape)}, but this batch needs {(texts,)}, one a text.")
    return labels.reshape(-1)


def check_labels(labels: Tensor, num_classes: int, name: str = "labels") -> None:
    """Refuse class labels that are not integers in ``[0, num_classes)`` or -100, before a kernel reads them."""
    require_class_numbers(labels, name)
    if is_tracing():
        return
    wrong = _outside(labels, num_classes)
    if wrong.any():
        raise _out_of_range(labels, wrong, num_classes, name)


def require_class_numbers(labels: Tensor, name: str = "labels") -> None:
    """Refuse labels that are not integers, by name."""
    require_tensor(name, labels)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputTypeError(f"{name} must be an integer tensor of class numbers, not {labels.dtype}.")


def _outside(labels: Tensor, num_classes: int) -> Tensor:
    return (labels != IGNORED) & ((labels < 0) | (labels >= num_classes))


def _out_of_range(labels: Tensor, wrong: Tensor, num_classes: int, name: str) -> InputError:
    where = wrong.nonzero()[0].tolist()
    return InputError(
        f"{name}{where} is {int(labels[tuple(where)])}; allowed are 0 to {num_classes - 1}, "
        f"and {IGNORED} for what is not to be learned."
    )
