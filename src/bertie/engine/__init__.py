"""The engine: CPU inference with NumPy arrays and bertie's own kernels, without PyTorch."""

from bertie.engine.engine import Engine

__all__ = ["Engine"]
