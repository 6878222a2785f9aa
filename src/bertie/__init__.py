"""bertie: BERT, whole and fast. The public names, imported when they are first used."""

import importlib
import sys
from typing import Any

__version__ = "0.1.0"


def _modules() -> dict[str, str]:
    """Return public name → module, read from the lines ``from module import name as name`` of ``__init__.pyi``."""
    with open(f"{__file__.removesuffix('c')}i", encoding="utf-8") as stub:
        lines = [line.split() for line in stub if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in lines}


_MODULE_OF = _modules()
__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        # from name and obj, Python suggests the closest name
        raise AttributeError(f"module 'bertie' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    try:
        module = importlib.import_module(_MODULE_OF[name])
    except ImportError as error:
        from bertie.extras import refuse_without_torch

        refuse_without_torch(error, f"bertie.{name}")
        raise
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
