"""Texts with annotated spans, as exported by annotation tools → the fields ``text`` and ``entities``.

``entities`` is a list of ``[start, end, label]``, in characters of the text. doccano's own field of such lists
(``label``, ``labels`` or ``entities``) needs no conversion.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Fields = Mapping[str, Any]


def plain_fields(item: Any, notes: list[str]) -> Any:
    """Return a tool's output for one text as plain fields, and an item of an unknown form unchanged."""
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], dict):
        text, found = item  # spaCy: [text, {"entities": [[start, end, label], …], "cats": {label: 0 or 1}}]
        cats = found.get("cats")
        labels = {"labels": [name for name, value in cats.items() if value]} if isinstance(cats, dict) else {}
        return {"text": text, **found, **labels}
    if not isinstance(item, dict):
        return item
    if isinstance(item.get("text"), str) and (isinstance(item.get("spans"), list) or "_task_hash" in item):
        return _of_prodigy(item)
    if isinstance(item.get("data"), dict) and isinstance(item.get("annotations"), list):
        return _of_label_studio(item, notes)
    return item


def is_spacy_document(item: Fields) -> bool:
    """Whether an object with ``paragraphs`` is a document of spaCy 2 rather than SQuAD's."""
    paragraphs = item.get("paragraphs")
    first = paragraphs[0] if isinstance(paragraphs, list) and paragraphs else None
    return isinstance(first, dict) and isinstance(first.get("sentences"), list)


def spacy_sentences(document: Fields) -> Iterator[Fields]:
    """Yield the sentences of a document of spaCy 2 as words and tags; ``-`` means O."""
    for paragraph in document["paragraphs"]:
        for sentence in paragraph.get("sentences", []):
            tokens = sentence.get("tokens", [])
            tags = [token.get("ner") for token in tokens]
            yield {
                "words": [token.get("orth") for token in tokens],
                "tags": ["O" if tag in (None, "", "-") else tag for tag in tags],
            }


def is_refused(fields: Fields) -> bool:
    """Whether an annotator in Prodigy rejected or ignored the text: its label is then unknown."""
    return "_task_hash" in fields and fields.get("answer") in ("reject", "ignore")


def _of_prodigy(item: Fields) -> Fields:
    """Return a text with its spans or choices, or without its label if the annotator did not accept it."""
    fields = {name: value for name, value in item.items() if name not in ("spans", "tokens", "accept", "options")}
    if item.get("answer", "accept") != "accept":
        return {name: value for name, value in fields.items() if name != "label"}
    if isinstance(chosen := item.get("accept"), list):
        return {**fields, "label": chosen[0] if len(chosen) == 1 else chosen}
    is_marked = "spans" in item or "tokens" in item
    return {**fields, "entities": item.get("spans") or []} if is_marked else fields


def _of_label_studio(item: Fields, notes: list[str]) -> Fields:
    """Return the data of a task with the labels of the first annotation that was not cancelled."""
    done = [one for one in item["annotations"] if isinstance(one, dict) and not one.get("was_cancelled")]
    fields = {**({"id": item["id"]} if "id" in item else {}), **item["data"]}
    if not done:
        return fields
    several = "If Label Studio has several annotations of a text, the first one is read."
    if len(done) > 1 and several not in notes:
        notes.append(several)
    values = [one["value"] for one in done[0].get("result", []) if isinstance(one.get("value"), dict)]
    choices = [choice for value in values for choice in value.get("choices", [])]
    if choices:
        return {**fields, "label": choices[0] if len(choices) == 1 else choices}
    return {**fields, "entities": [value for value in values if "start" in value and "labels" in value]}
