"""A command of bertie's: as Typer's, and an option that takes one value is given once."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from bertie.errors import InputError


class Command(TyperCommand):
    """A command that refuses an option given twice, of which only the last value would count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parser of Click.

        Raises:
            InputError: naming an option that is given more than once.
        """
        if not ctx.resilient_parsing:
            # a parser takes the arguments out of its list
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            given = Counter(parameter.name for parameter in order)
            for parameter in self.params:
                if given[parameter.name] > 1 and parameter.param_type_name == "option" and not parameter.multiple:
                    option = max(parameter.opts, key=len)
                    raise InputError(
                        f"{option} is given {given[parameter.name]} times, and takes one value; give it once."
                    )
        return super().parse_args(ctx, args)
