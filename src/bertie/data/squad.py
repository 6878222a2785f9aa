"""SQuAD 1.1 and 2.0: articles of paragraphs of questions → one record a question."""

from collections.abc import Iterator, Mapping
from typing import Any

from bertie.data.record import BadRows, Record


def has_questions(row: Mapping[str, Any]) -> bool:
    """Whether a row is an article of SQuAD's, or one of its paragraphs."""
    return "paragraphs" in row or ("context" in row and isinstance(row.get("qas"), list))


def question_records(article: Mapping[str, Any], number: int, name: str, bad: BadRows) -> Iterator[Record]:
    """Yield the questions of an article, or of a paragraph that stands alone; ``number`` and ``name`` say where."""
    title = article.get("title", "")
    for place, paragraph in enumerate(_list(article.get("paragraphs", article))):
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list):
            bad.add(f"Paragraph {place} of article {number} in {name} is no object with a 'context' and a list 'qas'.")
            continue
        for count, question in enumerate(questions):
            if not isinstance(question, dict):
                kind = type(question).__name__
                bad.add(f"Question {count} of paragraph {place} of article {number} in {name} is a {kind}, no object.")
                continue
            # in a file of one line, the id is what can be searched for
            known = question.get("id", f"{count} of paragraph {place} of article {number}")
            yield Record({"title": title, "context": paragraph.get("context"), **question}, f"{name}, question {known}")


def _list(value: Any) -> list[Any]:
    # a paragraph that is none is named by the loop over them
    return value if isinstance(value, list) else [value]
