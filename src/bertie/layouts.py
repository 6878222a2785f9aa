"""Recognises folders and hub repositories that bertie cannot read a model from, and says what to do with them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertie.hub import listing


@dataclass(frozen=True)
class Layout:
    """A kind of folder, recognised by a file that matches one of ``patterns``."""

    patterns: tuple[str, ...]
    description: str
    advice: str  # {names} is replaced by the names of subfolders
    without: tuple[str, ...] = ()  # patterns of files that such a folder does not have


_CONVERT = "convert it once, bertie convert FOLDER OUT, or load it as it is with from_pretrained(FOLDER, {flag}=True)"
_OTHER_PROGRAM = "fetch model.safetensors or pytorch_model.bin of the same model, from which it was made"
# the first match is reported; weights that can be converted come before other programs' files made from them
LAYOUTS = (
    Layout(
        ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"),
        "part of a peft adapter, which changes a model but is not one",
        "give a folder that has both adapter_config.json and adapter_model.safetensors",
    ),
    Layout(
        ("*.ckpt*.index", "*.ckpt*.meta", "*.ckpt*.data-*"),
        "a checkpoint of Google's TensorFlow 1 code",
        _CONVERT.format(flag="from_tf"),
    ),
    Layout(
        ("tf_model.h5", "tf_model.h5.index.json", "tf_model-*.h5"), "weights of Keras", _CONVERT.format(flag="from_tf")
    ),
    Layout(
        ("flax_model.msgpack", "flax_model.msgpack.index.json", "flax_model-*.msgpack"),
        "weights of Flax",
        _CONVERT.format(flag="from_flax"),
    ),
    Layout(("*.ot",), "weights for rust-bert", _OTHER_PROGRAM),
    Layout(("saved_model.pb", "*/saved_model.pb"), "a TensorFlow SavedModel, made for serving", _OTHER_PROGRAM),
    Layout(("openvino_model.*", "*/openvino_model*"), "a model for OpenVINO", _OTHER_PROGRAM),
    Layout(("*.onnx", "*/*.onnx"), "a model for ONNX Runtime", _OTHER_PROGRAM),
    Layout(("*.gguf", "ggml-*", "*/*.gguf"), "weights for llama.cpp", _OTHER_PROGRAM),
    Layout(("*.mlmodel", "*.mlpackage", "coreml/*"), "a model for Core ML", _OTHER_PROGRAM),
    Layout(
        ("*.ckpt", "*.pt", "*.pth", "*.pkl", "*.joblib", "*.npz", "*.npy", "*.h5", "*.keras", "*.msgpack"),
        "a file saved by some other program",
        "load it there, and save the state dict with safetensors.torch.save_file as model.safetensors",
    ),
    Layout(("*.7z", "*.zip", "*.tar", "*.tar.gz", "*.tgz"), "an archive", "unpack it first"),
    Layout(
        ("modules.json",),
        "of sentence-transformers, and without config.json it names a table of vectors (StaticEmbedding)",
        "embed and search with it, or give the model that it was made from",
        without=("config.json", "*_Pooling/*"),
    ),
    Layout(("checkpoint-*/config.json",), "part of a training run's checkpoint", "give one of them: {names}"),
    # not the modules of sentence-transformers, such as 1_Pooling
    Layout(("[!0-9]*/config.json",), "part of a model in a subfolder", "give one of them: {names}"),
)


def describe_files(names: Iterable[str]) -> str:
    """Return what files with these names are and what to do, as the end of a sentence; empty if that is unknown."""
    names = list(names)
    if not names:
        return "it is empty"
    for layout in LAYOUTS:
        matches = [name for pattern in layout.patterns for name in names if fnmatchcase(name, pattern)]
        if matches and not any(fnmatchcase(name, pattern) for pattern in layout.without for name in names):
            folders = sorted({name.rpartition("/")[0] for name in matches if "/" in name}, key=_number)
            advice = layout.advice.replace("{names}", ", ".join(folders[-4:]))
            return f"{matches[0]!r:.200} is {layout.description}: {advice}"
    return ""


def describe_folder(name_or_path: str | os.PathLike[str], folder: Path, **place: Any) -> str:
    """`describe_files` for a model's folder, or its repository on the hub (``place``: arguments of `hub.resolve`)."""
    return describe_files(listing(name_or_path, folder, **place))


def _number(folder: str) -> tuple[int, str]:
    digits = folder.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() and len(digits) < 12 else 0), folder
