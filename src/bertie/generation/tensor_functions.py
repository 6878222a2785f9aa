"""The array functions of search loops and logits processors, for PyTorch tensors on any device."""

from typing import Any

import torch
from torch import Tensor

from bertie.generation.functions import Functions


class TensorFunctions(Functions):
    """As `Functions`, on PyTorch tensors."""

    where = staticmethod(torch.where)
    isnan = staticmethod(torch.isnan)
    isfinite = staticmethod(torch.isfinite)
    nan_to_num = staticmethod(torch.nan_to_num)
    exp = staticmethod(torch.exp)
    copy = staticmethod(torch.clone)

    def ids(self, like: Tensor, tokens: Any) -> Tensor:
        return torch.as_tensor(tokens, dtype=torch.int64, device=like.device)

    def full(self, like: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
        return like.new_full(shape, value)

    def float32(self, scores: Tensor) -> Tensor:
        return scores.float()

    def repeat(self, values: Tensor, count: int) -> Tensor:
        return values.repeat_interleave(count, dim=0)

    def concat(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, dim=1)

    def is_in(self, values: Tensor, tokens: tuple[int, ...]) -> Tensor:
        return torch.isin(values, values.new_tensor(tokens))

    def max(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        return scores.max(dim=-1)

    def topk(self, scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return scores.topk(count)

    def sort(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        return scores.sort(dim=-1)

    def take(self, values: Tensor, indices: Tensor) -> Tensor:
        return values.gather(-1, indices)

    def put(self, values: Tensor, indices: Tensor, new: Any) -> Tensor:
        return values.scatter(-1, indices, new)

    def softmax(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)

    def log_softmax(self, scores: Tensor) -> Tensor:
        return scores.log_softmax(dim=-1)

    def entropy(self, logs: Tensor) -> Tensor:
        return -(logs * logs.exp()).nansum(-1, keepdim=True)

    def ngrams(self, ids: Tensor, size: int) -> Tensor:
        return ids.unfold(1, size, 1)

    def draw(self, probabilities: Tensor, count: int, generator: Any) -> Tensor:
        return torch.multinomial(probabilities, count, generator=generator)

    def as_bools(self, like: Tensor, answers: Any) -> Tensor:
        return torch.as_tensor(answers, device=like.device)

    def available_memory(self, like: Tensor) -> int | None:
        return torch.cuda.mem_get_info(like.device)[0] if like.is_cuda else super().available_memory(like)

    def to_host(self, values: Tensor) -> Any:
        return values.cpu()


ON_TENSORS = TensorFunctions()
