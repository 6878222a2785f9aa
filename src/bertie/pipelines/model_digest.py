"""A digest of a model's weights and vocabulary, which changes as soon as it is trained further."""

import json
from collections.abc import Iterator
from hashlib import sha256
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.names import canonical
from bertie.engine import Engine


def model_digest(model: Any, tokenizer: Any) -> str:
    """Return a digest of a model, the same for the engine and the PyTorch model of a folder."""
    digest = sha256()
    arrays = ((canonical(name) or name, array) for name, array in _arrays(model))
    for name, array in sorted(arrays, key=itemgetter(0)):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    vocabulary: dict[str, int] = getattr(tokenizer, "get_vocab", dict)()
    digest.update(json.dumps(vocabulary, sort_keys=True).encode())
    return digest.hexdigest()


def _arrays(model: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(model, Engine):
        yield from model.stored_arrays()
        return
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu()
        yield name, (tensor.float() if tensor.is_floating_point() else tensor).numpy()
