"""Which column holds what: by the names that data sets usually give, by what stands in them, or as the user says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertie.data.cells import flag_in, list_in
from bertie.data.roles import LABELS, LAYOUTS, NEGATIVE, PAIRS, Found, Rest, Role, are_flags, is_key, key
from bertie.errors import InputError, nearest, spelled

JOINED, LISTED = "+", ","
# roles that several columns may have without being joined
_SEVERAL = ("label", "choices")


@dataclass(frozen=True)
class Columns:
    """What the columns of a source are taken for.

    Attributes:
        found: role → column.
        how: role → how it was found, where it was neither a usual name nor given by the user.
        flags: the columns of 0 and 1 that name the places of lists of 0 and 1 in the label's column.
        ignored: the columns that are not read.
    """

    found: Found = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[str] = ()
    ignored: Sequence[str] = ()

    def describe(self) -> list[str]:
        """Return each role with its column, as in ``text = comment_text``."""
        return [self._said(role, column) for role, column in self.found.items()]

    def _said(self, role: str, column: str | list[str]) -> str:
        how = [self.how[role]] if role in self.how else []
        if role == "label" and self.flags:
            how.append(f"lists of 0 and 1 for {', '.join(self.flags)}")
        if isinstance(column, list):
            is_text = role not in _SEVERAL
            column = (" + " if is_text else ", ").join(column)
            role = "labels" if role == "label" else role
        return f"{role.replace('_', ' ')} = {column}" + (f" ({', '.join(how)})" if how else "")


def find_columns(
    task: str, rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any] | None = None, needs_label: bool = True
) -> Columns:
    """Return the column of each role of a task.

    Args:
        task: what it learns, as in the table of tasks.
        rows: the first rows.
        given: role → column where the user says it: a list of 0/1 columns for classification's ``label``; for texts
            several columns, in a list or as "title+body", which are joined; for ``label`` and ``choices`` a list or
            "A,B,C,D"; "" for a role that no column has. Where
            no column has the name "2", it is the second.
        needs_label: False if rows may lack a label.

    Raises:
        InputError: a role has no column or several may be meant, or ``given`` names a role or column that is not
            there. The message lists the columns.
    """
    return _Finder(task, rows, given or {}, needs_label).find()


class _Finder:
    def __init__(
        self, task: str, rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any], needs_label: bool
    ) -> None:
        self.task, self.rows, self.needs_label, self.layout = task, rows, needs_label, LAYOUTS[task]
        self.columns = list(dict.fromkeys(column for row in rows for column in row if isinstance(column, str)))
        self.given = {role: self._given(role, named) for role, named in given.items() if named is not None}
        self.found: Found = {}
        self.how: dict[str, str] = {}

    def find(self) -> Columns:
        for role in self.layout.roles:
            if role.name == "text" and role.when(self.found) and self.layout.role("text_pair"):
                self._pair()
            if role.when(self.found):
                self._by_name(role)
        for name, guess, how in self.layout.guesses:
            column = guess(self._rest()) if name not in self.found and name not in self.given else None
            if column is not None:
                self.found[name] = column
                self.how |= {name: how} if how else {}
        missing = [role.name for role in self.layout.roles if self._is_missing(role)]
        if missing:
            what = " and ".join(name.replace("_", " ") for name in missing)
            raise InputError(
                f"No column is known to hold the {what}: {self._has()}; {_how(missing)}{self._no_header()}."
            )
        if self.layout.role("answers") and not {"answers", "answer_text"} & set(self.found):
            self.found["answers"] = "answers"
        flags = self._places()
        ignored = [name for name in self._rest().cells if name not in flags]
        found = {role.name: self.found[role.name] for role in self.layout.roles if role.name in self.found}
        return Columns(found, self.how, flags, ignored)

    def _by_name(self, role: Role) -> None:
        """Find the column of a role by the user's word or by its usual names, the better rank first."""
        if role.name in self.given:
            if self.given[role.name]:
                self.found[role.name] = self.given[role.name]
            return
        if role.name in self.found:
            return
        rest = self._rest().cells
        for rank in role.ranks:
            named = [column for name in rank.split() for column in self._named(name) if column in rest]
            if len(named) > 1:
                raise self._ambiguous(role.name, named)
            if named:
                self.found[role.name] = named[0]
                return

    def _pair(self) -> None:
        if "text" in self.given or "text_pair" in self.given:
            return
        halves = [[self._named(half) for half in pair.split()] for pair in PAIRS]
        pairs = [(first[0], second[0]) for first, second in halves if first and second]
        if not pairs:
            return
        both = {column for pair in pairs for column in pair}
        alone = self._named("text")
        if len(pairs) > 1 or (alone and not set(alone) <= both):
            raise self._ambiguous("text", [*both, *(column for column in alone if column not in both)])
        self.found["text"], self.found["text_pair"] = pairs[0]

    def _places(self) -> list[str]:
        """Return the columns of 0 and 1 that say the same as the lists in the label's column, place by place."""
        column = self.found.get("label")
        if self.task != "sequence-classification" or not isinstance(column, str):
            return []
        flags = self._rest().flags()
        for row in self.rows:
            listed = [flag_in(one) for one in list_in(row.get(column)) or ()]
            if not listed or None in listed or listed != [flag_in(row.get(name)) for name in flags]:
                return []
        return flags

    def _named(self, name: str) -> list[str]:
        return [column for column in self.columns if key(column) == name]

    def _rest(self) -> Rest:
        """Return the columns that neither the user nor a name has given a role."""
        taken: set[str] = set()
        for column in (*self.found.values(), *self.given.values()):
            taken |= set(column) if isinstance(column, list) else {column}
        return Rest({name: [row.get(name) for row in self.rows] for name in self.columns if name not in taken})

    # the user's word, and what cannot be found

    def _given(self, name: str, named: Any) -> Any:
        roles = [role.name for role in self.layout.roles]
        role = self.layout.role(name)
        if role is None:
            allowed = ", ".join(repr(one) for one in roles)
            raise InputError(f"{self.task} has no column for {name!r}; it has {allowed}.{nearest(name, roles)}")
        between = JOINED if role.is_text else LISTED if name in _SEVERAL else ""
        if isinstance(named, str) and named not in self.columns and between and between in named:
            named = [part.strip() for part in named.split(between)]
        if isinstance(named, Sequence) and not isinstance(named, str):
            if not between:
                raise InputError(f"columns[{name!r}] is {named!r:.60}; it is one column, named by a str.")
            return [self._given(name, one) for one in named]
        if named in self.columns or named == "":
            return named
        alike = self._named(key(str(named)))
        if not alike and str(named).isdecimal() and int(named) > 0:
            alike = self.columns[int(named) - 1 :][:1]
        if len(alike) != 1:
            raise InputError(f"There is no column {named!r}; {self._has()}.{nearest(str(named), self.columns)}")
        return alike[0]

    def _is_missing(self, role: Role) -> bool:
        wanted = role.when(self.found) and role.needed(self.found) and (self.needs_label or not role.is_label)
        return wanted and role.name not in self.found

    def _ambiguous(self, role: str, columns: Sequence[str]) -> InputError:
        listed = ", ".join(repr(column) for column in columns)
        return InputError(f"Several columns may hold the {role.replace('_', ' ')}: {listed}; {_how((role,))}.")

    def _has(self) -> str:
        return f"the columns are {', '.join(repr(column[:60]) for column in self.columns) or 'none'}"

    def _no_header(self) -> str:
        looks_like_data = any(
            len(column) > 40 or column.count(" ") > 1 or column.replace(".", "").isdigit() for column in self.columns
        )
        return " (if these are the first row, put a line with the columns' names above it)" if looks_like_data else ""


def _how(roles: Sequence[str]) -> str:
    return f"name it with {spelled('columns', {role: ['…', '…'] if role == 'choices' else '…' for role in roles})}"


def ignored_data(task: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each ignored column that looks like data, with what would have it read."""
    found = []
    texts = [role.name for role in LAYOUTS[task].roles if role.is_text and role.name in columns.found]
    for name in columns.ignored:
        cells = [row.get(name) for row in rows]
        if is_key(name):
            continue
        if "positive" in columns.found and NEGATIVE.fullmatch(key(name)):
            found.append(_negative(name, "negative" in columns.found))
        elif _looks_like_label(task, name, cells):
            how = spelled("columns", {_label_of(task): name})
            found.append(f"The column {name!r} looks like a label and is not read; {how} takes it for the label.")
        elif texts and _looks_like_text(cells):
            how = spelled("columns", {texts[0]: _joined(name, columns.found[texts[0]], rows)})
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


def _looks_like_text(cells: Sequence[Any]) -> bool:
    """Whether at least half of the cells are texts of several words, and most of them differ."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    return 2 * sum(" " in text for text in texts) >= max(len(cells), 1) and 2 * len(set(texts)) > len(cells)


def _joined(name: str, column: str | list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return both columns as the user would name them, in the order in which they stand."""
    both = {name, *([column] if isinstance(column, str) else column)}
    return JOINED.join(dict.fromkeys(one for row in rows for one in row if one in both))
