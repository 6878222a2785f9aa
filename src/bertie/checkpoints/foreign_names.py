"""The tensor names of TensorFlow 1, Keras and Flax: one table each, read in both directions.

Our names separate their parts by dots, theirs by slashes. Siblings of BERT have the same suffixes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.tensors import TensorInfo, check_count, check_name
from bertie.errors import CheckpointError

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A library's tensor names; of the pairs (ours, theirs), the first match wins."""

    layer: str  # what precedes a block's number
    prefixes: _Pairs  # or whole names
    suffixes: _Pairs  # the last is that of linear layers, which matches all other weights

    def to_theirs(self, name: str) -> str:
        """Return the library's name for one of our tensors."""
        found = next(
            (theirs + name.removeprefix(ours) for ours, theirs in self.prefixes if name.startswith(ours)), name
        )
        found = next(
            (found.removesuffix(ours) + theirs for ours, theirs in self.suffixes if found.endswith(ours)), found
        )
        return re.sub(r"(^|/)layer/(?=\d+/)", rf"\1{self.layer}", found.replace(".", "/"))

    def to_ours(self, name: str) -> str:
        """Return our name for one of the library's tensors; one we have no name for keeps its own."""
        found = re.sub(rf"(^|/){re.escape(self.layer)}(?=\d+/)", r"\1layer/", name)
        for ours, theirs in self.suffixes:
            if found.endswith(theirs):
                found = found.removesuffix(theirs) + ours
                break
        for ours, theirs in self.prefixes:
            if found.startswith(theirs):
                found = ours + found.removeprefix(theirs)
                break
        found = found.replace("/", ".")
        return found if self.to_theirs(found) == name else name

    @staticmethod
    def is_transposed(name: str) -> bool:
        """Whether the library stores the tensor with this name of its own as [in, out]."""
        return name.endswith("/kernel")


_NORMS = ("LayerNorm", "layer_norm")  # the latter in siblings


def _norms(weight: str, bias: str) -> _Pairs:
    leaves = (("weight", weight), ("bias", bias))
    return tuple((f"{norm}.{ours}", f"{norm}/{theirs}") for norm in _NORMS for ours, theirs in leaves)


_KERNEL = (".weight", "/kernel")
# google-research/bert; run_pretraining.py, run_classifier.py and run_squad.py each name their own head
TENSORFLOW_1 = Naming(
    layer="layer_",
    prefixes=(
        ("cls.predictions.bias", "cls/predictions/output_bias"),
        ("cls.seq_relationship.weight", "cls/seq_relationship/output_weights"),
        ("cls.seq_relationship.bias", "cls/seq_relationship/output_bias"),
        ("qa_outputs.weight", "cls/squad/output_weights"),
        ("qa_outputs.bias", "cls/squad/output_bias"),
        ("classifier.weight", "output_weights"),
        ("classifier.bias", "output_bias"),
    ),
    suffixes=(("_embeddings.weight", "_embeddings"), *_norms("gamma", "beta"), _KERNEL),
)
# transformers' TFBert… classes, without the model's name in front and ":0" at the end
KERAS = Naming(
    layer="layer_._",
    prefixes=(("cls.predictions", "mlm___cls/predictions"), ("cls.seq_relationship", "nsp___cls/seq_relationship")),
    suffixes=(
        ("word_embeddings.weight", "word_embeddings/weight"),
        ("_embeddings.weight", "_embeddings/embeddings"),
        ("relative_attention_bias.weight", "relative_attention_bias/embeddings"),  # MPNet's
        *_norms("gamma", "beta"),
        _KERNEL,
    ),
)
# transformers' FlaxBert… classes
FLAX = Naming(
    layer="layer/",
    prefixes=(),
    suffixes=(("_embeddings.weight", "_embeddings/embedding"), *_norms("scale", "bias"), _KERNEL),
)


class ForeignFile:
    """Another library's file of tensors under our names, with the weights of linear layers as [out, in].

    ``infos`` are the tensors under the library's names, whose values ``read`` returns.
    """

    def __init__(
        self, path: Path, naming: Naming, infos: Mapping[str, TensorInfo], read: Callable[[str], NDArray[Any]]
    ) -> None:
        check_count(path, len(infos))
        self.path, self._naming, self._read = path, naming, read
        self._theirs = {naming.to_ours(check_name(path, name)): name for name in infos}
        if len(self._theirs) < len(infos):
            twice = next(name for name in infos if name not in self._theirs.values())
            raise CheckpointError(f"{str(path)!r} has {twice!r} under a second name too; remove the wrong one")
        self.infos = {ours: self._transposed(theirs, infos[theirs]) for ours, theirs in self._theirs.items()}

    def array(self, name: str) -> NDArray[Any]:
        theirs = self._theirs[name]
        array = self._read(theirs)
        return np.ascontiguousarray(array.T) if self._naming.is_transposed(theirs) else array

    def _transposed(self, theirs: str, info: TensorInfo) -> TensorInfo:
        return info._replace(shape=info.shape[::-1]) if self._naming.is_transposed(theirs) else info
