"""AdamW (arXiv 1711.05101) with bias correction and clipping, in one fused pass; and the schedule of its rate."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from bertie.training.param_groups import Group
from bertie.training.sparse_embeddings import Rows

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class _State(NamedTuple):
    """What is updated in place: the weights, their moments in the same shape, and the number of updates ``[]``."""

    value: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor


class AdamW:
    """The optimiser of a run.

    A step whose gradients or loss are not finite changes nothing: the device decides that by itself, so that the host
    need not wait for it.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], groups: Sequence[Group], tables: Sequence[str] = ()
    ) -> None:
        self._parameters, self._groups = dict(parameters), list(groups)
        self._rows = {name: Rows(self._parameters[name]) for name in tables}
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._steps: dict[str, Tensor] = {}

    def zero(self) -> None:
        """Forget all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, max_norm: float | None, loss: Tensor) -> Tensor:
        """Update all parameters that have a gradient, and return its norm before clipping, ``[]`` on the device."""
        gradients = self._gradients()
        norm = torch.nn.utils.get_total_norm(gradients.values()).float()
        bad = (~(norm + loss).isfinite()).float()
        scale = None if max_norm is None else ((norm + 1e-6) / max_norm).clamp(min=1.0)
        if scale is not None and scale.device.type == "cpu" and scale == 1:
            scale = None
        for group in self._groups:
            names = [name for name in group.names if name in gradients]
            self._update(
                [self._state(name) for name in names], [gradients[name] for name in names], rate, group, scale, bad
            )
        if self._rows and not bad:
            self._scatter(rate)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors, not copied."""
        found: dict[str, Tensor] = {}
        for name in self._steps:
            _, found[f"exp_avg.{name}"], found[f"exp_avg_sq.{name}"], found[f"step.{name}"] = self._state(name)
            if name in self._rows:
                found[f"rows.{name}"] = self._rows[name].rows
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` gave; the weights must already be those of that time."""
        for name, parameter in self._parameters.items():
            if f"step.{name}" not in tensors:
                continue
            self._steps[name] = tensors[f"step.{name}"].to(parameter.device, copy=True)
            exp_avg, exp_avg_sq = tensors[f"exp_avg.{name}"], tensors[f"exp_avg_sq.{name}"]
            if name in self._rows:
                self._rows[name].load(tensors[f"rows.{name}"].clone(), exp_avg, exp_avg_sq)
            else:
                self._moments[name] = tuple(each.to(parameter.device, copy=True) for each in (exp_avg, exp_avg_sq))  # type: ignore[assignment]

    def _gradients(self) -> dict[str, Tensor]:
        return {
            name: self._rows[name].gather(parameter.grad) if name in self._rows else parameter.grad
            for name, parameter in self._parameters.items()
            if parameter.grad is not None
        }

    def _state(self, name: str) -> _State:
        parameter = self._parameters[name].detach()
        if name not in self._steps:
            self._steps[name] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            if name not in self._rows:
                self._moments[name] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        if name in self._rows:
            return _State(*self._rows[name].state, self._steps[name])
        return _State(parameter, *self._moments[name], self._steps[name])

    def _update(
        self,
        states: Sequence[_State],
        gradients: list[Tensor],
        rate: float,
        group: Group,
        scale: Tensor | None,
        bad: Tensor,
    ) -> None:
        if not states:
            return
        values, exp_avgs, exp_avg_sqs, steps = (list(each) for each in zip(*states, strict=True))
        adamw(
            values,
            gradients,
            exp_avgs,
            exp_avg_sqs,
            [],
            steps,
            fused=True,
            grad_scale=scale,
            found_inf=bad,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate * group.rate,
            weight_decay=group.decay,
            eps=EPSILON,
            maximize=False,
        )

    def _scatter(self, rate: float) -> None:
        for group in self._groups:
            for name in group.names:
                if name in self._rows and name in self._steps:
                    self._rows[name].scatter(1.0 - rate * group.rate * group.decay)


def rate_factor(step: int, total: int, warmup: int, kind: str) -> float:
    """Return the share of the highest learning rate at which step ``step`` (from 0) of ``total`` is taken.

    Warm-up rises to 1 within ``warmup`` steps, and no step is taken at rate 0; then ``linear`` and ``cosine`` fall
    towards 0, ``constant`` stays.
    """
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return 1.0 - done if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
