"""Whether the engine can run a pipeline, and if not, why: the model given, the device, the dtype, the files."""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from bertie.config import BertConfig
from bertie.engine import Engine
from bertie.errors import ConfigError, InputError, InputTypeError
from bertie.extras import missing, need
from bertie.kernels import library
from bertie.tasks.registry import Row

# arguments of from_pretrained that the engine has too, or that do not affect its results
_KNOWN = ("config", "variant", "force_download", "allow_nan", "trust_remote_code", "low_cpu_mem_usage", "dtype")


def engine_or_reason(
    row: Row, source: Any, device: Any, files: Mapping[str, Any], loading: Mapping[str, Any]
) -> Engine | str:
    """Return the engine of a model, or the reason why PyTorch must run it; arguments as for `load_task`."""
    if isinstance(source, Engine):
        if not is_cpu(device):
            raise InputError(f"device is {device!r}, but the given engine runs on the CPU.")
        _check_head(row, source)
        return source
    reason = why_not_engine(source, device, loading)
    if reason:
        return reason
    config = loading.get("config")
    if isinstance(config, str | os.PathLike):
        config = BertConfig.from_pretrained(config)
    more = {name: loading[name] for name in ("variant", "force_download", "allow_nan") if name in loading}
    try:
        return Engine.open(source, row.architecture, config=config, **files, **more)
    except ConfigError as error:
        if missing("torch", "torch"):
            raise
        return str(error)


def why_not_engine(source: Any, device: Any, loading: Mapping[str, Any]) -> str:
    """Return why the engine cannot run a model, or an empty text if nothing speaks against it; no file is read."""
    if not isinstance(source, str | os.PathLike):
        return "a PyTorch model was given, whose weights may change (bertie.optimize makes a snapshot of it)"
    if device is None and has_gpu_driver() and not missing("torch", "torch"):
        device = "cuda" if need("torch", "torch").cuda.is_available() else "cpu"
    if not is_cpu(device):
        return f"the device is {device!r}"
    if loading.get("dtype") not in (None, "float32") and str(loading["dtype"]) != "torch.float32":
        return f"the dtype is {loading['dtype']!s}"
    if (why := library.why_no_kernels()) and not missing("torch", "torch"):
        return f"PyTorch multiplies faster than NumPy, and {why}"
    others = [name for name, value in loading.items() if name not in _KNOWN and value is not None]
    return f"{others[0]} is for PyTorch models only" if others else ""


def _check_head(row: Row, engine: Engine) -> None:
    allowed = {row.architecture, *(("BertForPreTraining",) if row.head else ())}
    if row.architecture != "BertModel" and engine.architecture not in allowed:
        raise InputTypeError(
            f"{row.name!r} needs a {row.architecture}, but the engine runs a {engine.architecture}; open its "
            f"checkpoint with Engine.open(..., {row.architecture!r})."
        )


def is_cpu(device: Any) -> bool:
    """Whether a device, as `bertie.pipeline` takes it, is the CPU: None and negative numbers are, too."""
    if isinstance(device, int) and not isinstance(device, bool):
        return device < 0
    return device is None or str(device) == "cpu"


@lru_cache(maxsize=1)
def has_gpu_driver() -> bool:
    """Whether this machine may have a GPU that PyTorch can use; asking PyTorch itself takes seconds."""
    windows = f"{os.environ.get('SYSTEMROOT', '')}/System32/nvcuda.dll"
    return any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", windows))
