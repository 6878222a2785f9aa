"""What lies in a folder, or under a name of the hub, that bertie reads no model from: recognised, with what to do."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bertie.hub import listing


@dataclass(frozen=True)
class Layout:
    """One way to lay out a folder, given away by a file that fits one of ``signs``."""

    signs: tuple[str, ...]
    what: str
    todo: str  # {names} is replaced by the files' names
    lacks: tuple[str, ...] = ()  # files of which it has none


_CONVERT = "convert it once, bertie convert FOLDER OUT, or load it as it is with from_pretrained(FOLDER, {flag}=True)"
_OTHER_PROGRAM = "fetch model.safetensors or pytorch_model.bin of the same model, from which it was made"
# the first that fits is reported; weights that can be converted come before programs made of them
LAYOUTS = (
    Layout(
        ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"),
        "a peft adapter's, which changes a model but is none",
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
    Layout(("saved_model.pb", "*/saved_model.pb"), "a SavedModel of TensorFlow, a program to serve", _OTHER_PROGRAM),
    Layout(("openvino_model.*", "*/openvino_model*"), "a program for OpenVINO", _OTHER_PROGRAM),
    Layout(("*.onnx", "*/*.onnx"), "a program for ONNX Runtime", _OTHER_PROGRAM),
    Layout(("*.gguf", "ggml-*", "*/*.gguf"), "weights for llama.cpp", _OTHER_PROGRAM),
    Layout(("*.mlmodel", "*.mlpackage", "coreml/*"), "a program for Core ML", _OTHER_PROGRAM),
    Layout(
        ("*.ckpt", "*.pt", "*.pth", "*.pkl", "*.joblib", "*.npz", "*.npy", "*.h5", "*.keras", "*.msgpack"),
        "what a program of someone's own saved",
        "load it there, and save the state dict with safetensors.torch.save_file as model.safetensors",
    ),
    Layout(("*.7z", "*.zip", "*.tar", "*.tar.gz", "*.tgz"), "an archive", "unpack it first"),
    Layout(
        ("modules.json",),
        "of sentence-transformers, and without config.json it names a table of vectors (StaticEmbedding)",
        "embed and search with it, or give the model that it was made from",
        lacks=("config.json", "*_Pooling/*"),
    ),
    Layout(("checkpoint-*/config.json",), "what a training kept on its way", "give one of them: {names}"),
    # not the modules of sentence-transformers, such as 1_Pooling
    Layout(("[!0-9]*/config.json",), "a model's in a folder of models", "give one of them: {names}"),
)


def recognised(names: Iterable[str]) -> str:
    """Return what these names of files are and what to do with it, as the end of a sentence; empty: nothing known."""
    names = list(names)
    if not names:
        return "it is empty"
    for layout in LAYOUTS:
        found = [name for sign in layout.signs for name in names if fnmatchcase(name, sign)]
        if found and not any(fnmatchcase(name, sign) for sign in layout.lacks for name in names):
            folders = sorted({name.rpartition("/")[0] for name in found if "/" in name}, key=_number)
            todo = layout.todo.replace("{names}", ", ".join(folders[-4:]))
            return f"{found[0]!r:.200} is {layout.what}: {todo}"
    return ""


def what_lies_there(name_or_path: str | os.PathLike[str], folder: Path, **place: Any) -> str:
    """As `recognised`, of a model's folder, or of its name in the hub (``place``: arguments of `hub.resolve`)."""
    return recognised(listing(name_or_path, folder, **place))


def _number(folder: str) -> tuple[int, str]:
    digits = folder.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() and len(digits) < 12 else 0), folder
