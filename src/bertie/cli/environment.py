"""``bertie env`` and ``bertie version``: what a bug report needs about the machine and the installed packages."""

import json

import bertie
from bertie.cli import options
from bertie.messages import printable


def version() -> None:
    """Show the version."""
    print(f"bertie {bertie.__version__}")


def env(as_json: options.AsJson = False) -> None:
    """Show versions, processor, kernels, memory and GPU, to be copied into bug reports."""
    from bertie.machine import describe

    found = describe()
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        print(printable(f"{name:<12} {value}"))
