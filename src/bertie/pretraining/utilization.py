"""How much of a device's arithmetic a training uses: model FLOP utilization."""

import time
from collections.abc import Sequence

import torch

from bertie.config import BertConfig
from bertie.training import world_size
from bertie.training.grad_accumulation import precision_on
from bertie.training.history import Log, Record

# Products a second of dense bf16 matrices, by a part of the device's name, from NVIDIA's data sheets; the first that
# fits counts.
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
    """Return the operations of forward and backward pass for a token of texts of ``length`` tokens.

    6 for each weight that it meets, and 12 times layers, width and length for attention (Chowdhery et al. 2022, "PaLM",
    appendix B). Embeddings are looked up, and only the share ``masked`` of all tokens meets the head for words. What
    gradient checkpointing computes twice, and a teacher, does not count.
    """
    layers, width = config.num_hidden_layers, config.hidden_size
    block = 4 * width**2 + 2 * width * config.intermediate_size
    head = width**2 + width * config.vocab_size
    return 6 * (layers * block + masked * head) + 12 * layers * width * length


def peak_of(device: torch.device, precision: str) -> float:
    """Return the operations a second that are assumed to be a device's most.

    In bf16 on a GPU of `PEAKS` those of its data sheet; elsewhere what a product of two matrices of 1,024 by 1,024
    reaches at its best within half a second, with the threads that PyTorch has.
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
        (matrix @ matrix)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2 * _SIZE**3 / best


class Utilization:
    """Which share of the devices' most operations a run uses, from the log lines of its steps.

    ``lengths`` are those of the texts in each phase, ``masked`` the share of tokens that the head for words meets.
    """

    def __init__(
        self, config: BertConfig, lengths: Sequence[int], masked: float, device: torch.device, precision: str
    ) -> None:
        self._peak = world_size() * peak_of(device, precision_on(device, precision))
        self._flops = [flops_per_token(config, length, masked) for length in lengths]

    def of(self, record: Record) -> float:
        """Return the share for the steps of a log line."""
        return float(record["tokens_per_second"] * self._flops[record.get("phase", 1) - 1] / self._peak)

    def added(self, log: Log) -> Log:
        """Return a log that gives ``log`` its lines with the share as ``mfu``."""

        def with_share(record: Record) -> None:
            log(record | ({"mfu": round(self.of(record), 4)} if "tokens_per_second" in record else {}))

        return with_share
