"""Labelled rows for a command: which column holds what, and what labels are called."""

from bertie.errors import InputError


def columns_of(pairs: list[str] | None, **named: str | None) -> dict[str, str | list[str]] | None:
    """Return role → column from ``ROLE=NAME`` texts and from options of their own; a role named twice has a list.

    Raises:
        InputError: a text without ``=``.
    """
    found: dict[str, str | list[str]] = {role: column for role, column in named.items() if column is not None}
    for pair in pairs or []:
        role, equals, column = pair.partition("=")
        if not equals:
            raise InputError(f"--column is {pair!r}; write ROLE=NAME, such as text=Body.")
        before = found.get(role)
        if before is None:
            found[role] = column
        else:
            found[role] = [*([before] if isinstance(before, str) else before), column]
    return found or None


def one_or_all(paths: list[str]) -> str | list[str]:
    """Return the only path, or the list of several."""
    return paths[0] if len(paths) == 1 else paths


def names_of(names: str | None) -> list[str] | None:
    """Return the names in ``NAME,NAME``."""
    return None if names is None else [name.strip() for name in names.split(",")]


def map_of(pairs: list[str] | None) -> dict[str, str] | None:
    """Return label → name from ``WRITTEN=NAME`` texts.

    Raises:
        InputError: a text without ``=``.
    """
    if pairs is None:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"--label-map is {pair!r}; write WRITTEN=NAME, such as 1=spam.")
    return {written: name for written, _, name in (pair.partition("=") for pair in pairs)}
