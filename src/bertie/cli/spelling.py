"""How the command line writes an option that a message names: by the options that the running command has."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_type_hints

from bertie.errors import Spelling

# Python's names of what the command line takes one at a time, or calls otherwise
_OTHERWISE = {"columns": "--column", "form": "--format"}


def spelling_of(command: Callable[..., None]) -> Spelling:
    """Return what writes options as this command takes them: ``--windows``, ``--set warmup=0.2``."""
    options = dict(_OTHERWISE)
    for name, hint in get_type_hints(command, include_extras=True).items():
        # of an annotation, Typer keeps the first name as the default
        infos = getattr(hint, "__metadata__", ())
        named = [
            one for info in infos for one in (info.default, *(info.param_decls or ())) if str(one).startswith("--")
        ]
        options[name] = named[0].partition("/")[0] if named else "--" + name.replace("_", "-")
    return partial(_written, options)


def _written(options: Mapping[str, str], name: str, value: Any = ...) -> str:
    if isinstance(value, dict):
        pairs = ((role, ",".join(one) if isinstance(one, list) else one) for role, one in value.items())
        return " ".join(_written(options, name, f"{role}={one}") for role, one in pairs)
    option = options.get(name)
    if option is None:
        from bertie.settings import describe_settings

        option = f"--{'set' if name in describe_settings() else 'option'} {name}"
        return option if value is ... else f"{option}={value}"
    if isinstance(value, list):
        value = ",".join(value)
    if value is ... or value is True:
        return option
    return option.replace("--", "--no-", 1) if value is False else f"{option} {value}"
