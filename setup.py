"""Compiles bertie's kernels where machine and compiler take them, and puts the default model into the package.

No installation fails for the kernels' sake. All else about the package is in pyproject.toml.
"""

import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError, LinkError

CSRC = Path("src/bertie/kernels/csrc")
# the repository's copy, which is used where it lies when bertie runs from a checkout
MODEL = Path("models/bertie-mini-uncased")
# whether one wheel serves every version of Python: not those without a lock, which setuptools refuses
HAS_STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-ffp-contract=off"]
# the file of each instruction set, and what has a compiler emit it; which of them run is decided where they run
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
X86 = {"avx2.c": ["-mavx2", "-mfma"], "avx512.c": AVX512, "avx512vnni.c": [*AVX512, "-mavx512vnni"]}
ARM = {"neon.c": [], "neondot.c": ["-march=armv8.2-a+dotprod"]}
# they need no instruction set
EVERYWHERE: dict[str, list[str]] = {"checksum.c": [], "cpu_features.c": [], "wordpiece.c": []}
# Windows is not among them: its own compiler takes no C of gcc and clang, and its `long` has 32 bits
MACHINES = {
    "linux-x86_64": X86,
    "linux-aarch64": ARM,
    "macosx-x86_64": X86,
    "macosx-arm64": ARM,
    "macosx-universal2": X86 | ARM,
}


def instruction_sets(platform: str) -> dict[str, list[str]]:
    """Return each file of kernels for a platform such as "linux-x86_64" or "macosx-11.0-arm64", with its flags."""
    system, _, rest = platform.partition("-")
    machine = rest.rpartition("-")[2]
    found = MACHINES.get(f"{system}-{machine}", {})
    if machine != "universal2":
        return found
    # each file is compiled for both processors; the other's flags are none of the one's
    return {
        name: [part for flag in flags for part in ("-Xarch_x86_64" if name in X86 else "-Xarch_arm64", flag)]
        for name, flags in found.items()
    }


class BuildKernels(build_ext):
    """A library for `ctypes`, which calls nothing of Python."""

    def build_extension(self, ext: Extension) -> None:
        """Compile it with OpenMP or, where there is none, for one thread a call."""
        if sys.platform == "darwin":  # which has none, and ends a process that brings one beside PyTorch's
            self._compile(ext)
            return
        try:
            self._compile(ext, "-fopenmp")
        except (CompileError, LinkError):
            self._compile(ext)

    def _compile(self, ext: Extension, *openmp: str) -> None:
        flags = EVERYWHERE | instruction_sets(self.plat_name)
        objects = [
            each
            for name, own in flags.items()
            for each in self.compiler.compile(
                [str(CSRC / name)], self.build_temp, extra_postargs=[*FLAGS, *openmp, *own], depends=ext.depends
            )
        ]
        self.compiler.link_shared_object(objects, self.get_ext_fullpath(ext.name), extra_postargs=[*openmp])


class BuildPackage(build_py):
    """The package, with the default model beside its modules."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_tree(str(MODEL), str(Path(self.build_lib, "bertie", MODEL.name)))


def kernels(platform: str) -> list[Extension]:
    """Return what is compiled for a platform: one library, or nothing."""
    names = list(instruction_sets(platform))
    if not names:
        print(f"bertie's kernels are not compiled: there are none for {platform}", file=sys.stderr)
        return []
    sources = [str(CSRC / name) for name in (*EVERYWHERE, *names)]
    return [
        Extension(
            "bertie.kernels._kernels",
            sources,
            depends=sorted(map(str, CSRC.glob("*.h"))),
            optional=True,
            py_limited_api=HAS_STABLE_ABI,
        )
    ]


def wheel_options(platform: str) -> dict[str, str]:
    """Return what a wheel's name says: one with kernels serves many Pythons, one without them its platform alone."""
    if not instruction_sets(platform):
        return {"plat_name": platform}
    return {"py_limited_api": "cp311"} if HAS_STABLE_ABI else {}


if __name__ == "__main__":
    platform = sysconfig.get_platform()
    setup(
        ext_modules=kernels(platform),
        cmdclass={"build_ext": BuildKernels, "build_py": BuildPackage},
        options={"bdist_wheel": wheel_options(platform)},
    )
