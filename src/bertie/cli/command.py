"""bertie's command class: Typer's, with errors that name options as the user types them."""

import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from bertie.errors import InputError, closest, spelling
from bertie.extras import refuse_without_torch
from bertie.messages import printable

# names of the same option in other commands and programs; those without hyphens are arguments
_SYNONYMS = (
    ("--test", "--test-file"),
    ("--input", "--data", "--train", "file", "-i", "--file", "--train-file", "--test-file", "--dataset"),
    ("--output", "--predictions", "--out", "-o", "--output-dir", "--save"),
    ("--dev", "--eval", "--valid", "--validation-file"),
    ("--column", "--text-column", "--text-pair-column", "--pair-column", "--label-column", "--question-column")
    + ("--context-column",),
    ("--max-length", "--max-seq-length", "--max-len"),
    ("--model", "model", "models", "teacher", "first", "--model-name-or-path", "--checkpoint"),
    ("texts", "--prompt"),
    ("--epochs", "--num-epochs", "--num-train-epochs", "--steps", "--max-steps"),
    ("--batch-size", "--batch-tokens", "--per-device-train-batch-size"),
    ("--kind", "--problem-type"),
    ("--to", "--output-format"),
)
# options that name a command's input
_INPUT_OPTIONS = ("--train", "--data", "--texts", "--input")
# options with another name in Python
_OPTIONS = {"columns": "--column", "form": "--format", "candidate_labels": "--labels"}


class Command(TyperCommand):
    """A command that refuses repeated options, of which only the last would count, and suggests the right names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Click does, but refuse unknown and repeated options with our own messages."""
        if not ctx.resilient_parsing:
            try:
                # the parser consumes its list
                _, rest, order = self.make_parser(ctx).parse_args(list(args))
            except Exception as error:
                # the class of this error is private in Typer's own copy of Click
                if (option := getattr(error, "option_name", None)) is None or not hasattr(error, "possibilities"):
                    raise
                raise InputError(self._unknown(option)) from error
            if rest and all(parameter.name != "help" for parameter in order):
                raise InputError(self._superfluous(rest[0], [parameter.name for parameter in order]))
            given = Counter(parameter.name for parameter in order)
            for parameter in self.params:
                if given[parameter.name] > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                    option = max(parameter.opts, key=len)
                    raise InputError(
                        f"{option} is given {given[parameter.name]} times but takes one value; give it once."
                    )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; if a signal stops it, print what it has kept, where Typer would exit silently."""
        try:
            with spelling(self.spell):
                return super().invoke(ctx)
        except ImportError as error:
            refuse_without_torch(error, f"bertie {self.name}")
            raise
        except KeyboardInterrupt as stopped:
            if str(stopped):
                print(f"bertie: {printable(str(stopped))}", file=sys.stderr)
            raise typer.Exit(getattr(stopped, "exit_code", 130)) from stopped

    def spell(self, name: str, value: Any = ...) -> str:
        """Return a Python argument as this command's option: ``--windows``, ``--set warmup=0.2``."""
        if isinstance(value, dict):
            pairs = ((role, ",".join(one) if isinstance(one, list) else one) for role, one in value.items())
            return " ".join(self.spell(name, f"{role}={one}") for role, one in pairs)
        option = _OPTIONS.get(name) or self._option(name)
        if option is None:
            from bertie.settings import describe_settings

            option = f"--{'set' if name in describe_settings() else 'option'} {name}"
            return option if value is ... else f"{option}={value}"
        if isinstance(value, list):
            value = ",".join(value)
        if value is ... or value is True:
            return option
        return option.replace("--", "--no-", 1) if value is False else f"{option} {value}"

    def _option(self, name: str) -> str | None:
        found = next((one for one in self.params if one.name == name), None)
        options = [] if found is None else [*found.opts, "--" + name.replace("_", "-")]
        return next((option for option in options if option.startswith("--")), None)

    def _superfluous(self, argument: str, given: Collection[str | None]) -> str:
        """Return the error message for one argument too many, beside those ``given``."""
        unused = [option for one in self.params if one.name not in given for option in one.opts]
        place = Path(argument)
        if (place / "config.json").exists():
            candidates: Collection[str] = ("--model",)
        else:
            candidates = _INPUT_OPTIONS if place.suffix or place.exists() else ("--out", *_INPUT_OPTIONS)
        options = [option for option in candidates if option in unused]
        hint = f"did you mean {options[0]} {argument}?" if options else f"bertie {self.name} -h lists what it takes."
        return f"bertie {self.name} has no place for {argument!r}; {hint}"

    def _unknown(self, option: str) -> str:
        """Return the error message for an unknown option, with the one that is probably meant."""
        arguments = {str(one.name): one.metavar or one.name for one in self._of_kind("argument")}
        known = [*(name for one in self._of_kind("option") for name in one.opts), *arguments]
        synonym = next((name for group in _SYNONYMS if option in group for name in group if name in known), None)
        meant = synonym or closest(option, known)
        if meant in arguments:
            words = " ".join(map(str.upper, arguments.values()))
            hint = f"Give {arguments[meant].upper()} without an option: bertie {self.name} {words}."
        else:
            hint = f"bertie {self.name} -h lists all." if meant is None else f"Did you mean {meant!r}?"
        return f"bertie {self.name} has no option {option}. {hint}"

    def _of_kind(self, kind: str) -> list[Any]:
        return [one for one in self.params if one.param_type_name == kind]
