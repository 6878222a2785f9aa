"""An engine for a `transformers` encoder: whether one can be made, and whether it is still up to date."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, get_num_threads, nn

from bertie.capture import HOOKS
from bertie.checkpoints.names import canonical, from_family
from bertie.config import BertConfig
from bertie.engine import Engine
from bertie.engine.weights import array_weights
from bertie.errors import InputError
from bertie.families import FAMILIES
from bertie.kernels.checksum import checksums
from bertie.models.optimizing import TOLERANCE, two_texts
from bertie.zero_copy import parameter_as_array

ENCODERS = tuple(dict.fromkeys(f"{family.name}Model" for family in FAMILIES.values()))
_PACKAGE = "transformers.models."
_PART_PACKAGES = (_PACKAGE, "transformers.activations", "torch.nn.modules.")
# its hooks stay in a model once hidden states were requested, but are only active while they are
_CAPTURING = "transformers.utils.output_capturing"
# attributes that modules compute with besides weights
_CONSTANTS = ("eps", "scaling", "is_causal")
# fields of a config that an encoder without a head doesn't read
_HEAD_FIELDS = ("id2label", "label2id", "num_labels", "architectures", "quantization_config", "pruned_heads")


def is_encoder(module: nn.Module) -> bool:
    """Whether a module is one of `ENCODERS`, or of a class that extends one."""
    return any(kind.__name__ in ENCODERS and kind.__module__.startswith(_PACKAGE) for kind in type(module).__mro__)


def why_not(encoder: nn.Module) -> str:
    """Return why an engine can't stand in for an encoder, or ""; their outputs aren't compared here."""
    modules = modules_in(encoder)
    for module in modules[1:]:
        own, kind = vars(module), type(module)
        if not kind.__module__.startswith(_PART_PACKAGES):
            name = f"{kind.__module__}.{kind.__qualname__}"
            remedy = "; merge adapters first (merge_and_unload())" if name.startswith("peft.") else ""
            return f"{name} replaces its {_path(encoder, module)}{remedy}"
        if "forward" in own or any(_is_foreign(hook) for name in HOOKS for hook in own[name].values()):
            return f"its {_path(encoder, module)} has hooks, or another forward"
    for weight in weights_in(modules):
        if weight.device.type != "cpu":
            return f"it is on {weight.device}, and the engine computes on the CPU"
        if weight.dtype != torch.float32:
            return f"its weights are {weight.dtype}, and the engine computes in torch.float32; call model.float() first"
        if not weight.is_contiguous():
            return "one of its weights isn't contiguous in memory"
    return ""


def modules_in(module: nn.Module) -> list[nn.Module]:
    """Return a module and all its submodules; ``Module.modules()`` builds names too, which costs as much as a layer."""
    found = [module]
    for part in module._modules.values():
        if part is not None:
            found += modules_in(part)
    return found


def weights_in(modules: list[nn.Module]) -> list[Tensor]:
    """Return the modules' own parameters, without those of submodules."""
    return [weight for module in modules for weight in module._parameters.values() if weight is not None]


def _path(encoder: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in encoder.named_modules() if module is part)


def _is_foreign(hook: Any) -> bool:
    return getattr(hook, "__module__", "") != _CAPTURING


@dataclass(frozen=True)
class Fingerprint:
    """The modules, weights and constants of an encoder, which detects changes however they were made.

    Embedding tables aren't read, as the engine uses them in place.
    """

    modules: list[nn.Module]
    addresses: list[int]
    checksums: tuple[int, ...]
    numbers: list[Any]

    @classmethod
    def of(cls, encoder: nn.Module) -> Self:
        modules = modules_in(encoder)[1:]  # without the encoder, which this must not keep alive
        read = weights_in([module for module in modules if type(module) is not nn.Embedding])
        return cls(
            modules,
            [weight.data_ptr() for weight in weights_in(modules)],
            checksums([weight.data_ptr() for weight in read], [weight.nbytes for weight in read], get_num_threads()),
            [vars(module).get(name) for module in modules for name in _CONSTANTS],
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The engine of an encoder at one point in time, and the class of its outputs."""

    engine: Engine
    output: type[Any]

    @classmethod
    def of(cls, encoder: Any, original: Callable[..., Any]) -> Self:
        """Return the snapshot of an encoder, checked against its ``original`` forward."""
        config = _config_of(encoder)
        arrays = {
            canonical(from_family(name, config.family, "BertModel")) or name: parameter_as_array(weight)
            for name, weight in encoder.named_parameters()
            if not name.startswith("pooler.")
        }
        engine = Engine(array_weights(arrays, config, "BertModel"), config, "BertModel")
        return cls(engine, _checked_output(original, engine))


def _config_of(encoder: Any) -> BertConfig:
    fields = {name: value for name, value in encoder.config.to_dict().items() if name not in _HEAD_FIELDS}
    config: BertConfig = BertConfig.from_dict(fields)
    blocks = next(each for each in encoder.modules() if isinstance(each, nn.ModuleList))
    config.num_hidden_layers = len(blocks)  # programs may have removed layers
    return config


@torch.inference_mode()
def _checked_output(original: Callable[..., Any], engine: Engine) -> type[Any]:
    """Return the class of an encoder's outputs; raise an error if the engine's answers to two texts differ."""
    texts = two_texts(engine)
    for row in map(texts.select, ([0], [1])):
        types = {"token_type_ids": torch.from_numpy(row.types)[None]} if engine.config.type_vocab_size else {}
        found = original(input_ids=torch.from_numpy(row.ids)[None], **types)
        own = found.last_hidden_state[0].numpy()
        difference = float(np.abs(own - engine.hidden_states(row)).max())
        if not difference <= TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise InputError(
                f"its hidden states differ by {difference:.2g}, so a part of it is not what its config says"
            )
    return type(found)
