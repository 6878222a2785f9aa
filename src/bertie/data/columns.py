"""Which column has which role: by the usual names of columns, by their content, or as the user says."""

from collections.abc import Mapping, Sequence
from typing import Any

from bertie.data.cells import flag_in, list_in
from bertie.data.schema import (
    LABEL_NAMES,
    NEGATIVE,
    SCORE_NAMES,
    SEVERAL,
    Columns,
    Found,
    Role,
    Schema,
    are_flags,
    flag_columns,
    is_key,
    key,
)
from bertie.errors import InputError, nearest, spelled

# between columns that the user names together
_JOINED, _LISTED = "+", ","
# the usual names of the columns of a pair
_PAIRS = (
    "sentence1 sentence2",
    "text1 text2",
    "texta textb",
    "sentencea sentenceb",
    "text textpair",
    "premise hypothesis",
    "question1 question2",
    "question sentence",
    "question passage",
    "query passage",
    "query document",
    "first second",
    "anchor positive",
)
_LABELS = frozenset(" ".join((*LABEL_NAMES, *SCORE_NAMES)).split())


def find_columns(
    schema: Schema, rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any] | None = None, needs_label: bool = True
) -> Columns:
    """Return the column of each role, from the first ``rows``; ``given`` are the user's, as in `bertie.finetune`."""
    return _Finder(schema, rows, given or {}).find(needs_label)


class _Finder:
    def __init__(self, schema: Schema, rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> None:
        self.schema, self.rows = schema, rows
        self.columns = list(dict.fromkeys(column for row in rows for column in row if isinstance(column, str)))
        self.given = {role: self._given(role, named) for role, named in given.items() if named is not None}
        self.found: Found = {}

    def find(self, needs_label: bool) -> Columns:
        roles = self.schema.roles
        how: dict[str, str] = {}
        for role in roles:
            if role.name == "text" and role.is_sought(self.found) and self.schema.role("text_pair"):
                self._find_pair()
            if role.is_sought(self.found):
                self._find_by_name(role)
        for name, guess, reason in self.schema.guesses:
            if name not in self.found and name not in self.given and (column := guess(self._rest())) is not None:
                self.found[name] = column
                how |= {name: reason} if reason else {}
        if missing := [role.name for role in roles if role.is_missing(self.found, needs_label)]:
            what = " and ".join(name.replace("_", " ") for name in missing)
            raise InputError(
                f"No column is known to hold the {what}: {self._has()}; {_how(missing)}{self._no_header()}."
            )
        if self.schema.role("answers") and not {"answers", "answer_text"} & set(self.found):
            self.found["answers"] = "answers"
        flags = self._label_flags()
        found = {role.name: self.found[role.name] for role in roles if role.name in self.found}
        return Columns(found, how, flags, [name for name in self._rest() if name not in flags])

    def _find_by_name(self, role: Role) -> None:
        if role.name in self.given:
            if self.given[role.name]:
                self.found[role.name] = self.given[role.name]
            return
        rest = {} if role.name in self.found else self._rest()
        for rank in role.ranks:
            named = [column for name in rank.split() for column in self._named(name) if column in rest]
            if len(named) > 1:
                raise self._ambiguous(role.name, named)
            if named:
                self.found[role.name] = named[0]
                return

    def _find_pair(self) -> None:
        if "text" in self.given or "text_pair" in self.given:
            return
        halves = [[self._named(half) for half in pair.split()] for pair in _PAIRS]
        pairs = [(first[0], second[0]) for first, second in halves if first and second]
        if not pairs:
            return
        both = {column for pair in pairs for column in pair}
        alone = self._named("text")
        if len(pairs) > 1 or (alone and not set(alone) <= both):
            raise self._ambiguous("text", [*both, *(column for column in alone if column not in both)])
        self.found["text"], self.found["text_pair"] = pairs[0]

    def _label_flags(self) -> list[str]:
        """Return the columns of 0 and 1 whose values equal, element by element, the lists in the label's column."""
        column = self.found.get("label")
        if not self.schema.has_flags or not isinstance(column, str):
            return []
        flags = flag_columns(self._rest())
        for row in self.rows:
            listed = [flag_in(one) for one in list_in(row.get(column)) or ()]
            if not listed or None in listed or listed != [flag_in(row.get(name)) for name in flags]:
                return []
        return flags

    def _named(self, name: str) -> list[str]:
        return [column for column in self.columns if key(column) == name]

    def _rest(self) -> dict[str, list[Any]]:
        """Return the cells of the columns without a role so far."""
        taken: set[str] = set()
        for column in (*self.found.values(), *self.given.values()):
            taken |= set(column) if isinstance(column, list) else {column}
        return {name: [row.get(name) for row in self.rows] for name in self.columns if name not in taken}

    # what the user names, and errors

    def _given(self, name: str, named: Any) -> Any:
        roles = [role.name for role in self.schema.roles]
        role = self.schema.role(name)
        if role is None:
            allowed = ", ".join(repr(one) for one in roles)
            raise InputError(f"{self.schema.name} has no column for {name!r}; it has {allowed}.{nearest(name, roles)}")
        between = _JOINED if role.is_text else _LISTED if name in SEVERAL else ""
        if isinstance(named, str) and named not in self.columns and between and between in named:
            named = [part.strip() for part in named.split(between)]
        if isinstance(named, Sequence) and not isinstance(named, str):
            if not between:
                raise InputError(f"columns[{name!r}] is {named!r:.60}; it must be one column, named by a str.")
            return [self._given(name, one) for one in named]
        if named in self.columns or named == "":
            return named
        alike = self._named(key(str(named)))
        if not alike and str(named).isdecimal() and int(named) > 0:
            alike = self.columns[int(named) - 1 :][:1]
        if len(alike) != 1:
            raise InputError(f"There is no column {named!r}; {self._has()}.{nearest(str(named), self.columns)}")
        return alike[0]

    def _ambiguous(self, role: str, columns: Sequence[str]) -> InputError:
        listed = ", ".join(repr(column) for column in columns)
        return InputError(f"Several columns may hold the {role.replace('_', ' ')}: {listed}; {_how((role,))}.")

    def _has(self) -> str:
        return f"the columns are {', '.join(repr(column[:60]) for column in self.columns) or 'none'}"

    def _no_header(self) -> str:
        looks_like_data = any(
            len(column) > 40 or column.count(" ") > 1 or column.replace(".", "").isdigit() for column in self.columns
        )
        return (
            " (if these are the first row, add a line with the names of the columns above)" if looks_like_data else ""
        )


def _how(roles: Sequence[str]) -> str:
    return f"name it with {spelled('columns', {role: ['…', '…'] if role == 'choices' else '…' for role in roles})}"


def ignored_data(schema: Schema, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each ignored column that looks like data, with the option that reads it."""
    found = []
    texts = [role.name for role in schema.roles if role.is_text and role.name in columns.found]
    label = next((role for role in schema.roles if role.name in ("label", "tags")), None)
    for name in columns.ignored:
        cells = [row.get(name) for row in rows]
        if is_key(name):
            continue
        if "positive" in columns.found and NEGATIVE.fullmatch(key(name)):
            if "negative" in columns.found:
                warning = "looks like more negatives and is not read: a row has one negative."
            else:
                warning = f"looks like negatives and is not read; {spelled('columns', {'negative': name})} reads it."
        elif label and _looks_like_label(label, name, cells):
            how = spelled("columns", {label.name: name})
            warning = f"looks like a label and is not read; {how} makes it the label."
        elif texts and _looks_like_text(cells):
            how = spelled("columns", {texts[0]: _joined(name, columns.found[texts[0]], rows)})
            warning = f"holds texts and is not read; {how} reads both."
        else:
            continue
        found.append(f"The column {name!r} {warning}")
    return found


def _looks_like_label(role: Role, name: str, cells: Sequence[Any]) -> bool:
    usual = {one for rank in role.ranks for one in rank.split()}
    named = key(name) in _LABELS | usual or key(name).startswith("label") or key(name).endswith("label")
    return named or (are_flags(cells) and len(set(map(str, cells))) > 1)


def _looks_like_text(cells: Sequence[Any]) -> bool:
    """Whether at least half of the cells are texts of several words, and more than half are distinct."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    return 2 * sum(" " in text for text in texts) >= max(len(cells), 1) and 2 * len(set(texts)) > len(cells)


def _joined(name: str, column: str | list[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return both columns as the user would name them, in the order of the file."""
    both = {name, *([column] if isinstance(column, str) else column)}
    return _JOINED.join(dict.fromkeys(one for row in rows for one in row if one in both))
