"""Every engine once: its name, the packages it needs, what it can do, and why it cannot run here."""

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bertie.errors import InputError, nearest, plural
from comparison.engines.converting import once
from comparison.job import Job
from comparison.machine import has_bf16
from comparison.workload import Workload

Run = Callable[[Sequence[str]], Any]


@dataclass(frozen=True)
class Engine:
    """One way to run a workload.

    Attributes:
        name: what tables call it.
        opens: ``module:function`` in this package, imported only in the engine's own process.
        packages: what must be installed, by the names of distributions; the first is the engine's own.
        tasks: what it can do.
        precision: "fp32", "bf16" or "int8", for the check of its answers.
        options: arguments of the function.
        converts: ``module:function`` that writes the model in the engine's format; empty if it needs none.
        cuda: whether it runs on CUDA devices too.
        compiles: whether it needs a C++ compiler.
    """

    name: str
    opens: str
    packages: tuple[str, ...]
    tasks: tuple[str, ...] = ("embed", "classify")
    precision: str = "fp32"
    options: Mapping[str, Any] = field(default_factory=dict)
    converts: str = ""
    cuda: bool = False
    compiles: bool = False

    @property
    def is_bertie(self) -> bool:
        return self.packages[0] == "bertie"

    @property
    def versions(self) -> str:
        return ", ".join(f"{name} {version(name)}" for name in self.packages)

    def why_not(self, workload: Workload, device: str) -> str:
        """Return one sentence on why the engine cannot run this workload here; empty if it can."""
        missing = [name for name in self.packages if not _is_installed(name)]
        if workload.task not in self.tasks:
            return _CANNOT[workload.task]
        if missing:
            return f"{' and '.join(missing)} {plural(len(missing), 'is', 'are')} not installed."
        if device != "cpu" and not self.cuda:
            return "Measured on the CPU only."
        if self.precision == "bf16" and not has_bf16(device):
            return "This chip does not multiply bf16 by itself."
        if self.compiles and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            return "torch.compile needs a C++ compiler, and there is none."
        return self._why_no_answers(workload)

    def _why_no_answers(self, workload: Workload) -> str:
        """Return why it would give other answers than the others."""
        knows_recipes = self.is_bertie or self.packages[0] == "sentence-transformers"
        if workload.task == "embed" and workload.pooling not in ("mean", "cls") and not knows_recipes:
            return f"Run with mean or [CLS] pooling only, and this model asks for {workload.pooling}."
        if self.options.get("quantize"):
            import bertie

            if not hasattr(bertie, "quantize"):
                return "This version of bertie has no bertie.quantize."
        return ""

    def load(self, job: Job) -> Run:
        """Return the function from texts to answers, with everything imported and loaded."""
        run: Run = _function(self.opens)(job, **self.options)
        return run

    def convert(self, job: Job) -> None:
        """Write the model in the engine's own format, unless that has been done before with the same versions."""
        # bertie's own code changes without its version: its files are made anew
        if self.is_bertie:
            shutil.rmtree(job.converted, ignore_errors=True)
        once(job.converted, lambda folder: _function(self.converts)(job, folder, **self.options))


def _engine(name: str, opens: str, packages: str, **fields: Any) -> Engine:
    return Engine(name, opens, tuple(packages.split()), **fields)


_ALL = ("embed", "classify", "train")
_EXPORT = "torch transformers"
_CANNOT = {
    "embed": "Makes no vectors.",
    "classify": "Does not classify.",
    "train": "Does not train.",
    "tokenize": "Has no tokenizer of its own.",
}
ENGINES = (
    _engine(
        "transformers", "hugging_face:open", "transformers torch", tasks=_ALL, options={"order": "given"}, cuda=True
    ),
    _engine(
        "transformers sorted",
        "hugging_face:open",
        "transformers torch",
        tasks=_ALL,
        options={"order": "sorted"},
        cuda=True,
    ),
    _engine(
        "transformers compiled",
        "hugging_face:open",
        "transformers torch",
        tasks=_ALL,
        options={"order": "sorted", "compiled": True},
        cuda=True,
        compiles=True,
    ),
    _engine(
        "transformers bf16",
        "hugging_face:open",
        "transformers torch",
        precision="bf16",
        options={"order": "sorted", "dtype": "bfloat16"},
        cuda=True,
    ),
    _engine(
        "sentence-transformers",
        "sentences:open",
        "sentence-transformers transformers torch",
        tasks=("embed",),
        cuda=True,
    ),
    _engine("ONNX Runtime fp32", "onnx_runtime:open", f"onnxruntime onnx {_EXPORT}", converts="onnx_runtime:convert"),
    _engine(
        "ONNX Runtime int8",
        "onnx_runtime:open",
        f"onnxruntime onnx {_EXPORT}",
        precision="int8",
        options={"quantized": True},
        converts="onnx_runtime:convert",
    ),
    _engine(
        "OpenVINO fp32",
        "open_vino:open",
        f"openvino {_EXPORT}",
        options={"precision": "f32"},
        converts="open_vino:convert",
    ),
    _engine(
        "OpenVINO bf16",
        "open_vino:open",
        f"openvino {_EXPORT}",
        precision="bf16",
        options={"precision": "bf16"},
        converts="open_vino:convert",
    ),
    _engine(
        "OpenVINO int8",
        "open_vino:open",
        f"openvino nncf {_EXPORT}",
        precision="int8",
        options={"precision": "f32", "quantized": True},
        converts="open_vino:convert",
    ),
    _engine(
        "CTranslate2 fp32",
        "ctranslate:open",
        f"ctranslate2 {_EXPORT}",
        options={"compute_type": "float32"},
        converts="ctranslate:convert",
    ),
    _engine(
        "CTranslate2 int8",
        "ctranslate:open",
        f"ctranslate2 {_EXPORT}",
        precision="int8",
        options={"compute_type": "int8_float32"},
        converts="ctranslate:convert",
    ),
    _engine("tokenizers", "tokenizing:open_tokenizers", "tokenizers", tasks=("tokenize",)),
    _engine("transformers fast", "tokenizing:open_transformers", "transformers tokenizers", tasks=("tokenize",)),
    _engine("bertie", "ours:open", "bertie torch", tasks=(*_ALL, "tokenize"), cuda=True),
    _engine("bertie bf16", "ours:open", "bertie torch", precision="bf16", options={"dtype": "bfloat16"}, cuda=True),
    _engine(
        "bertie int8",
        "ours:open",
        "bertie torch",
        precision="int8",
        options={"quantize": True},
        converts="ours_training:quantize",
    ),
)
NAMES = tuple(engine.name for engine in ENGINES)


def find(name: str) -> Engine:
    """Return the engine of this name.

    Raises:
        InputError: there is none.
    """
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise InputError(f"There is no engine {name!r}; the engines are {', '.join(NAMES)}.{nearest(name, NAMES)}")


def chosen(asked: Sequence[str]) -> tuple[Engine, ...]:
    """Return the engines that ``asked`` names, or fits as a pattern ("OpenVINO*"); all if nothing is asked for.

    Raises:
        InputError: a name or pattern that fits no engine.
    """
    fitting = {name: [one.name for one in ENGINES if fnmatch(one.name.lower(), name.strip().lower())] for name in asked}
    for name, found in fitting.items():
        if not found:
            find(name)
    wanted = {name for found in fitting.values() for name in found}
    return tuple(one for one in ENGINES if one.name in wanted) if asked else ENGINES


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def _function(where: str) -> Any:
    module, name = where.split(":")
    return getattr(importlib.import_module(f"comparison.engines.{module}"), name)
