"""Allowed values, declared once: one rule gives the check, the error message and the documentation."""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bertie.errors import InputError, nearest, spelled
from bertie.messages import short

_TYPES: dict[str, type | tuple[type, ...]] = {
    "true or false": bool,
    "string": str,
    "list": list,
    "mapping": dict,
    "string or mapping": (str, dict),
}


@dataclass(frozen=True)
class Rule:
    """The allowed values of a field: the check, their description, and the field's line in the documentation."""

    doc: str
    kind: str  # "integer", "number", "choice", "list of strings", "mapping of strings", or a key of _TYPES
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # low is exclusive
    choices: tuple[str, ...] = ()
    none: bool = False
    function: bool = False  # a callable is allowed too

    @property
    def allowed(self) -> str:
        """The allowed values in words, as errors and documentation print them."""
        words = {"choice": f"one of {', '.join(map(repr, self.choices))}", "true or false": self.kind}
        text = words.get(self.kind) or f"{'an' if self.kind == 'integer' else 'a'} {self.kind}{self._range}"
        return text + (" or a function" if self.function else "") + (" or None" if self.none else "")

    @property
    def _range(self) -> str:
        if self.kind not in ("integer", "number"):
            return ""
        if self.above:
            return f" above {self.low:g}" + ("" if self.high == math.inf else f" and at most {self.high:.12g}")
        return f" of at least {self.low:g}" if self.high == math.inf else f" from {self.low:g} to {self.high:.12g}"

    def allows(self, value: object) -> bool:
        """Whether ``value`` is allowed."""
        if value is None or callable(value):
            return self.none if value is None else self.function
        if self.kind in ("integer", "number"):
            return self._allows_number(value)
        if self.kind == "list of strings":
            return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
        if self.kind == "mapping of strings":
            return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        if self.kind == "choice":
            return isinstance(value, str) and value in self.choices
        return isinstance(value, _TYPES[self.kind])

    def nearest(self, value: object) -> str:
        """Return ``" Did you mean 'x'?"`` for a value close to one of the choices, or an empty string."""
        return nearest(value, self.choices) if isinstance(value, str) else ""

    def _allows_number(self, value: Any) -> bool:
        # a bool is not a number here; NaN fails every comparison
        if isinstance(value, bool) or not isinstance(
            value, numbers.Integral if self.kind == "integer" else numbers.Real
        ):
            return False
        try:
            number = float(value)
        except OverflowError:
            return False
        return (self.low < number if self.above else self.low <= number) and number <= self.high and number < math.inf


def check_values(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raise InputError for the first value that its rule does not allow."""
    for name, rule in rules.items():
        if name in values and not rule.allows(values[name]):
            hint = rule.nearest(values[name])
            raise InputError(f"{spelled(name)} is {short(values[name])}; allowed: {rule.allowed}.{hint}")
