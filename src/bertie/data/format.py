"""The format of a file, as far as the user states it; readers guess the rest."""

import dataclasses
from dataclasses import dataclass

from bertie.errors import InputError, nearest

QUOTING = ("csv", "none")


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a file. None is inferred from its name and content."""

    name: str | None = None  # one of `bertie.data.FORMS`
    delimiter: str | None = None  # one character between the columns of a table; "tab" means a tab
    encoding: str | None = None  # one that Python knows, such as cp1252
    quoting: str | None = None  # of a table: csv, or none if quotation marks are text

    def __post_init__(self) -> None:
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise InputError(
                f"The delimiter is {self.delimiter!r}; it must be one character, such as '|', ';' or 'tab'."
            )
        if self.quoting not in (None, *QUOTING):
            raise InputError(
                f"quoting is {self.quoting!r}; it must be 'csv' or 'none'.{nearest(str(self.quoting), QUOTING)}"
            )
        try:
            # a codec of bytes, such as base64, is not a text encoding
            "".encode(self.encoding or "utf-8")
        except (LookupError, ValueError):
            raise InputError(
                f"There is no encoding {self.encoding!r}; common ones are utf-8, utf-16, cp1252, latin-1, cp1251 and "
                "shift_jis."
            ) from None

    @classmethod
    def of(cls, form: "str | Format | None") -> "Format":
        """Return ``form`` itself, or a format of that name."""
        return form if isinstance(form, Format) else cls(form)

    def said(self) -> str | dict[str, str] | None:
        """Return the format as a JSON value: its name alone where nothing else is given."""
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return given if set(given) - {"name"} else self.name
