"""peft adapters (LoRA, DoRA, IA3), merged into the weights of their base models.

LoRA: Hu et al. 2021, equation 3; DoRA: Liu et al. 2024, equation 5; IA3: Liu et al. 2022, section 3.3.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.names import DECODER, TRANSFORM, WORDS, canonical, to_family
from bertie.checkpoints.pickle_file import PickleFile
from bertie.checkpoints.safetensors_file import SafetensorsFile
from bertie.checkpoints.tensors import TensorFile, TensorInfo, check_float, float32_of
from bertie.errors import CheckpointError
from bertie.families import FAMILIES, PREFIXES
from bertie.files import read_json
from bertie.hub import ADAPTER_CONFIG, member
from bertie.messages import short
from bertie.progress import say_once
from bertie.rules import Rule

if TYPE_CHECKING:
    from bertie.checkpoints.folder import Checkpoint

    Array = NDArray[np.float32]

ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_TYPES = ("LORA", "IA3")
_RULES = {
    "r": Rule("the rank", "integer", 1),
    "lora_alpha": Rule("scale of the update", "number"),
    "alpha_pattern": Rule("lora_alpha of individual modules", "mapping"),
    "use_rslora": Rule("", "true or false"),
}
# fields that change what an adapter computes, and the values that can be merged
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
    **dict.fromkeys(("layer_replication", "alora_invocation_tokens", "arrow_config", "megatron_config"), (None,)),
    **dict.fromkeys(("use_qalora", "use_bdlora", "fan_in_fan_out"), (None, False)),
}
_OUTER = "base_model.model."
# suffix of an adapter's tensor name → its part
_PARTS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_B.bias": "bias",
    "lora_embedding_A": "embedding A",
    "lora_embedding_B": "embedding B",
    "lora_magnitude_vector": "magnitude",
    "lora_magnitude_vector.weight": "magnitude",
    "ia3_l": "factors",
}


def with_decoder(base: "Checkpoint") -> "Checkpoint":
    """Return a base model with the decoder of words under its own name too, where the file has it as the embeddings.

    An adapter changes the one or the other: its model had them tied until then.
    """
    for family in FAMILIES.values():
        words, decoder, head = (to_family(name, family, "BertForMaskedLM") for name in (WORDS, DECODER, TRANSFORM))
        if words in base.infos and head in base.infos and decoder not in base.infos:
            stored = {**base._stored, decoder: base._stored.get(words, words)}
            return replace(base, infos={**base.infos, decoder: base.infos[words]}, _stored=stored)
    return base


class MergedFile:
    """The tensors that an adapter changes or adds, merged with the base checkpoint's in float32 when read."""

    def __init__(self, folder: Path, base: "Checkpoint") -> None:
        self.config = _read_config(folder)
        self.path, self._file = _open_weights(folder)
        self._base = base
        self._stored = {_without_prefix(name): name for name in base.infos}
        self.infos: dict[str, TensorInfo] = {}
        self._changes: dict[str, dict[str, str]] = {}  # base tensor → part → adapter tensor
        self._modules: dict[str, str] = {}  # base tensor → its module's name in the adapter
        self._replacements: dict[str, str] = {}  # tensor → the adapter tensor that replaces it
        for name in self._file.infos:
            self._register(name)
        for name, parts in self._changes.items():
            self._check_shapes(name, parts)
            self.infos[name] = TensorInfo(base.infos[name].shape, "float32", self.path)

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor; merged ones in float32."""
        replacement = self._replacements.get(name)
        if name not in self._changes:
            return self._file.array(self._replacements[name])
        own = self._base.float32(name) if replacement is None else self._float32(replacement)
        parts = {part: self._float32(stored) for part, stored in self._changes[name].items()}
        if "factors" in parts:
            return own * (parts["factors"].reshape(own.shape) if own.ndim == 1 else parts["factors"])
        scale = self._scale(name, parts)
        if "bias" in parts:
            return own + scale * parts["bias"]
        if "embedding A" in parts:
            return own + scale * (parts["embedding B"] @ parts["embedding A"]).T
        merged = own + scale * (parts["B"] @ parts["A"])
        if merged[:, ~own.any(axis=0)].any():
            say_once(f"{str(self.path)!r} fills the pruned columns of {name!r}, which are no longer skipped")
        if "magnitude" in parts:
            merged *= (parts["magnitude"].reshape(-1) / np.linalg.norm(merged, axis=1))[:, None]
        return merged

    def _register(self, stored: str) -> None:
        """Record what a tensor of the adapter is for."""
        check_float(stored, self._file.infos[stored])
        name = stored.removeprefix(_OUTER)
        for end, part in _PARTS.items():
            if name.endswith(f".{end}"):
                module = name.removesuffix(f".{end}")
                for leaf in _leaves(part, self._file.infos[stored]):
                    changed = self._in_base(f"{module}.{leaf}")
                    self._changes.setdefault(changed, {})[part] = stored
                    self._modules[changed] = module
                return
        if not name.endswith((".weight", ".bias")) or "lora_" in name or "token_adapter" in name:
            raise CheckpointError(f"{str(self.path)!r} has {stored!r:.200}, which bertie cannot merge")
        if ".original_module." in name:  # modules_to_save replaces it
            return
        name = name.replace(".modules_to_save.", ".").replace(".base_layer.", ".")
        name = self._stored.get(_without_prefix(name), name)
        self._replacements[name] = stored
        self.infos[name] = self._file.infos[stored]

    def _in_base(self, name: str) -> str:
        found = self._stored.get(_without_prefix(name))
        if found is None:
            raise CheckpointError(
                f"{str(self.path)!r} changes {name!r:.200}, which its base model in {str(self._base.path.parent)!r} "
                "doesn't have: it was made for another model; correct base_model_name_or_path in "
                f"{ADAPTER_CONFIG}, or merge it with peft"
            )
        check_float(found, self._base.infos[found])
        return found

    def _check_shapes(self, name: str, parts: Mapping[str, str]) -> None:
        shape = self._base.infos[name].shape
        of = {part: self._file.infos[stored].shape for part, stored in parts.items()}
        if not _shapes_match(shape, of):
            changes = ", ".join(f"{part} {list(each)}" for part, each in of.items())
            raise CheckpointError(
                f"{str(self.path)!r} changes {name!r:.200}, which is {list(shape)} in its base model "
                f"{str(self._base.path.parent)!r}, by {changes}: it was made for another model, or a part is missing"
            )

    def _scale(self, name: str, parts: Mapping[str, NDArray[Any]]) -> float:
        """Return the factor of the low-rank product."""
        low = next((parts[each] for each in ("A", "embedding A") if each in parts), None)
        rank = self._rank_of_bias(name) if low is None else len(low)
        alphas = self.config.get("alpha_pattern") or {}
        of_module = (each for pattern, each in alphas.items() if f".{self._modules[name]}".endswith(f".{pattern}"))
        alpha = next(of_module, self.config.get("lora_alpha", 8))
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _rank_of_bias(self, bias: str) -> int:
        return self._file.infos[self._changes[f"{bias.removesuffix('bias')}weight"]["A"]].shape[0]

    def _float32(self, stored: str) -> "Array":
        return float32_of(self._file.array(stored), self._file.infos[stored].dtype)


def _leaves(part: str, info: TensorInfo) -> Iterator[str]:
    """Yield the names of a module's parameters that a part of an adapter changes."""
    if part == "bias":
        yield "bias"
        return
    yield "weight"
    if part == "factors" and info.shape[-1] == 1:  # factors of the layer's outputs, not its inputs
        yield "bias"


def _shapes_match(shape: tuple[int, ...], of: Mapping[str, tuple[int, ...]]) -> bool:
    match sorted(of):
        case ["factors"]:
            return of["factors"] in ((shape[0], 1), (1, shape[-1]))
        case ["bias"]:
            return of["bias"] == shape
        case ["embedding A", "embedding B"]:
            a, b = of["embedding A"], of["embedding B"]
            return len(a) == len(b) == 2 and a[0] == b[1] and (a[1], b[0]) == shape
        case ["A", "B"] | ["A", "B", "magnitude"]:
            a, b = of["A"], of["B"]
            is_scaled = "magnitude" not in of or math.prod(of["magnitude"]) == shape[0]
            return len(a) == len(b) == 2 and a[0] == b[1] and (b[0], a[1]) == shape and is_scaled
    return False


def _read_config(folder: Path) -> dict[str, Any]:
    """Return adapter_config.json, if such an adapter can be merged."""
    path = member(folder, ADAPTER_CONFIG)
    config = read_json(path, "adapter's config", _RULES)
    if config.get("peft_type") not in _TYPES:
        raise CheckpointError(
            f"{str(path)!r}: peft_type is {short(config.get('peft_type'))}; bertie merges {', '.join(_TYPES)}; "
            "merge others with peft (merge_and_unload) and save the model"
        )
    for pattern, alpha in (config.get("alpha_pattern") or {}).items():
        if not pattern.replace(".", "").isidentifier() or type(alpha) not in (int, float):
            raise CheckpointError(
                f"{str(path)!r}: alpha_pattern has {pattern!r:.60} with {short(alpha)}; bertie reads module names "
                "with numbers there"
            )
    for name, known in _SUPPORTED.items():
        if config.get(name) not in known and config.get(name) not in ([], {}):
            raise CheckpointError(
                f"{str(path)!r}: {name} is {short(config[name])}, which bertie doesn't merge; merge it with peft "
                "(merge_and_unload) and save the model"
            )
    return config


def _open_weights(folder: Path) -> tuple[Path, TensorFile]:
    for name in ADAPTER_WEIGHTS:
        path = member(folder, name)
        if path.exists():
            return path, SafetensorsFile(path) if path.suffix == ".safetensors" else PickleFile(path)
    raise CheckpointError(f"{str(folder)!r} has {ADAPTER_CONFIG}, but no {' or '.join(ADAPTER_WEIGHTS)}; fetch it too")


def _without_prefix(name: str) -> str:
    """Return a tensor's canonical name without its family's prefix, which bare encoders lack."""
    name = canonical(name) or name
    return next((name.removeprefix(f"{each}.") for each in PREFIXES if name.startswith(f"{each}.")), name)
