"""Bytes ⇄ tensors: reading untrusted model folders of several formats, and writing them atomically."""

from bertie.checkpoints.fitting import Fit, fit, main_dtype, other_classes, untied
from bertie.checkpoints.folder import Checkpoint, checkpoint_of, open_checkpoint, weight_files
from bertie.checkpoints.tensors import TensorInfo
from bertie.checkpoints.writing import write_checkpoint

__all__ = [
    "Checkpoint",
    "Fit",
    "TensorInfo",
    "checkpoint_of",
    "fit",
    "main_dtype",
    "open_checkpoint",
    "other_classes",
    "untied",
    "weight_files",
    "write_checkpoint",
]
