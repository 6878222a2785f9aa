"""How much float32 hidden states differ from float64: with each set of kernels, and in `transformers`.

The last block's hidden states for 100 real texts: the largest difference and the root mean square of the difference,
both relative to the root mean square of the hidden states.

python benchmarks/rounding.py MODEL [MODEL ...]
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from bertie import AutoTokenizer
from bertie.engine import Engine
from bertie.kernels import library
from texts import mixed

TEXTS, LONGEST = 100, 128


def main() -> None:
    for name in sys.argv[1:]:
        ids = AutoTokenizer.from_pretrained(name)(mixed(TEXTS), truncation=True, max_length=LONGEST)["input_ids"]
        exact = _reference(name, ids, torch.float64)
        size = np.sqrt(np.mean(exact**2))
        for kind, found in _answers(name, ids):
            off = abs(found - exact) / size
            mean = np.sqrt(np.mean(off**2))
            print(f"{name}, {kind}: largest {off.max():.1e}, root mean square {mean:.1e}", flush=True)


def _answers(name: str, ids: list[list[int]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield "transformers", _reference(name, ids, torch.float32)
    for functions in library.instruction_sets():
        library.best = lambda chosen=functions: chosen
        yield str(functions), Engine.open(name).hidden_states(_Rows(ids))


@torch.inference_mode()
def _reference(name: str, ids: list[list[int]], dtype: torch.dtype) -> NDArray[np.floating[Any]]:
    """Return the hidden states of each text alone, concatenated."""
    model = transformers.AutoModel.from_pretrained(name, dtype=dtype).eval()
    return np.concatenate([model(torch.tensor([text])).last_hidden_state[0].numpy() for text in ids])


class _Rows:
    types = None

    def __init__(self, texts: list[list[int]]) -> None:
        self.ids, self.lengths = np.concatenate(texts), [len(text) for text in texts]


if __name__ == "__main__":
    main()
