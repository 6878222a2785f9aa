"""The engine: answers on a CPU from NumPy arrays and bertie's own kernels, without PyTorch."""

from bertie.engine.engine import Engine

__all__ = ["Engine"]
