"""Tag schemes: which tag may follow which, Viterbi decoding under these rules, and entities to and from tags."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, nearest

SCHEMES = ("BIO", "BIOES", "IO", "IOB1", "plain")
"""``BIO``: B- begins every entity, I- continues it. ``BIOES``: E- ends an entity, S- is a single-word one (BILOU's
letters are read too). ``IO``: only I-. ``IOB1``: I- begins an entity, B- only one adjacent to another of its type.
``plain``: labels without prefixes, each a type of its own."""
OUTSIDE = "O"
# the same prefixes under other letters
_BIOES_OF = {"L": "E", "U": "S", "M": "I", "W": "S"}
# the letter before the type, as in B-PER and B_PER, or alone; or after it, as in PER-B and PER_B
_BEFORE, _AFTER = re.compile(r"([BIESLUMW])(?:[-_](.+))?"), re.compile(r"(.+)[-_]([BIESLUMW])")
BATCH_SIZE = 256
"""The number of texts that are decoded together."""
_BEGINNING, _CONTINUING, _ENDING = ("B", "S"), ("I", "E"), ("E", "S")


class Entity(NamedTuple):
    """An entity of a type: the words ``first`` to ``last``, both included."""

    type: str
    first: int
    last: int


def check_scheme(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise InputError(f"There is no scheme {scheme!r}; allowed are {', '.join(SCHEMES)}.{nearest(scheme, SCHEMES)}")


def split_tag(tag: str, scheme: str) -> tuple[str, str]:
    """Return a tag's prefix, I if it has none, and its type: (B, PER) of ``B-PER`` and ``PER_B``; (O, "") of ``O``."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, kind = ("", "") if scheme == "plain" else _letter_and_type(tag)
    prefix = _BIOES_OF.get(prefix, prefix) if scheme == "BIOES" else prefix
    return (prefix, kind) if prefix in ("B", "I", "E", "S") else ("I", tag)


def usual_tag(tag: str) -> str:
    """Return a tag of a scheme as it is usually written, ``B-PER``, whatever its spelling (see `split_tag`)."""
    prefix, kind = _letter_and_type(tag)
    return f"{prefix}-{kind}" if prefix and kind else tag


@lru_cache(4096)
def _letter_and_type(tag: str) -> tuple[str, str]:
    """Return the letter of a tag and its type; a tag without a scheme has no letter."""
    if before := _BEFORE.fullmatch(tag):
        return before[1], before[2] or ""
    after = _AFTER.fullmatch(tag)
    return (after[2], after[1]) if after else ("", tag)


def guess_scheme(labels: Iterable[str], sequences: Iterable[Sequence[str]] = ()) -> str:
    """Return the scheme of labels, ``plain`` if they fit no other; ``sequences`` of tags distinguish IOB1 from BIO."""
    inside = [label for label in labels if label != OUTSIDE]
    prefixes = {_letter_and_type(label)[0] for label in inside}
    # names such as B_cell or hepatitis-B, or sizes S and M, are not tags unless others have an I
    is_written = all(label in prefixes or label[1:2] == "-" for label in inside)
    is_sure = {"B", "I"} <= prefixes or (is_written and (bool({"B", "I"} & prefixes) or prefixes.isdisjoint(inside)))
    if not inside or "" in prefixes or not is_sure:
        return "plain"
    if prefixes <= {"B", "I"}:
        if "B" not in prefixes:
            return "IO"
        return "IOB1" if _is_iob1(sequences) else "BIO"
    return "BIOES" if any(prefixes <= set(letters) for letters in ("BIES", "BILU", "BMES", "BMEW")) else "plain"


def _is_iob1(sequences: Iterable[Sequence[str]]) -> bool:
    begun_by_i = False
    for tags in sequences:
        for before, tag in pairwise([OUTSIDE, *tags]):
            prefix, kind = split_tag(tag, "BIO")
            beside = split_tag(before, "BIO")[1] == kind
            if prefix == "B" and not beside:
                return False
            begun_by_i = begun_by_i or (prefix == "I" and not beside)
    return begun_by_i


@dataclass(frozen=True, eq=False)
class TagTable:
    """The meaning of C tags, for concatenated texts; tags that break their scheme are read as by conlleval."""

    names: Sequence[str]  # the entity type of each tag
    kinds: NDArray[np.int64]  # [C], a number for each type; -1 for tags outside entities
    begins: NDArray[np.bool_]  # [C], whether the tag begins an entity whatever precedes it
    ends: NDArray[np.bool_]  # [C], whether it ends one whatever follows

    @classmethod
    def of(cls, tags: Sequence[str], scheme: str | None) -> "TagTable":
        """Return the meaning of tags in a scheme, or as in transformers' pipeline if it is None.

        There, only B- begins a new entity, and a tag with neither B- nor I- is a type of its own, also O.
        """
        if scheme is None:
            kinds = [tag[2:] if tag.startswith(("B-", "I-")) else tag for tag in tags]
            names = [tag.split("-", 1)[-1] for tag in tags]
            begins, ends = [tag.startswith("B-") for tag in tags], [False] * len(tags)
        else:
            parts = [split_tag(tag, scheme) for tag in tags]
            names = kinds = [kind for _, kind in parts]
            begins, ends = ([prefix in which for prefix, _ in parts] for which in (_BEGINNING, _ENDING))
        number_of = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
        outside = [scheme is not None and tag == OUTSIDE for tag in tags]
        numbers = [-1 if out else number_of[kind] for kind, out in zip(kinds, outside, strict=True)]
        return cls(names, np.array(numbers, np.int64), np.array(begins, np.bool_), np.array(ends, np.bool_))

    def runs(self, tags: NDArray[np.int64], is_first: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the first and last tag of each entity; ``is_first`` ``[U]``: whether a text begins."""
        kinds = self.kinds[tags]
        continues = np.zeros(len(tags), np.bool_)
        continues[1:] = (kinds[1:] == kinds[:-1]) & ~self.begins[tags[1:]] & ~self.ends[tags[:-1]]
        starts = np.flatnonzero(~(continues & ~is_first))
        lasts = np.append(starts, len(tags))[1:] - 1
        inside = kinds[starts] >= 0
        return starts[inside], lasts[inside]


def find_entities(tags: Sequence[str], scheme: str) -> list[Entity]:
    known = list(dict.fromkeys(tags))
    table = TagTable.of(known, scheme)
    numbers = np.fromiter(map(known.index, tags), np.int64, len(tags))
    starts, lasts = table.runs(numbers, np.zeros(len(tags), np.bool_))
    runs = zip(starts.tolist(), lasts.tolist(), strict=True)
    return [Entity(table.names[numbers[first]], first, last) for first, last in runs]


def make_tags(entities: Iterable[Entity], words: int, scheme: str) -> list[str]:
    """Return the tags of a text of ``words`` words; in ``IO`` and ``plain`` adjacent entities of one type merge."""
    tags = [OUTSIDE] * words
    for kind, first, last in sorted(entities, key=lambda entity: entity.first):
        if not 0 <= first <= last < words or any(tag != OUTSIDE for tag in tags[first : last + 1]):
            raise InputError(
                f"The entity {kind!r} of words {first} to {last} overlaps another one or is not within the text of "
                f"{words} words; give entities that do not overlap."
            )
        is_adjacent = first > 0 and split_tag(tags[first - 1], scheme)[1] == kind and tags[first - 1] != OUTSIDE
        tags[first : last + 1] = _tags(kind, last + 1 - first, scheme, is_adjacent)
    return tags


def _tags(kind: str, words: int, scheme: str, is_adjacent: bool) -> list[str]:
    """Return the tags of one entity; ``is_adjacent``: one of the same type ends just before it."""
    if scheme == "plain":
        return [kind] * words
    prefixes = ["I"] * words
    if scheme in ("BIO", "BIOES") or (scheme == "IOB1" and is_adjacent):
        prefixes[0] = "B"
    if scheme == "BIOES":
        prefixes[-1] = "E" if words > 1 else "S"
    return [f"{prefix}-{kind}" if kind else prefix for prefix in prefixes]


def convert_tags(tags: Sequence[str], scheme: str, other: str) -> list[str]:
    """Return a text's tags in another scheme: ``convert_tags(["I-PER"], "IOB1", "BIO")`` is ``["B-PER"]``."""
    return make_tags(find_entities(tags, scheme), len(tags), other)


@dataclass(frozen=True, eq=False)
class Rules:
    """Which of C labels may follow which."""

    first: NDArray[np.bool_]  # [C], those that a text may begin with
    follow: NDArray[np.bool_]  # [C, C], whether the label of the column may follow that of the row
    last: NDArray[np.bool_]  # [C], those that a text may end with

    @classmethod
    def of(cls, labels: Sequence[str], scheme: str) -> "Rules":
        """Return the rules of labels under a scheme.

        A type without a label that begins (or ends) an entity may begin (or end) with any of its labels: a model that
        never saw E-PER can still find a person.
        """
        check_scheme(scheme)
        parts = [split_tag(label, scheme) for label in labels]
        prefixes_of = defaultdict(set)
        for prefix, kind in parts:
            prefixes_of[kind].add(prefix)
        outside = [(OUTSIDE, ""), *parts]
        allowed = np.array(
            [[_may_follow(before, after, scheme, prefixes_of) for after in outside] for before in outside], np.bool_
        )
        # the positions before and after a text are outside
        return cls(allowed[0, 1:], allowed[1:, 1:], allowed[1:, 0])


def _may_follow(before: tuple[str, str], after: tuple[str, str], scheme: str, prefixes_of: dict[str, set[str]]) -> bool:
    (end, kind_before), (start, kind) = before, after
    inside = end != OUTSIDE and start != OUTSIDE and kind == kind_before
    if scheme in ("IO", "plain"):
        return True
    if scheme == "IOB1":
        return start != "B" or inside or "I" not in prefixes_of[kind]
    begins = start in _BEGINNING or prefixes_of[kind].isdisjoint(_BEGINNING)
    if scheme == "BIO":
        return start == OUTSIDE or inside or begins
    open_before = end in ("B", "I")
    if inside and open_before and start in _CONTINUING:
        return True
    closed = not open_before or prefixes_of[kind_before].isdisjoint(_ENDING)
    return closed and (start == OUTSIDE or begins)


def best_tags(
    scores: NDArray[Any], rules: Rules, sizes: Sequence[int] | NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return the labels ``[n]`` that obey the rules and have the highest sum of ``scores [n, C]``, by Viterbi.

    ``sizes`` are the numbers of words of concatenated texts. Ties go to the lower number, from the end of the text; if
    no tags obey the rules, each word has its best label.
    """
    free: NDArray[np.int64] = scores.argmax(axis=1)
    lengths = np.array([len(scores)] if sizes is None else sizes, np.int64)
    stops = np.cumsum(lengths)
    starts = stops - lengths
    # where the best label of each word obeys the rules, it is also the best under them
    wrong = np.zeros(len(free), np.bool_)
    wrong[1:] = ~rules.follow[free[:-1], free[1:]]
    wrong[starts[lengths > 0]] = ~rules.first[free[starts[lengths > 0]]]
    wrong[stops[lengths > 0] - 1] |= ~rules.last[free[stops[lengths > 0] - 1]]
    texts = np.unique(np.searchsorted(stops, np.flatnonzero(wrong), "right"))
    # texts of similar length are decoded together
    texts = texts[np.argsort(-lengths[texts], kind="stable")]
    for begin in range(0, len(texts), BATCH_SIZE):
        some = texts[begin : begin + BATCH_SIZE]
        _viterbi(scores, starts[some], lengths[some], rules, free)
    return free


def _viterbi(
    scores: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64], rules: Rules, tags: NDArray[np.int64]
) -> None:
    """Write the best tags of B texts, the longest first, into ``tags``; texts without tags that obey the rules keep
    theirs.
    """
    texts = np.arange(len(starts))
    transitions = np.where(rules.follow, 0.0, -np.inf)
    best = np.where(rules.first, scores[starts].astype(np.float64), -np.inf)
    back = np.zeros((int(lengths[0]), len(starts), scores.shape[1]), np.int32)
    for step in range(1, len(back)):
        active = int(np.searchsorted(-lengths, -step, "left"))
        paths = best[:active, :, None] + transitions
        back[step, :active] = paths.argmax(axis=1)
        best[:active] = paths.max(axis=1) + scores[starts[:active] + step]
    best = np.where(rules.last, best, -np.inf)
    tag = best.argmax(axis=1)
    possible = best[texts, tag] > -np.inf
    for step in range(len(back) - 1, -1, -1):
        here = possible & (step < lengths)
        tags[starts[here] + step] = tag[here]
        # the first word has no back pointer
        tag = np.where(here, back[step, texts, tag], tag) if step else tag
