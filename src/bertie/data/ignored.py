"""Columns that are not read though they look like data: a second text, more negatives, a label."""

from collections.abc import Mapping, Sequence
from typing import Any

from bertie.data.columns import JOINED, Columns
from bertie.data.roles import LABELS, LAYOUTS, NEGATIVE, are_flags, is_key, key
from bertie.errors import spelled


def ignored_data(task: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each ignored column that looks like data, with what would have it read."""
    found = []
    for name in columns.ignored:
        cells = [row.get(name) for row in rows]
        if is_key(name):
            continue
        if "positive" in columns.found and NEGATIVE.fullmatch(key(name)):
            found.append(_negative(name, "negative" in columns.found))
        elif _looks_like_label(task, name, cells):
            how = spelled("columns", {_label_of(task): name})
            found.append(f"The column {name!r} looks like a label and is not read; {how} takes it for the label.")
        elif (role := _text_of(task, columns)) is not None and _looks_like_text(cells):
            how = spelled("columns", {role: _joined(name, columns.found[role], rows)})
            found.append(f"The column {name!r} holds texts and is not read; {how} reads both.")
    return found


def _negative(name: str, is_more: bool) -> str:
    if is_more:
        return f"The column {name!r} looks like more negatives and is not read: a row has one negative."
    return (
        f"The column {name!r} looks like negatives and is not read; {spelled('columns', {'negative': name})} reads it."
    )


def _looks_like_label(task: str, name: str, cells: Sequence[Any]) -> bool:
    label = _label_of(task)
    if not label:
        return False
    role = LAYOUTS[task].role(label)
    usual = {one for rank in (role.ranks if role else ()) for one in rank.split()}
    named = key(name) in LABELS | usual or key(name).startswith("label") or key(name).endswith("label")
    return named or (are_flags(cells) and len(set(map(str, cells))) > 1)


def _label_of(task: str) -> str:
    """Return the role of a task's label; empty if a column cannot be taken for it."""
    return next((role.name for role in LAYOUTS[task].roles if role.name in ("label", "tags")), "")


def _text_of(task: str, columns: Columns) -> str | None:
    """Return the first role of a text that was found."""
    return next((role.name for role in LAYOUTS[task].roles if role.is_text and role.name in columns.found), None)


def _looks_like_text(cells: Sequence[Any]) -> bool:
    """Whether at least half of the cells are texts of several words, and most of them differ."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    return 2 * sum(" " in text for text in texts) >= max(len(cells), 1) and 2 * len(set(texts)) > len(cells)


def _joined(name: str, column: str | list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return both columns as the user would name them, in the order in which they stand."""
    both = {name, *([column] if isinstance(column, str) else column)}
    return JOINED.join(dict.fromkeys(one for row in rows for one in row if one in both))
