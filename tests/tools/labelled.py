"""Small files of labelled rows, one of each kind that a task learns from, by name: what the pages of docs/ work on."""

import csv
import io
import json
from itertools import product
from typing import Any

Rows = list[dict[str, Any]]

_FILMS = ("film", "plot", "music", "ending", "cast", "dialogue")
_WORDS = {"positive": ("lovely", "funny", "moving", "clever"), "negative": ("dull", "awful", "empty", "tired")}
_NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Shelley")
_PLACES = ("Paris", "London", "Rome", "Berlin")


def _reviews() -> Rows:
    return [
        {"text": f"The {part} is {word}, scene after scene.", "label": label}
        for part, (label, words) in product(_FILMS, _WORDS.items())
        for word in words
    ]


def _emotions() -> Rows:
    kinds = (("What a lovely gift!", "joy|surprise"), ("I miss them so.", "sadness"), ("It arrived on Monday.", ""))
    more = (("I never expected that.", "surprise"), ("This made my day.", "joy"))
    return [
        {"text": f"{text} ({place})", "labels": labels or "neutral"}
        for place in _PLACES
        for text, labels in kinds + more
    ] * 2


def _similar() -> Rows:
    found = []
    for number, (one, other) in enumerate(product(_FILMS, _FILMS)):
        score = 4.5 if one == other else 0.5 + number % 3
        found.append({"sentence1": f"A {one} is shown.", "sentence2": f"They show the {other}.", "score": score})
    return found


def _words() -> str:
    lines = []
    for name, place in product(_NAMES, _PLACES):
        first, last = name.split()
        tagged = ((first, "B-person"), (last, "I-person"), ("went", "O"), ("to", "O"), (place, "B-place"), (".", "O"))
        lines += [f"{word}\t{tag}" for word, tag in tagged] + [""]
    return "\n".join(lines) + "\n"


def _questions() -> str:
    paragraphs = []
    for number, (name, place) in enumerate(product(_NAMES, _PLACES)):
        context = f"In spring {name} left for {place}. The journey took {number + 2} days."
        asked = [
            {"id": f"{number}a", "question": f"Where did {name} go?", "answers": [_answer(place, context)]},
            {"id": f"{number}b", "question": "How did they pay?", "answers": [], "is_impossible": True},
        ]
        paragraphs.append({"context": context, "qas": asked})
    return json.dumps({"version": "2.0", "data": [{"title": "Journeys", "paragraphs": paragraphs}]})


def _answer(text: str, context: str) -> dict[str, Any]:
    return {"text": text, "answer_start": context.index(text)}


def _choices() -> Rows:
    found = []
    for number, (name, place) in enumerate(product(_NAMES, _PLACES)):
        others = [other for other in _PLACES if other != place]
        choices = [f"Soon {name} saw {one}." for one in (place, *others[:2])]
        choices = choices[number % 3 :] + choices[: number % 3]
        label = choices.index(f"Soon {name} saw {place}.")
        found.append({"prompt": f"{name} took the train to {place}.", "choices": choices, "label": label})
    return found


def _following() -> Rows:
    return [
        {
            "sentence1": f"{name} took the train to {place}.",
            "sentence2": f"In {other} it rained.",
            "label": place != other,
        }
        for name, place, other in product(_NAMES, _PLACES, _PLACES[:2])
    ]


def _relevant() -> Rows:
    return [
        {"query": f"trains to {place}", "passage": f"{name} took the train to {other}.", "label": int(place == other)}
        for name, place, other in product(_NAMES, _PLACES, _PLACES)
    ]


def _partners() -> Rows:
    return [
        {"anchor": f"Where did {name} go after {place}?", "positive": f"After {place}, {name} went home."}
        for name, place in product(_NAMES, _PLACES)
    ]


def _articles() -> Rows:
    return [
        {"document": f"In spring {name} took the train to {place}. It rained.", "summary": f"{name} went to {place}."}
        for name, place in product(_NAMES, _PLACES)
    ]


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: int(v) if v is True or v is False else v for name, v in row.items()} for row in rows])
    return text.getvalue()


def _lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


FILES = {
    "texts.txt": "A cat sat on the mat.\nStocks fell sharply today.\nThe kitten slept.\n",
    "notes.txt": "Hepatocytes and cholangiocytes line the ducts.\n" * 5,
    "reviews.csv": _csv(_reviews()),
    "more-reviews.csv": _csv([{**row, "text": row["text"].replace("scene", "hour")} for row in _reviews()[::3]]),
    "emotions.csv": _csv(_emotions()),
    "pairs.csv": _csv(_similar()),
    "entities.conll": _words(),
    "questions.json": _questions(),
    "choices.jsonl": _lines(_choices()),
    "follows.csv": _csv(_following()),
    "relevance.csv": _csv(_relevant()),
    "partners.csv": _csv(_partners()),
    "articles.jsonl": _lines(_articles()),
    "passages.txt": "".join(f"{row['text']}\n" for row in _reviews()[:6]),
    "books.txt": "\n\n".join(
        " ".join(f"The {part} is {word} at {place}." for part in _FILMS for word in words)
        for words in _WORDS.values()
        for place in (*_PLACES, *_NAMES)
    ),
    "my-config.json": json.dumps(
        {"model_type": "bert", "vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2}
        | {"num_attention_heads": 2, "intermediate_size": 48}
    ),
    "corpus.txt": "".join(f"{row['text']} {row['label']} words.\n" for row in _reviews()),
}
# rows to score on
FILES |= {
    f"more-{name}": FILES[name].replace("Rome", "Oslo").replace("film", "play")
    for name in ("emotions.csv", "pairs.csv", "entities.conll", "questions.json", "choices.jsonl", "follows.csv")
    + ("relevance.csv", "partners.csv", "articles.jsonl", "corpus.txt")
}
