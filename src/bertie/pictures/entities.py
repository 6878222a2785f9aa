"""``bertie.plot_entities``: entities marked in the text they were found in."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.messages import shortened
from bertie.pictures.colours import Look, check_colour, look_of
from bertie.pictures.picture import Picture, escaped, page

LABELS = ("label", "entity_group", "entity")
# about how high a line of the page is, in pixels, and how many characters it holds
LINE, LETTERS = 30, 90


@dataclass(frozen=True)
class Entity:
    """Characters ``start:end`` of a text, their label and how it looks."""

    start: int
    end: int
    label: str
    score: float | None
    look: Look


def plot_entities(
    text: str | Sequence[str],
    entities: Sequence[Mapping[str, Any]] | Sequence[Sequence[Mapping[str, Any]]],
    *,
    title: str | None = None,
    colors: Mapping[str, str] | None = None,
) -> Picture:
    """Return a picture of ``text`` with its entities marked, as a page.

    A type of entity looks the same in every picture, and its label stands beside it, so that nothing depends on colour
    alone.

    Args:
        text: one text, or several.
        entities: the entities of the text, a list; for several texts one list per text. An entity is a mapping with
            ``start`` and ``end`` (characters), ``label`` (or ``entity_group``, or ``entity``) and optionally ``score``.
        title: the heading; None: the beginning of the text.
        colors: custom colours, label → ``#rrggbb``.

    Raises:
        InputTypeError: a text is not a str, or an entity is not such a mapping.
        InputError: an entity lies outside its text or overlaps another.
    """
    several = not isinstance(text, str)
    texts: Sequence[Any] = text if several else [text]
    lists: Sequence[Any] = entities if several else [entities]
    if len(texts) != len(lists):
        raise InputError(f"There are {len(texts)} texts and {len(lists)} lists of entities; give one list per text.")
    custom = {label: check_colour(label, colour) for label, colour in (colors or {}).items()}
    read = [
        _entities(one, found, custom, f" of text {number}" if several else "")
        for number, (one, found) in enumerate(zip(texts, lists, strict=True))
    ]
    if title is None and len(texts) == 1:
        title = f"Entities: {shortened(' '.join(texts[0].split()), 60)}"
    elif title is None:
        title = f"Entities in {len(texts)} texts"
    lines = sum(1 + len(line) // LETTERS for text in texts for line in text.split("\n"))
    return Picture(title, _page(title, texts, read), None, (lines + len(texts)) * LINE + 5 * LINE)


def _entities(text: Any, found: Any, custom: Mapping[str, str], where: str) -> list[Entity]:
    """Return the entities of one text in order, after checking that they can be drawn."""
    if not isinstance(text, str):
        raise InputTypeError(f"text is a {type(text).__name__}; give a str, or a list of them.")
    if isinstance(found, str | Mapping) or not isinstance(found, Sequence):
        raise InputTypeError(f"entities{where} is a {type(found).__name__}; give a list of mappings.")
    read = [_entity(one, len(text), custom, f"Entity {number}{where}") for number, one in enumerate(found)]
    read.sort(key=lambda one: one.start)
    for one, other in pairwise(read):
        if other.start < one.end:
            raise InputError(
                f"Entities{where} overlap: {one.label!r} at {one.start} to {one.end} and {other.label!r} at "
                f"{other.start} to {other.end}; keep one of them, or draw them in two pictures."
            )
    return read


def _entity(one: Any, length: int, custom: Mapping[str, str], which: str) -> Entity:
    if not isinstance(one, Mapping):
        raise InputTypeError(f"{which} is a {type(one).__name__}; give a mapping with 'start', 'end' and 'label'.")
    label = next((one[name] for name in LABELS if isinstance(one.get(name), str)), None)
    if label is None:
        raise InputTypeError(f"{which} has no label; give it as 'label', 'entity_group' or 'entity', a str.")
    start, end = (_place(one.get(name), name, which) for name in ("start", "end"))
    if not 0 <= start < end <= length:
        raise InputError(
            f"{which} ({label!r:.40}) covers characters {start} to {end}, but its text has {length}; "
            "start must be at least 0, and end above it and at most the text's length."
        )
    look = look_of(label)
    return Entity(start, end, label, _score(one.get("score"), which), look._replace(custom=custom.get(label)))


def _place(value: Any, name: str, which: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputTypeError(f"{which} has {value!r:.40} as its {name}; it must be an integer.") from None


def _score(value: Any, which: str) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise InputTypeError(f"{which} has {value!r:.40} as its score; it must be a number.") from None


def _page(title: str, texts: Sequence[str], read: Sequence[Sequence[Entity]]) -> str:
    looks = {one.label: one.look for found in read for one in found}
    counts = Counter(one.label for found in read for one in found)
    kinds = "\n".join(
        f"<span>{_open(looks[label])}{escaped(label)}</mark> {count:,}</span>" for label, count in counts.most_common()
    )
    body = "".join(f"{_marked(text, found)}\n" for text, found in zip(texts, read, strict=True))
    return page(title, f'<h1>{escaped(title)}</h1>\n{body}<p class="kinds faint">{kinds or "no entities"}</p>')


def _marked(text: str, found: Sequence[Entity]) -> str:
    """Return a paragraph with its entities marked."""
    parts, before = [], 0
    for one in found:
        parts.append(escaped(text[before : one.start]))
        score = "" if one.score is None else f" <small>{one.score:.2f}</small>"
        place = f"characters {one.start} to {one.end}"
        parts.append(
            f"{_open(one.look, place)}{escaped(text[one.start : one.end])}<bdi>{escaped(one.label)}{score}</bdi></mark>"
        )
        before = one.end
    return f'<p class="text" dir="auto">{"".join(parts)}{escaped(text[before:])}</p>'


def _open(look: Look, hint: str = "") -> str:
    style = f' style="--kind:{look.custom}"' if look.custom else ""
    title = f' title="{hint}"' if hint else ""
    return f'<mark class="k{look.colour} {look.line}"{style}{title}>'
