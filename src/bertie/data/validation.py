"""What the rows of a file must have all together, and what is odd about them: a class alone, tags astray, leakage."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from bertie.data import BadRows
from bertie.data.cells import BadRow
from bertie.data.example import Example
from bertie.data.labels import BAR, SEPARATORS, recur
from bertie.data.sources import is_paths, path_names
from bertie.data.tag_schemes import OUTSIDE, find_entities, guess_scheme, split_tag
from bertie.errors import InputError, counted, plural, spelled

# a tag as BIO, BIOES, BILOU and the like write it
_PREFIXED = re.compile("[BIESLUMW](-.+)?")
# with fewer rows, most labels may well stand once
_MANY = 20


def keep_usable(examples: list[Example], change: Callable[[Example], Example], bad: BadRows) -> list[Example]:
    """Return the examples as ``change`` gives them, without those it finds bad."""
    found = []
    for example in examples:
        try:
            found.append(change(example))
        except BadRow as error:
            bad.add(str(error))
    return found


def drop_odd_tags(examples: list[Example], bad: BadRows) -> list[Example]:
    """Leave out rows with tags of no scheme, where other tags have one."""
    tags = {tag for example in examples for tag in example.label}
    odd = {tag for tag in tags if tag != OUTSIDE and not _PREFIXED.fullmatch(tag)}
    if not odd or not any(tag.startswith("B-") for tag in tags):
        return examples

    def checked(example: Example) -> Example:
        for place, tag in enumerate(example.label):
            if tag in odd:
                raise BadRow(
                    f"The tag {tag!r} of word {place} in {example.where} fits no scheme, and others do: BIO has O, B-… "
                    "and I-…, BIOES also E-… and S-…."
                )
        return example

    return keep_usable(examples, checked, bad)


def check_size(examples: list[Example], name: str, least: int, bad: BadRows, notes: Sequence[str] = ()) -> None:
    """Refuse a file of too few rows; ``notes`` say what else was left out."""
    left_out = f" ({bad.count} bad rows were left out; the first: {bad.sentences[0]})" if bad.count else ""
    if not examples:
        raise InputError(" ".join([f"{name} holds no row that can be used{left_out}.", *notes]))
    if len(examples) < least:
        raise InputError(f"{name} holds one row{left_out}; training needs {least} or more.")


def check_classes(examples: list[Example], task: str, kind: str | None, name: str) -> None:
    """Refuse data from which nothing can be learned: one class, one number, one tag."""
    rows, first = f"All {len(examples):,} rows of {name}", examples[0].label
    is_constant = all(example.label == first for example in examples)
    if kind == "single-label" and is_constant:
        raise InputError(f"{rows} have the label {first!r}; a classifier needs rows of two classes.")
    if kind == "multi-label" and not any(example.label for example in examples):
        raise InputError(f"No row of {name} has any label; a classifier needs some.")
    if (kind == "regression" or task in ("next-sentence", "reranking")) and is_constant:
        raise InputError(f"{rows} have the label {first:g}; training needs rows of two.")
    if task == "token-classification" and len({tag for example in examples for tag in example.label}) == 1:
        raise InputError(f"All words of {name} have the tag {first[0]!r}; a tagger needs words of two tags.")


def check_guess(examples: list[Example], labels: list[str], name: str) -> None:
    """Refuse labels of which there are nearly as many as rows: they are most likely no classes."""
    if len(examples) >= _MANY and 2 * len(labels) > len(examples):
        raise InputError(
            f"{name} has {len(labels):,} different labels in {len(examples):,} rows, such as {labels[0]!r}: name the "
            f"column of the label, {spelled('columns', {'label': '…'})}, or the kind: "
            f"{spelled('kind', 'single-label')} if they are classes, {spelled('kind', 'regression')} if they are "
            "numbers."
        )


def find_oddities(examples: Sequence[Example], task: str, kind: str | None, name: str) -> list[str]:
    """Return a sentence for each thing that is allowed but odd within one part of the data."""
    found = []
    if task == "question-answering":
        ids = Counter(example.text["id"] for example in examples)
        if count := len(examples) - len(ids):
            found.append(
                f"{count:,} of {len(examples):,} ids of {name} {plural(count, 'is that', 'are those')} of "
                f"{plural(count, 'another question', 'other questions')} in it."
            )
    if task == "token-classification":
        sequences = [example.label for example in examples]
        scheme = guess_scheme({tag for tags in sequences for tag in tags}, sequences)
        has_beginnings = scheme in ("BIO", "BIOES")
        begun = ((tags, one) for tags in sequences for one in find_entities(tags, scheme)) if has_beginnings else ()
        count = sum(split_tag(tags[one.first], scheme)[0] in ("I", "E") for tags, one in begun)
        if count:
            found.append(
                f"{counted(count, 'tag')} of {name} {plural(count, 'goes', 'go')} on with an entity that none began, "
                "such as I- without B-."
            )
    if task == "embedding" and name == "train" and examples[0].label is None and (count := _repeats(examples)):
        found.append(
            f"{count:,} of {len(examples):,} rows of {name} share their anchor or their partner with others; within a "
            "step none of these takes a partner of the same text for a stranger."
        )
    if kind == "single-label":
        found += _joined_labels([example.label for example in examples], name)
    return found


def _joined_labels(labels: Sequence[str], name: str) -> list[str]:
    """Return a sentence if labels seem to be several in one, though they were not parted."""
    cells = Counter(labels)
    for sign, separator in zip(("bar", "semicolon", "comma"), SEPARATORS, strict=True):
        count = sum(times for cell, times in cells.items() if separator in cell)
        if count and (separator == BAR or recur(cells, separator)):
            how = spelled("kind", "multi-label")
            return [
                f"{counted(count, 'label')} of {name} {plural(count, 'holds', 'hold')} a {sign}; {how} takes it for "
                "what parts several labels."
            ]
    return []


def find_leakage(train: Sequence[Example], dev: Sequence[Example]) -> list[str]:
    """Return a sentence if texts of ``dev`` are in ``train`` too: figures then look better than they are."""
    found = []
    learned = {text_key(example) for example in train}
    if count := sum(text_key(example) in learned for example in dev):
        found.append(
            f"{count:,} of {len(dev):,} texts of dev {plural(count, 'stands', 'stand')} in train too: "
            "the figures on dev look better than they are."
        )
    ids = {example.text["id"] for example in train if _has_id(example)}
    if count := sum(example.text["id"] in ids for example in dev if _has_id(example)):
        found.append(f"{count:,} of {len(dev):,} ids of dev {plural(count, 'stands', 'stand')} in train too.")
    return found


def text_key(example: Example) -> Hashable:
    """Return what two examples have in common if their texts are the same."""
    text = example.text
    if isinstance(text, dict):
        return text.get("question"), text.get("context"), text.get("prompt"), tuple(text.get("choices", ()))
    return tuple(text) if isinstance(text, list) else text


def source_name(source: Any, name: str) -> str:
    """Return the name of a source for messages: the file's, or else ``name``."""
    return path_names(source) if is_paths(source) else name


def _repeats(examples: Sequence[Example]) -> int:
    """Return how many pairs have a text at the place where another pair has the same one."""
    counts = [Counter(example.text[place] for example in examples) for place in (0, 1)]
    return sum(any(counts[place][example.text[place]] > 1 for place in (0, 1)) for example in examples)


def _has_id(example: Example) -> bool:
    # a question without an id of its own goes by its place
    return isinstance(example.text, dict) and example.text.get("id", example.where) != example.where
