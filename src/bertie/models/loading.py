"""from_pretrained: arguments and the folder's files determine config, device and dtype of a model."""

import inspect
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeAlias, overload

import torch

from bertie.checkpoints import Checkpoint, Fit, checkpoint_of, main_dtype
from bertie.checkpoints.consistent_read import read_consistently
from bertie.checkpoints.fitting import correct_classes, report
from bertie.checkpoints.folder import Place, open_weights
from bertie.checkpoints.parameters import architecture_of
from bertie.checkpoints.quantization import check_declaration
from bertie.checkpoints.tensors import FLOATS, dtype_name
from bertie.config import BertConfig
from bertie.config_mapping import LABELS
from bertie.errors import ConfigError, InputError, InputTypeError, nearest
from bertie.generation.generation_config import GenerationConfig
from bertie.hub import path_or_name
from bertie.kernels.cpu import chip
from bertie.models.model_state import materialize, meta_model
from bertie.models.quantized import place_int8
from bertie.progress import say_once

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
Device: TypeAlias = str | int | torch.device
_HALF = (torch.float16, torch.bfloat16)


class ConfigLike(Protocol):
    """A config, bertie's or the reference's."""

    def to_dict(self) -> dict[str, Any]: ...


class Loading:
    """Constructors of a model class: with the weights of a folder or hub name, or with new ones."""

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: ConfigLike | str | os.PathLike[str] | None = None,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        device_map: Device | Mapping[str, Device] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        variant: str | None = None,
        output_loading_info: Literal[False] = False,
        low_cpu_mem_usage: bool | None = None,
        trust_remote_code: bool | None = None,
        allow_nan: bool = False,
        from_tf: bool = False,
        from_flax: bool = False,
        **kwargs: Any,
    ) -> Self: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: ConfigLike | str | os.PathLike[str] | None = None,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        device_map: Device | Mapping[str, Device] | None = None,
        ignore_mismatched_sizes: bool = False,
        use_safetensors: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        subfolder: str = "",
        variant: str | None = None,
        output_loading_info: bool = False,
        low_cpu_mem_usage: bool | None = None,
        trust_remote_code: bool | None = None,
        allow_nan: bool = False,
        from_tf: bool = False,
        from_flax: bool = False,
        **kwargs: Any,
    ) -> Any:  # as the overloads say
        """Return a model of this class in eval mode with the weights of a folder or hub name (decision 11).

        Args:
            pretrained_model_name_or_path: a local folder, read without network access, or a hub name; None with
                ``config`` and ``state_dict``.
            model_args: positional arguments of the class's ``__init__`` after its config.
            config: a config, or the name or path of one, instead of the folder's.
            state_dict: the weights, if no folder or name is given.
            dtype: dtype of the model; None: float32 for half-precision files on the CPU, else the file's; ``"auto"``:
                the file's.
            torch_dtype: the older name of ``dtype``.
            attn_implementation: ``"eager"`` computes attention densely; the other names leave the choice to bertie.
            device_map: one device for the whole model; ``"auto"``: CUDA if there is one.
            ignore_mismatched_sizes: initialise tensors of another shape instead of failing.
            use_safetensors: True or False allow only model.safetensors or only pytorch_model.bin.
            revision, token, cache_dir, local_files_only, force_download, subfolder: as in ``huggingface_hub``.
            variant: ``"fp16"`` reads model.fp16.safetensors.
            output_loading_info: return ``(model, {"missing_keys": …, "unexpected_keys": …, "mismatched_keys": …})``.
            low_cpu_mem_usage: ignored, as there is never a second copy.
            trust_remote_code: ignored with a warning; no code from a model's folder is ever run.
            allow_nan: accept weights that are NaN or infinite.
            from_tf: read tf_model.h5, or a TensorFlow 1 checkpoint such as bert_model.ckpt, which may also be given by
                its path.
            from_flax: read flax_model.msgpack.
            kwargs: fields to change in the config, such as ``num_labels``, or further arguments of the class's
                ``__init__``, such as ``BertModel``'s ``add_pooling_layer``.

        Raises:
            CheckpointError: the files are missing, damaged or unsafe, or do not fit the model.
            ConfigError: the config does not describe a BERT.
            InputError: an argument is out of range.
            InputTypeError: neither the class nor the config knows an argument.
        """
        del low_cpu_mem_usage
        if trust_remote_code:
            say_once("trust_remote_code is ignored: bertie never runs code from a model's folder")
        source = _source(pretrained_model_name_or_path, config, state_dict)
        source, open_checkpoint = _opener(source, state_dict, variant, use_safetensors, from_tf, from_flax)
        place = Place(source, revision, token, cache_dir, local_files_only, force_download, subfolder)
        device = one_device(device_map)
        attention = None if attn_implementation is None else check_attention(attn_implementation)
        asked = torch_dtype if dtype is None else dtype
        has_classes = hasattr(config, "to_dict") or any(kwargs.get(name) is not None for name in LABELS)

        own_class: Any = cls

        def load() -> tuple[Any, Fit]:
            own, init_arguments = _config(cls, place, config, kwargs)
            own._attn_implementation = attention or own._attn_implementation
            checkpoint = open_checkpoint(place)
            own.dtype, own.name_or_path = _dtype_of_model(asked, checkpoint, device), place.name_or_path
            build: partial[Any] = partial(own_class, own, *model_args, **init_arguments)
            model, checkpoint = _meta_model_and_weights(build, own, checkpoint, has_classes)
            found = materialize(model, checkpoint, device, own.dtype, ignore_mismatched_sizes, allow_nan, build)
            if own.quantization_config is not None:
                model.requires_grad_(False)
            if model.can_generate() and state_dict is None:
                model.generation_config = GenerationConfig.of_folder(checkpoint.path.parent) or model.generation_config
            return model.eval(), found

        model, found = read_consistently(place.folder, load) if place.folder is not None else load()
        report(f"{cls.__name__} from {place.name_or_path or 'a state_dict'!r}", found)
        return (model, _loading_info(found)) if output_loading_info else model

    @classmethod
    def _from_config(
        cls,
        config: BertConfig,
        *,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        attn_implementation: str | None = None,
        trust_remote_code: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a model of this class with new weights; arguments are written into ``config``, as in the reference.

        Args:
            config: the model's config.
            dtype: dtype of the model; None: float32; ``"auto"``: the config's.
            torch_dtype, attn_implementation, trust_remote_code: as in ``from_pretrained``.
            kwargs: further arguments of the class's ``__init__``, such as ``add_pooling_layer``.

        Raises:
            ConfigError: it is the config of another kind of model.
            InputError, InputTypeError: an argument is out of range, or the class has no such argument.
        """
        del trust_remote_code  # nothing is loaded from a folder
        if not isinstance(config, BertConfig):
            raise ConfigError(f"{cls.__name__} is made from a BertConfig, not from {type(config).__name__}.")
        if attn_implementation is not None:
            config._attn_implementation = check_attention(attn_implementation)
        asked = torch_dtype if dtype is None else dtype
        config.dtype = torch.float32 if asked is None else _checked_dtype(asked) or config.dtype or torch.float32
        _refuse_unknown(cls, kwargs)
        made: Any = cls
        return made(config, **kwargs).to(config.dtype)


def _meta_model_and_weights(
    build: "partial[Any]", config: BertConfig, checkpoint: Checkpoint, has_classes: bool
) -> tuple[Any, Checkpoint]:
    """Return a meta model with the layers and classes that the weights require, and the weights under its names.

    ``has_classes``: whether the caller has specified the classes.
    """
    model = meta_model(build)
    checkpoint = checkpoint.unwrapped(dict(model.named_parameters()))
    checkpoint = checkpoint.in_bert_names(config.family, architecture_of(type(model)))
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    source = f"{type(model).__name__} from {config.name_or_path!r}"
    if not has_classes and hasattr(config, "id2label") and correct_classes(config, shapes, checkpoint, source):
        model = meta_model(build)
    if config.quantization_config is not None:
        place_int8(model, checkpoint)
    return model, checkpoint


def _source(name_or_path: str | os.PathLike[str] | None, config: Any, state_dict: Any) -> str:
    """Return the name of the model to load; empty if config and weights are given instead."""
    if state_dict is None:
        return path_or_name(name_or_path)
    if name_or_path is not None:
        raise InputError("There are two sources of weights; give either the model's folder or name, or a state_dict.")
    if config is None:
        raise InputError("A state_dict does not describe the model; give its config too, config=….")
    return ""


def _opener(
    source: str,
    state_dict: Any,
    variant: str | None,
    use_safetensors: bool | None,
    from_tf: bool,
    from_flax: bool,
) -> tuple[str, Callable[[Place], Checkpoint]]:
    """Return the model's folder or name, and the function that opens its weights."""
    if sum((bool(from_tf), bool(from_flax), state_dict is not None, use_safetensors is True)) > 1:
        raise InputError(
            "from_tf, from_flax, use_safetensors and state_dict each select the weights; give only one of them."
        )
    if state_dict is not None:
        return source, lambda _: checkpoint_of(state_dict)
    if not from_tf and not from_flax:
        return source, lambda place: open_weights(place, variant, use_safetensors)
    from bertie.checkpoints.foreign_weights import folder_and_index, open_foreign

    folder, index = folder_and_index(source) if from_tf else (source, None)
    return folder, partial(open_foreign, library="tf" if from_tf else "flax", index=index)


def one_device(asked: Device | Mapping[str, Device] | None, name: str = "device_map") -> torch.device:
    """Return the one device for the whole model that the argument ``name`` requests (None, below 0: the CPU)."""
    if isinstance(asked, Mapping):
        devices = {str(one_device(device, name)) for device in asked.values()}
        if len(devices) != 1:
            raise InputError(f"{name} names {len(devices)} devices; a bertie model is on one: {name}='cuda:0'")
        return torch.device(devices.pop())
    if asked in ("auto", "balanced", "balanced_low_0", "sequential"):
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(asked, int) and not isinstance(asked, bool):
        asked = f"cuda:{asked}" if asked >= 0 else "cpu"
    try:
        device = torch.device("cpu" if asked is None else asked)
    except (RuntimeError, TypeError):
        raise InputError(
            f"{name} is {asked!r}; allowed: one device such as 'cpu', 'cuda:0' or 'auto', or its number"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{name} is {str(asked)!r}, but this machine has {torch.cuda.device_count()} CUDA devices")
    if device.type == "meta" and name == "device":  # the device of a computation
        raise InputError(f"{name} is 'meta', which holds no values; give 'cpu', 'cuda:0' or 'auto'")
    if device.type not in ("cpu", "cuda", "meta"):
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError):
            raise InputError(f"{name} is {str(asked)!r}, which this machine or its PyTorch does not have") from None
    return device


def _config(cls: type[Any], place: Place, config: Any, fields: dict[str, Any]) -> tuple[BertConfig, dict[str, Any]]:
    """Return a new config with the requested changes, and the arguments for ``__init__``.

    A config object that was passed is not changed.
    """
    config_class: Any = cls.config_class  # Any: with return_unused_kwargs it returns pairs
    made: BertConfig
    unknown: dict[str, Any]
    if config is None or isinstance(config, str | os.PathLike):
        source = place.name_or_path if config is None else config
        made, unknown = config_class.from_pretrained(
            source, return_unused_kwargs=True, **(place.arguments if config is None else {}), **fields
        )
    elif hasattr(config, "to_dict"):
        # as in the reference, a config object is complete: arguments of __init__ are not its fields
        own = {name: fields[name] for name in inspect.signature(cls.__init__).parameters if name in fields}
        others = {name: value for name, value in fields.items() if name not in own}
        made, unknown = config_class.from_dict(config.to_dict(), return_unused_kwargs=True, **others)
        unknown |= own
        made._attn_implementation = config._attn_implementation
    else:
        raise InputTypeError(f"config is {type(config).__name__}; allowed: a BertConfig, or the name or path of one")
    _refuse_unknown(cls, unknown)
    check_declaration(made.quantization_config, place.name_or_path)
    return made, unknown


def _refuse_unknown(cls: type[Any], arguments: dict[str, Any]) -> None:
    """Raise InputTypeError for arguments that neither the config nor ``__init__`` knows; drop those that are None."""
    taken = inspect.signature(cls.__init__).parameters
    if any(each.kind == each.VAR_KEYWORD for each in taken.values()):
        return
    for name in [name for name in arguments if name not in taken]:
        if arguments.pop(name) is None:
            continue
        known = {
            *inspect.signature(Loading.from_pretrained).parameters,
            *inspect.signature(cls.config_class).parameters,
            *taken,
        }
        hint = nearest(name, sorted(known - {"cls", "self", "kwargs", "model_args", "unknown"}))
        raise InputTypeError(
            f"{cls.__name__}.from_pretrained has no argument, and its config no field, {name!r}.{hint}"
        )


def check_attention(name: str) -> str:
    """Return ``name`` if it is an attention implementation."""
    if name not in ATTENTION:
        raise InputError(
            f"attn_implementation is {name!r}; allowed: {', '.join(ATTENTION)}.{nearest(str(name), ATTENTION)}"
        )
    return name


def _dtype_of_model(asked: torch.dtype | str | None, checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    stored: torch.dtype = getattr(torch, main_dtype(list(checkpoint.infos.values())))
    if asked is None:
        # half precision is up to ten times slower than float32 on a CPU
        return torch.float32 if device.type == "cpu" and stored in _HALF else stored
    target = _checked_dtype(asked) or stored
    if device.type == "cpu" and target in _HALF and not (target == torch.bfloat16 and chip().bf16):
        say_once(f"{target} is slower than torch.float32 on {chip()}; load with dtype=torch.float32 for speed")
    return target


def _checked_dtype(asked: torch.dtype | str) -> torch.dtype | None:
    """Return a dtype given as such or by name; None for ``"auto"``."""
    if asked == "auto":
        return None
    name = dtype_name(asked)
    if not isinstance(asked, str | torch.dtype) or name not in FLOATS:
        raise InputError(f"dtype is {asked!r}; allowed: {', '.join(FLOATS)}, 'auto' or None")
    return getattr(torch, name)


def _loading_info(found: Fit) -> dict[str, Any]:
    return {
        "missing_keys": set(found.missing),
        "unexpected_keys": set(found.unexpected),
        "mismatched_keys": set(found.mismatched),
        "error_msgs": [],
    }
