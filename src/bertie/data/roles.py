"""What the rows of each task hold: its roles, the names that their columns usually have, and what is guessed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.data.cells import flag_in, is_nothing

Found = dict[str, str | list[str]]
"""Role → column; several for flags of labels, for choices, and for texts that are joined."""

# Names by rank: one of the first rank settles it; of a later one only if it is there alone.
# Names are compared in lower case and without spaces, underscores and hyphens.
_TEXT = (
    "text",
    "sentence content review reviewtext body comment commenttext tweet message document utterance headline post "
    "description phrase query question input inputs",
)
_LABEL = (
    "label labels",
    "class classes target targets sentiment category categories stars rating emotion emotions topic topics intent "
    "goldlabel gold genre genres polarity score y tag tags output",
)
_SCORE = ("score", "similarity similarityscore label relatedness relatednessscore")
PAIRS = (
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
# columns that number the rows, and are never a text or a label
_KEY = re.compile(r"(q|question|sent|sentence|pair|row|u|doc|document)?id\d*|idx|index|guid|unnamed0")
_NUMBERED = re.compile(r"(?:choice|ending|option|answer)_?(\d+|[a-e])")
NEGATIVE = re.compile(r"(hard)?neg(ative)?s?(passages?|texts?)?\d*")
LABELS = frozenset(" ".join((*_LABEL, *_SCORE)).split())
"""Names of columns that mostly hold a label."""


@dataclass(frozen=True)
class Rest:
    """The columns that no role has taken yet, each with the cells of the first rows."""

    cells: Mapping[str, Sequence[Any]]

    def flags(self) -> list[str]:
        """Return the columns that hold 0 and 1 alone."""
        return [name for name, cells in self.cells.items() if not is_key(name) and are_flags(cells)]

    def only(self) -> str | None:
        """Return the column that is left, if there is one."""
        rest = [name for name in self.cells if not is_key(name)]
        return rest[0] if len(rest) == 1 else None

    def several_flags(self) -> list[str] | None:
        """Return the columns of 0 and 1 if there are two or more: one a label."""
        flags = self.flags()
        return flags if len(flags) > 1 else None

    def one_flag(self) -> str | None:
        """Return the column of 0 and 1, if there is one."""
        flags = self.flags()
        return flags[0] if len(flags) == 1 else None

    def numbered(self) -> list[str] | None:
        """Return the columns of choices, by their numbers or letters."""
        matches = ((_NUMBERED.fullmatch(name.strip().lower()), name) for name in self.cells)
        return [name for _, name in sorted((match[1].zfill(3), name) for match, name in matches if match)] or None


Guess = Callable[[Rest], str | list[str] | None]
When = Callable[[Found], bool]


@dataclass(frozen=True)
class Role:
    """What a column may hold.

    Attributes:
        name: as the user calls it.
        ranks: usual names of its column.
        needed: whether rows must have it, by what has been found.
        is_label: it is only needed where rows need labels.
        is_text: columns may be joined for it.
        when: whether it is looked for, by what has been found.
    """

    name: str
    ranks: tuple[str, ...] = ()
    needed: When = lambda _: False
    is_label: bool = False
    is_text: bool = False
    when: When = lambda _: True


@dataclass(frozen=True)
class Layout:
    """The roles of a task in the order of the search, and the guesses that follow it, each with its description."""

    roles: tuple[Role, ...]
    guesses: tuple[tuple[str, Guess, str], ...] = ()

    def role(self, name: str) -> Role | None:
        """Return the role of this name."""
        return next((role for role in self.roles if role.name == name), None)


def _always(_: Found) -> bool:
    return True


def _without(*roles: str) -> When:
    return lambda found: not set(roles) & set(found)


def _with(role: str) -> When:
    return lambda found: role in found


_OTHER = "the only other column"
LAYOUTS = {
    "sequence-classification": Layout(
        (
            Role("text", _TEXT, needed=_always, is_text=True),
            Role("text_pair", is_text=True),
            Role("label", _LABEL, needed=_always, is_label=True),
        ),
        (("label", Rest.several_flags, "0/1 columns"), ("text", Rest.only, _OTHER), ("label", Rest.only, _OTHER)),
    ),
    "token-classification": Layout(
        (
            # of tables with one word a row: which sentence it is of, which is found before anything else
            Role("sentence"),
            Role("words", ("words tokens", "word token", "text sentence"), needed=_always),
            Role(
                "tags",
                ("tags tag", "entities", "nertags labels label ner postags pos chunktags"),
                needed=_always,
                is_label=True,
            ),
        )
    ),
    "question-answering": Layout(
        (
            Role("question", ("question", "query"), needed=_always, is_text=True),
            Role("context", ("context", "passage paragraph document text"), needed=_always, is_text=True),
            # a row of SQuAD 2.0 without an answer may lack the field that others have
            Role("is_impossible", ("isimpossible",)),
            Role("answers", ("answers",), needed=_without("answer_text", "is_impossible"), is_label=True),
            Role("answer_text", ("answertext answertexts", "answer")),
            Role("answer_start", ("answerstart answerstarts", "start startposition")),
            Role("id", ("id", "qid questionid guid idx index")),
        )
    ),
    "multiple-choice": Layout(
        (
            Role("choices", ("choices", "options endings"), needed=_always),
            Role(
                "prompt",
                ("prompt", "sent1 context passage article", "question ctx startphrase premise sentence stem text"),
                needed=_always,
                is_text=True,
            ),
            Role("prompt_end", ("sent2", "question"), is_text=True),
            Role("label", ("label", "answer answerkey correct gold target"), needed=_always, is_label=True),
        ),
        (("choices", Rest.numbered, ""),),
    ),
    "next-sentence": Layout(
        (
            Role("text", needed=_always, is_text=True),
            Role("text_pair", needed=_always, is_text=True),
            Role("is_next", ("isnext", "next")),
            Role("label", _LABEL, needed=_always, is_label=True, when=_without("is_next")),
        )
    ),
    "masked-lm": Layout((Role("text", _TEXT, needed=_always, is_text=True),), (("text", Rest.only, _OTHER),)),
    "embedding": Layout(
        (
            Role("positive", ("positive", "pos"), is_text=True),
            Role("negative", ("negative", "neg"), is_text=True),
            Role("anchor", ("anchor", "query question"), needed=_always, is_text=True, when=_with("positive")),
            Role("text", needed=_always, is_text=True, when=_without("positive")),
            Role("text_pair", needed=_always, is_text=True, when=_without("positive")),
            Role("label", _SCORE),
        ),
        (("label", Rest.one_flag, "the only column of 0 and 1"),),
    ),
    "reranking": Layout(
        (
            Role("query", ("query", "question search title"), needed=_always, is_text=True),
            Role("passage", ("passage", "document answer context text doc product"), needed=_always, is_text=True),
            Role(
                "label",
                ("label", "score relevance relevant islabel gold rating grade"),
                needed=_always,
                is_label=True,
            ),
        )
    ),
}


def are_flags(cells: Sequence[Any]) -> bool:
    """Whether cells hold 0 and 1 (or true and false) alone."""
    filled = [cell for cell in cells if not is_nothing(cell)]
    return bool(filled) and all(flag_in(cell) is not None for cell in filled)


def key(column: str) -> str:
    """Return a column's name as names are compared."""
    return re.sub(r"[\W_]+", "", column.casefold())


def is_key(column: str) -> bool:
    """Whether a column numbers the rows, by its name."""
    return _KEY.fullmatch(key(column)) is not None
