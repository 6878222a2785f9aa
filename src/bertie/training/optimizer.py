"""AdamW (arXiv 1711.05101) with bias correction and clipping, in one fused pass.

The update is PyTorch's functional `adamw`. `torch.optim.AdamW` around it would cost 1.7 s of processor time before the
first step of every run, as it imports ``torch._dynamo`` and 820 other modules (PyTorch 2.13), and it cannot update
single rows of a table.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from bertie.training.param_groups import Group, own_rows
from bertie.training.sparse_embeddings import Moments

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """The optimiser of a run; the parameters named in ``tables`` are updated by row."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        groups: Sequence[Group],
        tables: Sequence[str] = (),
        total_norm: Callable[[Iterable[Tensor]], Tensor] = torch.nn.utils.get_total_norm,
    ) -> None:
        self._parameters, self._groups, self._tables = dict(parameters), list(groups), frozenset(tables)
        self._total_norm = total_norm
        self._moments: dict[str, Moments] = {}  # of the parameters that have had a gradient

    def zero(self) -> None:
        for parameter in self._parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, max_norm: float | None, loss: Tensor) -> Tensor:
        """Update all parameters that have gradients, and return the norm before clipping, ``[]`` on the device."""
        gradients = {
            name: self._gather(name, own_rows(parameter.grad))
            for name, parameter in self._parameters.items()
            if parameter.grad is not None
        }
        norm = self._total_norm(gradients.values()).float()
        # such a step changes nothing; the device decides that, so the host need not wait for it
        bad = (~(norm + loss).isfinite()).float()
        scale = None if max_norm is None else ((norm + 1e-6) / max_norm).clamp(min=1.0)
        if scale is not None and scale.device.type == "cpu" and scale == 1:
            scale = None
        for group in self._groups:
            if own := {name: gradients[name] for name in group.names if name in gradients}:
                self._update(own, rate, group, scale, bad)
        if self._tables and not bad:
            for group in self._groups:
                for name in self._tables.intersection(group.names) & self._moments.keys():
                    self._moments[name].scatter(1.0 - rate * group.rate * group.decay)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Return the optimiser state as named tensors, not copied."""
        return {
            f"{part}.{name}": tensor
            for name, moments in self._moments.items()
            for part, tensor in moments.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state from `tensors`; the weights must already be those of the same step."""
        self._moments.clear()
        for name in self._parameters:
            if f"step.{name}" in tensors:
                parts = ("step", "exp_avg", "exp_avg_sq", "rows")
                self._moments_of(name).load(
                    {part: tensors[key] for part in parts if (key := f"{part}.{name}") in tensors}
                )

    def _gather(self, name: str, gradient: Tensor) -> Tensor:
        """Return the gradient of the values to update: for a table, of the rows seen so far."""
        return self._moments_of(name).gather(gradient)

    def _moments_of(self, name: str) -> Moments:
        if name not in self._moments:
            self._moments[name] = Moments(own_rows(self._parameters[name].detach()), by_rows=name in self._tables)
        return self._moments[name]

    def _update(
        self, gradients: Mapping[str, Tensor], rate: float, group: Group, scale: Tensor | None, bad: Tensor
    ) -> None:
        moments = [self._moments[name] for name in gradients]
        adamw(
            [each.value for each in moments],
            [*gradients.values()],
            [each.exp_avg for each in moments],
            [each.exp_avg_sq for each in moments],
            [],
            [each.step for each in moments],
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
