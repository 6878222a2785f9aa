"""Gradient accumulation: the micro-batches of one step, within a token budget that shrinks when memory runs out."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from bertie.batching import is_out_of_memory
from bertie.errors import BertieError, InputError
from bertie.progress import logger
from bertie.training.data_parallel import DataParallel
from bertie.training.learner import Learner
from bertie.training.sampler import Integers, Sizes, micro_batches, split_by_tokens

# Fewer and larger micro-batches are faster, as each is added to all gradients. Activations of a model with 12 layers
# and width 768 take about a megabyte per token.
CPU_MICRO_TOKENS = 4_096
GPU_MICRO_TOKENS = 16_384


def micro_tokens(device: torch.device) -> int:
    """Return the default number of tokens in a micro-batch."""
    return CPU_MICRO_TOKENS if device.type == "cpu" else GPU_MICRO_TOKENS


def precision_on(device: torch.device, precision: str) -> Literal["bf16", "fp32"]:
    """Return the precision of the forward pass for the setting ``precision``."""
    supported = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and not supported:
        name = torch.cuda.get_device_name(device)
        raise InputError(f"precision is 'bf16', which {name} does not support; give 'fp32'.")
    return "bf16" if precision == "bf16" or (precision == "auto" and supported and device.type == "cuda") else "fp32"


def means_of(sums: Tensor, counts: float | Mapping[str, float]) -> Tensor:
    """Return a sum ``[]`` divided by its count, or sums ``[K]`` each divided by its own."""
    if isinstance(counts, Mapping):
        return sums / sums.new_tensor([count or 1.0 for count in counts.values()])
    return sums / (counts or 1.0)


class GradAccumulator:
    """Computes gradients in micro-batches of ``tokens`` tokens, or ``whole`` if the loss is not a sum over examples."""

    def __init__(self, parallel: DataParallel, tokens: int, precision: Literal["bf16", "fp32"], whole: bool) -> None:
        self._parallel, self.tokens, self._precision, self._whole = parallel, tokens, precision, whole

    def set_learner(self, learner: Learner, sizes: Sizes) -> None:
        """Use the losses of this learner, whose examples have these sizes, from now on."""
        self._learner, self._sizes = learner, sizes
        self._parallel.set_learner(learner)

    def compute(
        self, examples: Integers, divisor: float | Mapping[str, float], seed: int, device: torch.device
    ) -> Tensor:
        """Accumulate the gradients of a step's loss divided by ``divisor``, reduced over all processes.

        Returns this process's part of the loss ``[]``, or of its K terms ``[K]``.
        """
        while True:
            torch.manual_seed(seed)
            try:
                return self._accumulate(examples, divisor, device)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._parallel.exchanges:
                    raise BertieError(
                        "Memory ran out while gradients were summed with other processes, so the step cannot be "
                        f"computed again; give micro_tokens below {self.tokens}, or gradient_checkpointing."
                    ) from error
            # gradients may be incomplete: the step is computed again from its start
            for parameter in self._learner.model.parameters():
                parameter.grad = None
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._halve(examples)

    def _accumulate(self, examples: Integers, divisor: float | Mapping[str, float], device: torch.device) -> Tensor:
        total = torch.zeros((), device=device)
        batches = self._batches(examples)
        for number, (batch, weight) in enumerate(batches, 1):
            self._parallel.is_last = number == len(batches)
            with torch.autocast(device.type, torch.bfloat16) if self._precision == "bf16" else nullcontext():
                sums = self._parallel.loss(batch)
                means = means_of(sums.to(torch.promote_types(sums.dtype, torch.float32)), divisor)
                loss = means.sum()
            if not loss.requires_grad:
                raise InputError("The loss does not depend on any trainable parameter; unfreeze some that it uses.")
            self._parallel.backward(loss if weight == 1 else loss * weight)
            total = total + (means.detach() if weight else torch.zeros_like(means))
        return total

    def _batches(self, examples: Integers) -> list[tuple[list[int], int]]:
        """Return this process's micro-batches, equally many in all processes, each with the weight of its loss."""
        if self._whole:
            return [(examples.tolist(), 1)]
        group, sizes = self._parallel.group, self._sizes
        parts = [micro_batches(each, sizes, self.tokens) for each in split_by_tokens(examples, sizes, group.world)]
        own, count = parts[group.rank], max(map(len, parts))
        # all processes must take part in every exchange: those with fewer batches repeat an example with weight 0
        shortest = [int(examples[sizes[examples].argmin()])]
        return [*((batch, group.world) for batch in own), *[(shortest, 0)] * (count - len(own))]

    def _halve(self, examples: Integers) -> None:
        lengths = self._sizes[examples]
        largest = int(lengths.max())
        if self._whole:
            raise BertieError(
                f"A step of {len(examples)} examples does not fit into memory, and its loss compares them with each "
                "other, so it cannot be divided; give a smaller batch_size or use gradient_checkpointing."
            )
        if self.tokens <= largest:
            longest = [int(examples[lengths.argmax()])]
            raise BertieError(
                f"A single example of {largest} tokens does not fit into memory "
                f"({self._learner.describe(longest)}); shorten it, use gradient_checkpointing, or free memory."
            )
        self.tokens = max(largest, min(self.tokens, int(lengths.sum())) // 2)
        logger.warning("Memory ran out; from now on %d tokens are computed at a time.", self.tokens)
