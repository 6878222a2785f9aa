"""Model FLOP utilization: the share of a device's peak arithmetic that a training uses."""

import time
from collections.abc import Sequence

import torch

from bertie.config import BertConfig
from bertie.training import world_size
from bertie.training.grad_accumulation import precision_on
from bertie.training.history import Log, Record

# Peak FLOP/s of dense bf16 products, by a part of the device's name (the first match), from NVIDIA's data sheets.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}
_SIZE, _SECONDS = 1024, 0.5


def flops_per_token(config: BertConfig, length: int, masked: float) -> float:
    """Return the floating-point operations of forward and backward pass per token of texts of ``length`` tokens.

    6 for each weight that a token is multiplied by, and 12 times layers, width and length for attention (Chowdhery et
    al. 2022, "PaLM", appendix B). Embedding lookups are free, and only the share ``masked`` of the tokens goes through
    the masked-LM head. Recomputation by gradient checkpointing, and a teacher, are not counted.
    """
    layers, width = config.num_hidden_layers, config.hidden_size
    block = 4 * width**2 + 2 * width * config.intermediate_size
    head = width**2 + width * config.vocab_size
    return 6 * (layers * block + masked * head) + 12 * layers * width * length


def peak_of(device: torch.device, precision: str) -> float:
    """Return the assumed peak operations per second of a device.

    In bf16 on a GPU of `PEAKS`, its data sheet's; otherwise the best that a product of two 1,024 by 1,024 matrices
    reaches within half a second, with PyTorch's threads.
    """
    if device.type == "cuda" and precision == "bf16":
        name = torch.cuda.get_device_name(device)
        if known := next((peak for part, peak in PEAKS.items() if part in name), None):
            return known
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    matrix = torch.ones(_SIZE, _SIZE, device=device, dtype=dtype)
    best, until = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()  # synchronises with the device
        best = min(best, time.perf_counter() - began)
    return 2 * _SIZE**3 / best


class Utilization:
    """The share of the devices' peak that a run uses, computed from the log lines of its steps.

    ``lengths`` are those of the texts in each phase, ``masked`` is the share of masked tokens.
    """

    def __init__(
        self, config: BertConfig, lengths: Sequence[int], masked: float, device: torch.device, precision: str
    ) -> None:
        self._peak = world_size() * peak_of(device, precision_on(device, precision))
        self._flops = [flops_per_token(config, length, masked) for length in lengths]

    def of(self, record: Record) -> float:
        """Return the share for the steps of a log line."""
        return float(record["tokens_per_second"] * self._flops[record.get("phase", 1) - 1] / self._peak)

    def with_utilization(self, log: Log) -> Log:
        """Return a log that passes its lines to ``log`` with the share added as ``mfu``."""

        def with_share(record: Record) -> None:
            log(record | ({"mfu": round(self.of(record), 4)} if "tokens_per_second" in record else {}))

        return with_share
