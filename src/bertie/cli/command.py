"""A command of bertie's: as Typer's, and an option that takes one value is given once."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from bertie.errors import InputError, nearest

# what is called otherwise in other commands, or in other programs; a word without hyphens is an argument
_ALIKE = (
    ("--input", "--data", "--train", "file", "-i", "--file", "--train-file", "--test", "--test-file", "--dataset"),
    ("--output", "--predictions", "--out", "-o", "--output-dir", "--save"),
    ("--dev", "--eval", "--valid", "--validation-file"),
    ("--text-column", "--column", "--question-column"),
    ("--text-pair-column", "--pair-column", "--context-column"),
    ("--max-length", "--max-seq-length", "--max-len"),
    ("--model", "--model-name-or-path", "--checkpoint"),
    ("--epochs", "--num-epochs", "--num-train-epochs"),
    ("--batch-size", "--batch-tokens", "--per-device-train-batch-size"),
    ("--kind", "--problem-type"),
    ("--to", "--output-format"),
)


class Command(TyperCommand):
    """A command that refuses an option given twice, of which only the last value would count, and knows other names."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parser of Click.

        Raises:
            InputError: naming an option that is given more than once, or that there is not.
        """
        if not ctx.resilient_parsing:
            try:
                # a parser takes the arguments out of its list
                _, _, order = self.make_parser(ctx).parse_args(list(args))
            except Exception as error:
                # Typer's own copy of Click has the class of this error in a private place
                if (option := getattr(error, "option_name", None)) is None or not hasattr(error, "possibilities"):
                    raise
                raise InputError(self._unknown(option)) from error
            given = Counter(parameter.name for parameter in order)
            for parameter in self.params:
                if given[parameter.name] > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                    option = max(parameter.opts, key=len)
                    raise InputError(
                        f"{option} is given {given[parameter.name]} times, and takes one value; give it once."
                    )
        return super().parse_args(ctx, args)

    def _unknown(self, option: str) -> str:
        """Return the sentence that refuses an option, with the one that is probably meant."""
        known = [name for one in self.params for name in (one.opts if one.param_type_name == "option" else [one.name])]
        alike = next((group for group in _ALIKE if option in group), ())
        meant = next((name for name in alike if name in known), None)
        if meant == "file":
            hint = f" The file is named without an option: bertie {self.name} FILE."
        elif meant is not None:
            hint = f" Did you mean {meant!r}?"
        else:
            hint = nearest(option, known) or f" bertie {self.name} -h lists all."
        return f"bertie {self.name} has no option {option}.{hint}"
