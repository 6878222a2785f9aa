"""Which column is what: usual names of data sets, the user's word, and sentences where neither tells."""

from typing import Any

import pytest

from bertie.errors import InputError
from bertie.finetuning.columns import find_columns

CLASSIFY, TAG, ANSWER, CHOOSE = (
    "sequence-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
)


@pytest.mark.parametrize(
    ("task", "columns", "found"),
    [
        (CLASSIFY, "text label", {"text": "text", "label": "label"}),
        (CLASSIFY, "Text Labels", {"text": "Text", "label": "Labels"}),
        (CLASSIFY, "id Sentence Sentiment", {"text": "Sentence", "label": "Sentiment"}),
        (CLASSIFY, "text label label_text", {"text": "text", "label": "label"}),
        (CLASSIFY, "title text stars", {"text": "text", "label": "stars"}),
        (CLASSIFY, "text Kind", {"text": "text", "label": "Kind"}),
        (CLASSIFY, "index Body_of_mail label", {"text": "Body_of_mail", "label": "label"}),
        (CLASSIFY, "sentence1 sentence2 score", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
        (CLASSIFY, "premise hypothesis label", {"text": "premise", "text_pair": "hypothesis", "label": "label"}),
        (CLASSIFY, "qid question sentence label", {"text": "question", "text_pair": "sentence", "label": "label"}),
        (CLASSIFY, "Text-A text_b y", {"text": "Text-A", "text_pair": "text_b", "label": "y"}),
        (CLASSIFY, "comment_text toxic=0 insult=1", {"text": "comment_text", "label": ["toxic", "insult"]}),
        (TAG, "id tokens ner_tags", {"words": "tokens", "tags": "ner_tags"}),
        (TAG, "tokens pos_tags tags", {"words": "tokens", "tags": "tags"}),
        (TAG, "sentence labels", {"words": "sentence", "tags": "labels"}),
        (ANSWER, "id title context question answers",
            {"question": "question", "context": "context", "answers": "answers", "id": "id"}),
        (ANSWER, "question passage answer answer_start",
            {"question": "question", "context": "passage", "answer_text": "answer", "answer_start": "answer_start"}),
        (ANSWER, "question context is_impossible",
            {"question": "question", "context": "context", "answers": "answers"}),
        (CHOOSE, "sent1 sent2 ending0 ending1 label",
            {"prompt": "sent1", "prompt_end": "sent2", "choices": ["ending0", "ending1"], "label": "label"}),
        (CHOOSE, "question choices answerKey", {"prompt": "question", "choices": "choices", "label": "answerKey"}),
        (CHOOSE, "prompt C B A answer", None),
        (CHOOSE, "context question answer1 answer10 answer2 label", {"prompt": "context", "prompt_end": "question",
            "choices": ["answer1", "answer2", "answer10"], "label": "label"}),
        (CHOOSE, "ctx endings label", {"prompt": "ctx", "choices": "endings", "label": "label"}),
        ("next-sentence", "sentence_a sentence_b is_next",
            {"text": "sentence_a", "text_pair": "sentence_b", "is_next": "is_next"}),
        ("masked-lm", "source text", {"text": "text"}),
        ("masked-lm", "id letter", {"text": "letter"}),
        ("embedding", "sentence1 sentence2 score", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
        ("embedding", "anchor positive negative", {"positive": "positive", "negative": "negative", "anchor": "anchor"}),
        ("embedding", "question1 question2", {"text": "question1", "text_pair": "question2"}),
        ("reranking", "query document relevance", {"query": "query", "passage": "document", "label": "relevance"}),
    ],
)  # fmt: skip
def test_usual_names(task: str, columns: str, found: dict[str, Any] | None) -> None:
    first = {name: value or "x" for name, _, value in (column.partition("=") for column in columns.split())}
    if found is None:
        with pytest.raises(InputError, match="No column is known to hold the choices"):
            find_columns(task, first)
        return
    assert find_columns(task, first) == found


def test_the_users_word_goes_first() -> None:
    first = {"text": "", "Body": "", "label": "", "Kind": "", "toxic": "", "rude": ""}
    found = find_columns(CLASSIFY, first, {"text": "body", "label": "Kind", "text_pair": None})
    assert found == {"text": "Body", "label": "Kind"}
    assert find_columns(CLASSIFY, first, {"label": ["toxic", "rude"]}) == {"text": "text", "label": ["toxic", "rude"]}
    assert find_columns(CLASSIFY, {"a": "", "b": "", "c": ""}, {"text": "a", "text_pair": "c"}, needs_label=False) == {
        "text": "a",
        "text_pair": "c",
        "label": "b",
    }


@pytest.mark.parametrize(
    ("task", "columns", "given", "message"),
    [
        (CLASSIFY, "a b label", None, "No column is known to hold the text: the columns are 'a', 'b', 'label'; name it "
            "with columns={'text': …} (--column text=…)."),
        (CLASSIFY, "text b c", None, "No column is known to hold the label: the columns are 'text', 'b', 'c'; name it "
            "with columns={'label': …} (--column label=…)."),
        (CLASSIFY, "sentence review label", None, "Several columns may hold the text: 'sentence', 'review'; name it "
            "with columns={'text': …} (--column text=…)."),
        (CLASSIFY, "text label labels", None, "Several columns may hold the label: 'label', 'labels'; name it with "
            "columns={'label': …} (--column label=…)."),
        (CLASSIFY, "text label", {"text": "Body"}, "There is no column 'Body'; the columns are 'text', 'label'."),
        (CLASSIFY, "text labels", {"label": "lables"}, "There is no column 'lables'; the columns are 'text', 'labels'. "
            "Did you mean 'labels'?"),
        (CLASSIFY, "text label", {"lable": "label"}, "sequence-classification has no column for 'lable'; it has "
        "'text', "
            "'text_pair', 'label'. Did you mean 'label'?"),
        (CLASSIFY, "a b label", {"text": ["a", "b"]}, "columns['text'] is ['a', 'b']; it is one column, named by a "
            "str."),
        ("embedding", "text", None, "No column is known to hold the text and text pair: the columns are 'text'; "
        "name it "
            "with columns={'text': …, 'text_pair': …} (--column text=… --column text_pair=…)."),
        (ANSWER, "question context", None, "No column is known to hold the answers: the columns are 'question', "
            "'context'; name it with columns={'answers': …} (--column answers=…)."),
        (TAG, "3.5 x y", None, "No column is known to hold the words: the columns are '3.5', 'x', 'y'; name it with "
            "columns={'words': …} (--column words=…) (if these are the first row, put a line with the columns' names "
        "above "
            "it)."),
    ],
)  # fmt: skip
def test_what_cannot_be_told(task: str, columns: str, given: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        find_columns(task, dict.fromkeys(columns.split(), "x"), given)
    assert str(error.value) == message
