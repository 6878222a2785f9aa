"""The reference as one module, ids and mask in, answers out: what transformers' engines run and exporters convert."""

from pathlib import Path

import torch
import transformers
from torch import Tensor

from comparison.workload import Workload


class Answering(torch.nn.Module):
    """transformers' model with what a user puts behind it: pooling, or the logits taken out of the output."""

    def __init__(self, workload: Workload, attention: str = "sdpa") -> None:
        super().__init__()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        classify = workload.task == "classify"
        kind = transformers.AutoModelForSequenceClassification if classify else transformers.AutoModel
        extra = {} if classify else {"add_pooling_layer": False}
        self.model = kind.from_pretrained(
            workload.model, attn_implementation=attention, dtype=torch.float32, local_files_only=True, **extra
        )
        self.workload = workload
        self.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the answers ``[B, D]`` of ids and mask ``[B, S]``."""
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        if self.workload.task == "classify":
            logits: Tensor = output.logits
            return logits
        hidden = output.last_hidden_state
        if self.workload.pooling == "cls":
            vectors = hidden[:, 0]
        else:
            weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
            vectors = (hidden * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(vectors, dim=-1) if self.workload.normalize else vectors


def save_tokenizer(workload: Workload, folder: Path) -> None:
    """Write the model's ``tokenizer.json`` into ``folder``, also where the model has a ``vocab.txt`` only."""
    transformers.AutoTokenizer.from_pretrained(workload.model, local_files_only=True).save_pretrained(folder)


def example() -> tuple[Tensor, Tensor]:
    """Return ids and mask of two texts of different length, for exporters that follow a call."""
    ids = torch.tensor([[101, 1037, 4937, 2938, 102], [101, 4937, 102, 0, 0]])
    return ids, (ids > 0).long()
