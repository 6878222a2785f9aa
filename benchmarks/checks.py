"""The cost of checking a batch and removing its padding, relative to the whole forward pass.

Run it alone: ``.venv/bin/python benchmarks/checks.py``.
"""

import statistics
import time
from collections.abc import Callable

import torch

import bertie
from bertie.hub import default_embedding_model

SHAPES = ((1, 8), (1, 256), (32, 64), (32, 256))


def milliseconds(run: Callable[[], object], rounds: int = 9) -> float:
    """Return the median time of ``run``, after one call that warms up."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def main() -> None:
    model = bertie.BertModel.from_pretrained(default_embedding_model(), add_pooling_layer=False)
    for texts, width in SHAPES:
        ids = torch.randint(1000, 30000, (texts, width))
        mask = torch.ones_like(ids)
        mask[1::2, width // 2 :] = 0
        types = torch.zeros_like(ids)
        with torch.inference_mode():
            enter = milliseconds(lambda batch=(ids, mask, types): model.pack_inputs(*batch))
            forward = milliseconds(lambda batch=(ids, mask, types): model(*batch))
        print(f"{texts:3} x {width:3}: enter {enter:6.3f} ms of {forward:8.2f} ms, {enter / forward:.2%}")


if __name__ == "__main__":
    main()
