"""A model in DistributedDataParallel: its losses with a rectangle and a packed batch, and what its layers computed.

In a process of its own: the wrapper is collected with gloo's threads, for which the collector waits with Python's lock
held, and a thread that still has to drop a Python object needs that lock.
"""

import json
import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

import bertie
from bertie.models.hooks import observers

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.randint(1, 99, (2, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])


def main(store: str) -> dict[str, Any]:
    torch.manual_seed(0)
    model = bertie.BertForMaskedLM(bertie.BertConfig(**SIZES))
    shapes: list[tuple[int, ...]] = []
    kind = type(model.bert.encoder.layer[0].intermediate)
    original = kind.forward

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        shapes.append(tuple(hidden_states.shape))
        return original(self, hidden_states)

    kind.forward = forward  # type: ignore[method-assign]
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    parallel = nn.parallel.DistributedDataParallel(model)
    packed = bertie.Packed.from_padded(IDS, MASK)
    losses = []
    for loss in (
        parallel(input_ids=IDS, attention_mask=MASK, labels=IDS).loss,
        parallel(packed, labels=IDS[MASK.bool()]).loss,
    ):
        loss.backward()
        losses.append(loss.item())
    return {"losses": losses, "shapes": shapes, "observers": list(observers(model))}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])), flush=True)
    os._exit(0)  # gloo's threads are not waited for
