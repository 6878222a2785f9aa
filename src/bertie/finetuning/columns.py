"""Which column holds what: by the names that data sets usually give, or as the user says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bertie.errors import InputError, nearest
from bertie.finetuning.cells import FLAGS, name_in

Found = dict[str, str | list[str]]
"""Role → column; the roles ``labels`` and ``choices`` may have several."""

# Role → names by rank: one of the first rank settles it; of a later one only if it is there alone.
# Names are compared in lower case and without spaces, underscores and hyphens.
_TEXTS = (
    "sentence content review reviewtext body comment commenttext tweet message document utterance headline post "
    "description phrase query question input inputs"
)
_LABELS = (
    "class classes target targets sentiment category categories stars rating emotion emotions topic topics intent "
    "goldlabel gold genre genres polarity score y tag tags output"
)
_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", _TEXTS),
    "label": ("label labels", _LABELS),
    "words": ("words tokens", "word token text sentence"),
    "tags": ("tags", "nertags labels label ner postags pos chunktags"),
    "question": ("question", "query"),
    "context": ("context", "passage paragraph document text"),
    "answers": ("answers",),
    "answer_text": ("answertext answertexts", "answer"),
    "answer_start": ("answerstart answerstarts", "start startposition"),
    "id": ("id", "qid questionid guid idx index"),
    "prompt": ("prompt", "sent1 context passage article", "question ctx startphrase premise sentence stem text"),
    "prompt_end": ("sent2", "question"),
    "choices": ("choices", "options endings"),
    "answer": ("label", "answer answerkey correct gold target"),
    "score": ("score", "similarity similarityscore label relatedness relatednessscore"),
    "is_next": ("isnext", "next"),
    "anchor": ("anchor", "query question"),
    "positive": ("positive", "pos"),
    "negative": ("negative", "neg"),
    "query": ("query", "question search title"),
    "passage": ("passage", "document answer context text doc product"),
    "relevance": ("label", "score relevance relevant islabel gold rating grade"),
}
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
ROLES = {
    "sequence-classification": ("text", "text_pair", "label"),
    "token-classification": ("words", "tags"),
    "question-answering": ("question", "context", "answers", "answer_text", "answer_start", "id"),
    "multiple-choice": ("prompt", "prompt_end", "choices", "label"),
    "next-sentence": ("text", "text_pair", "label", "is_next"),
    "masked-lm": ("text",),
    "embedding": ("text", "text_pair", "label", "anchor", "positive", "negative"),
    "reranking": ("query", "passage", "label"),
}
_NUMBERED = re.compile(r"(?:choice|ending|option|answer)_?(\d+|[a-e])")
# columns that number the rows, and are never a text or a label
_KEYS = {"id", "idx", "index", "guid", "uid", "unnamed0", "rowid"}


def find_columns(
    task: str, first: Mapping[str, Any], given: Mapping[str, Any] | None = None, needs_label: bool = True
) -> Found:
    """Return the column of each role of a task.

    Args:
        task: what it learns, as in the table of tasks.
        first: the first row.
        given: role → column where the user says it; classification's ``label`` may be a list of 0/1 columns.
        needs_label: False if rows may lack a label.

    Raises:
        InputError: a role has no column or several may be meant, or ``given`` names a role or column that is not
            there. The message lists the columns.
    """
    return _Finder(task, first, given or {}, needs_label).find()


class _Finder:
    def __init__(self, task: str, first: Mapping[str, Any], given: Mapping[str, Any], needs_label: bool) -> None:
        self.task, self.first, self.needs_label = task, first, needs_label
        self.columns = [column for column in first if isinstance(column, str)]
        self.given = {role: self._given(role, named) for role, named in given.items() if named is not None}
        self.found: Found = {}

    def find(self) -> Found:
        getattr(self, "_" + self.task.replace("-", "_"))()
        return self.found

    # one method a task

    def _sequence_classification(self) -> None:
        self._text_or_pair()
        self._take("label", needed=False)
        if "label" not in self.found:
            self._flags()
        if "label" not in self.found:
            self._other("label")
        if self.needs_label and "label" not in self.found:
            raise self._missing("label")

    def _token_classification(self) -> None:
        self._take("words")
        self._take("tags", needed=self.needs_label)

    def _question_answering(self) -> None:
        for role in ("question", "context"):
            self._take(role)
        for role in ("answers", "answer_text", "answer_start", "id"):
            self._take(role, needed=False)
        if not {"answers", "answer_text"} & set(self.found):
            # a row of SQuAD 2.0 without an answer may lack the field that others have
            if self.needs_label and not self._named("isimpossible"):
                raise self._missing("answers")
            self.found["answers"] = "answers"

    def _multiple_choice(self) -> None:
        matches = ((_NUMBERED.fullmatch(column.strip().lower()), column) for column in self.columns)
        numbered = sorted((match[1].zfill(3), column) for match, column in matches if match)
        self._take("choices", needed=not numbered)
        if "choices" not in self.found:
            self.found["choices"] = [column for _, column in numbered]
        self._take("prompt")
        self._take("prompt_end", needed=False)
        self._take("label", names="answer", needed=self.needs_label)

    def _next_sentence(self) -> None:
        self._pair()
        self._take("is_next", needed=False)
        if "is_next" not in self.found:
            self._take("label", needed=self.needs_label)

    def _masked_lm(self) -> None:
        self._take("text", needed=False)
        if "text" not in self.found:
            self._only("text")

    def _embedding(self) -> None:
        for role in ("positive", "negative"):
            self._take(role, needed=False)
        if "positive" in self.found:
            self._take("anchor")
        else:
            self._pair()
        self._take("label", names="score", needed=False)

    def _reranking(self) -> None:
        self._take("query")
        self._take("passage")
        self._take("label", names="relevance", needed=self.needs_label)

    # parts

    def _text_or_pair(self) -> None:
        if "text" in self.given or "text_pair" in self.given:
            self._take("text")
            self._take("text_pair", needed=False)
            return
        if self._pairs():
            self._pair()
            return
        self._take("text", needed=False)
        if "text" not in self.found:
            self._take("label", needed=False)
            self._other("text")
        if "text" not in self.found:
            raise self._missing("text")

    def _pair(self) -> None:
        if "text" in self.given and "text_pair" in self.given:
            self.found |= {role: self.given[role] for role in ("text", "text_pair")}
            return
        pairs = self._pairs()
        if not pairs:
            raise self._missing("text", "text_pair")
        both = {column for pair in pairs for column in pair}
        alone = self._named("text")
        if len(pairs) > 1 or (alone and not set(alone) <= both):
            raise self._ambiguous("text", [*both, *(column for column in alone if column not in both)])
        self.found["text"], self.found["text_pair"] = pairs[0]

    def _pairs(self) -> list[tuple[str, str]]:
        halves = [[self._named(half) for half in pair.split()] for pair in _PAIRS]
        return [(first[0], second[0]) for first, second in halves if first and second]

    def _take(self, role: str, names: str | None = None, needed: bool = True) -> None:
        """Find the column of a role by the user's word or by its usual names, the better rank first."""
        if role in self.given:
            self.found[role] = self.given[role]
        taken = [one for column in self.found.values() for one in (column if isinstance(column, list) else [column])]
        taken += [column for column in self.given.values() if isinstance(column, str)]
        for rank in _NAMES.get(names or role, ()) if role not in self.found else ():
            named = [column for name in rank.split() for column in self._named(name) if column not in taken]
            if len(named) > 1:
                raise self._ambiguous(role, named)
            if named:
                self.found[role] = named[0]
                return
        if needed and role not in self.found:
            raise self._missing(role)

    def _named(self, name: str) -> list[str]:
        return [column for column in self.columns if _key(column) == name]

    def _flags(self) -> None:
        """Take columns of 0 and 1, one a label, if all columns but the texts are such."""
        rest = self._rest()
        if len(rest) > 1 and all(name_in(self.first[column]) in FLAGS for column in rest):
            self.found["label"] = rest

    def _other(self, role: str) -> None:
        """Of two columns, one of which is known, take the other."""
        rest = self._rest()
        if len(rest) == 1 and self.found:
            self.found[role] = rest[0]

    def _only(self, role: str) -> None:
        rest = self._rest()
        if len(rest) != 1:
            raise self._missing(role)
        self.found[role] = rest[0]

    def _rest(self) -> list[str]:
        taken = self.found.values()
        return [column for column in self.columns if column not in taken and _key(column) not in _KEYS]

    # the user's word, and what cannot be found

    def _given(self, role: str, named: Any) -> Any:
        roles = ROLES[self.task]
        if role not in roles:
            allowed = ", ".join(repr(one) for one in roles)
            raise InputError(f"{self.task} has no column for {role!r}; it has {allowed}.{nearest(role, roles)}")
        if isinstance(named, Sequence) and not isinstance(named, str):
            if role not in ("label", "choices"):
                raise InputError(f"columns[{role!r}] is {named!r:.60}; it is one column, named by a str.")
            return [self._given(role, one) for one in named]
        if named in self.columns:
            return named
        alike = self._named(_key(str(named)))
        if len(alike) != 1:
            raise InputError(f"There is no column {named!r}; {self._has()}.{nearest(str(named), self.columns)}")
        return alike[0]

    def _missing(self, *roles: str) -> InputError:
        what = " and ".join(role.replace("_", " ") for role in roles)
        return InputError(f"No column is known to hold the {what}: {self._has()}; {_how(roles)}{self._no_header()}.")

    def _ambiguous(self, role: str, columns: Sequence[str]) -> InputError:
        listed = ", ".join(repr(column) for column in columns)
        return InputError(f"Several columns may hold the {role.replace('_', ' ')}: {listed}; {_how((role,))}.")

    def _has(self) -> str:
        return f"the columns are {', '.join(repr(column[:60]) for column in self.columns) or 'none'}"

    def _no_header(self) -> str:
        looks_like_data = any(len(column) > 40 or column.replace(".", "").isdigit() for column in self.columns)
        return " (if these are the first row, put a line with the columns' names above it)" if looks_like_data else ""


def _how(roles: Sequence[str]) -> str:
    asked = ", ".join(f"{role!r}: …" for role in roles)
    options = " ".join(f"--column {role}=…" for role in roles)
    return f"name it with columns={{{asked}}} ({options})"


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())
