"""PyTorch's Muon for the matrices of a model's blocks, and AdamW for all else."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bertie.training.optimizer import AdamW
from bertie.training.param_groups import Group, count_layers


class Muon(AdamW):
    """The loop's AdamW, with ``torch.optim.Muon`` (Jordan et al. 2024) for the matrices of ``encoder.layer.*``.

    Its updates are scaled to match AdamW's, so that both share learning rate and decay (Liu et al. 2025, "Muon is
    scalable for LLM training", section 2.2). Checking that a step is finite synchronises with the device.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._matrices = {
            name for name, each in self._parameters.items() if each.dim() == 2 and count_layers((name,)) > 0
        }
        self._muons: dict[Group, Any] = {}
        for group in self._groups:
            if matrices := [self._parameters[name] for name in group.names if name in self._matrices]:
                decay = group.decay
                self._muons[group] = torch.optim.Muon(matrices, weight_decay=decay, adjust_lr_fn="match_rms_adamw")

    def tensors(self) -> dict[str, Tensor]:
        states = {name: muon.state.get(self._parameters[name], {}) for name, muon in self._by_name().items()}
        momenta = {f"momentum.{name}": state["momentum_buffer"] for name, state in states.items() if state}
        return {**super().tensors(), **momenta}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        super().load(tensors)
        for muon in self._muons.values():
            muon.state.clear()
        for name, muon in self._by_name().items():
            if (momentum := tensors.get(f"momentum.{name}")) is not None:
                parameter = self._parameters[name]
                muon.state[parameter]["momentum_buffer"] = momentum.to(parameter.device).clone()

    def _by_name(self) -> dict[str, Any]:
        return {name: muon for group, muon in self._muons.items() for name in group.names if name in self._matrices}

    def _gather(self, name: str, gradient: Tensor) -> Tensor:
        return gradient if name in self._matrices else super()._gather(name, gradient)

    def _update(
        self, gradients: Mapping[str, Tensor], rate: float, group: Group, scale: Tensor | None, bad: Tensor
    ) -> None:
        if rest := {name: gradient for name, gradient in gradients.items() if name not in self._matrices}:
            super()._update(rest, rate, group, scale, bad)
        if group in self._muons and not bad:
            for name in self._matrices & gradients.keys():
                self._parameters[name].grad = gradients[name] if scale is None else gradients[name] / scale
            self._muons[group].param_groups[0]["lr"] = rate * group.rate
            self._muons[group].step()
