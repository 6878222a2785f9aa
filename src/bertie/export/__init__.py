"""Models as other programs run them: a graph of ONNX with all that the checkpoint's head does."""

from bertie.export.exporting import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
