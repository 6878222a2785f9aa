"""The roles of columns: usual names of data sets, columns named by the user, and messages if neither decides."""

from typing import Any

import pytest

from bertie.cli.app import load_command
from bertie.data.columns import find_columns, ignored_data
from bertie.data.schemas import SCHEMAS
from bertie.errors import InputError, spelling

CLASSIFY, TAG, ANSWER, CHOOSE = (
    "text-classification",
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
            {"question": "question", "context": "context", "is_impossible": "is_impossible", "answers": "answers"}),
        (CHOOSE, "sent1 sent2 ending0 ending1 label",
            {"prompt": "sent1", "prompt_end": "sent2", "choices": ["ending0", "ending1"], "label": "label"}),
        (CHOOSE, "question choices answerKey", {"prompt": "question", "choices": "choices", "label": "answerKey"}),
        (CHOOSE, "prompt C B A answer", None),
        (CHOOSE, "context question answer1 answer10 answer2 label", {"prompt": "context", "prompt_end": "question",
            "choices": ["answer1", "answer2", "answer10"], "label": "label"}),
        (CHOOSE, "ctx endings label", {"prompt": "ctx", "choices": "endings", "label": "label"}),
        ("next-sentence", "sentence_a sentence_b is_next",
            {"text": "sentence_a", "text_pair": "sentence_b", "is_next": "is_next"}),
        ("fill-mask", "source text", {"text": "text"}),
        ("fill-mask", "id letter", {"text": "letter"}),
        ("embed", "sentence1 sentence2 score", {"text": "sentence1", "text_pair": "sentence2", "label": "score"}),
        ("embed", "anchor positive negative", {"positive": "positive", "negative": "negative", "anchor": "anchor"}),
        ("embed", "question1 question2", {"text": "question1", "text_pair": "question2"}),
        ("reranking", "query document relevance", {"query": "query", "passage": "document", "label": "relevance"}),
    ],
)  # fmt: skip
def test_usual_names(task: str, columns: str, found: dict[str, Any] | None) -> None:
    first = {name: value or "x" for name, _, value in (column.partition("=") for column in columns.split())}
    if found is None:
        with pytest.raises(InputError, match="No column is known to hold the choices"):
            find_columns(SCHEMAS[task], [first])
        return
    assert find_columns(SCHEMAS[task], [first]).found == found


def test_columns_named_by_the_user_win() -> None:
    first = {"text": "", "Body": "", "label": "", "Kind": "", "toxic": "", "rude": ""}
    found = find_columns(SCHEMAS[CLASSIFY], [first], {"text": "body", "label": "Kind", "text_pair": None})
    assert found.found == {"text": "Body", "label": "Kind"}
    found = find_columns(SCHEMAS[CLASSIFY], [first], {"label": ["toxic", "rude"]})
    assert found.found == {"text": "text", "label": ["toxic", "rude"]}
    found = find_columns(
        SCHEMAS[CLASSIFY], [{"a": "", "b": "", "c": ""}], {"text": "a", "text_pair": "c"}, needs_label=False
    )
    assert found.found == {"text": "a", "text_pair": "c", "label": "b"}


@pytest.mark.parametrize(
    ("task", "columns", "given", "message"),
    [
        (CLASSIFY, "a b label", None, "No column is known to hold the text: the columns are 'a', 'b', 'label'; name it "
            "with columns={'text': '…'}."),
        (CLASSIFY, "text b c", None, "No column is known to hold the label: the columns are 'text', 'b', 'c'; name it "
            "with columns={'label': '…'}."),
        (CLASSIFY, "sentence review label", None, "Several columns may hold the text: 'sentence', 'review'; name it "
            "with columns={'text': '…'}."),
        (CLASSIFY, "text label labels", None, "Several columns may hold the label: 'label', 'labels'; name it with "
            "columns={'label': '…'}."),
        (CLASSIFY, "text label", {"text": "Body"}, "There is no column 'Body'; the columns are 'text', 'label'."),
        (CLASSIFY, "text labels", {"label": "lables"}, "There is no column 'lables'; the columns are 'text', 'labels'. "
            "Did you mean 'labels'?"),
        (CLASSIFY, "text label", {"lable": "label"}, "text-classification has no column for 'lable'; it has "
            "'text', 'text_pair', 'label'. Did you mean 'label'?"),
        (CLASSIFY, "text body label", {"text": "text+boddy"}, "There is no column 'boddy'; the columns are 'text', "
            "'body', 'label'. Did you mean 'body'?"),
        (TAG, "a b tags", {"words": ["a", "b"]}, "columns['words'] is ['a', 'b']; it must be one column, "
            "named by a str."),
        ("embed", "text", None, "No column is known to hold the text and text pair: the columns are 'text'; "
            "name it with columns={'text': '…', 'text_pair': '…'}."),
        (ANSWER, "question context", None, "No column is known to hold the answers: the columns are 'question', "
            "'context'; name it with columns={'answers': '…'}."),
        (TAG, "3.5 x y", None, "No column is known to hold the words and tags: the columns are '3.5', 'x', 'y'; name "
            "it with columns={'words': '…', 'tags': '…'} (if these are the first row, add a line with the names of the "
            "columns above)."),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_found(task: str, columns: str, given: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        find_columns(SCHEMAS[task], [dict.fromkeys(columns.split(), "x")], given)
    assert str(error.value) == message


QUORA = [
    {"id": "0", "qid1": "1", "qid2": "2", "question1": "a b", "question2": "c d", "is_duplicate": "0"},
    {"id": "1", "qid1": "3", "qid2": "4", "question1": "e f", "question2": "g h", "is_duplicate": "1"},
]
NEWS = [
    {"class": "3", "title": "Oil rises", "description": "Prices rose again."},
    {"class": "4", "title": "A new chip", "description": "It is fast."},
]


def test_a_column_of_0_and_1_beside_pairs_is_their_label() -> None:
    found = find_columns(SCHEMAS["embed"], QUORA)
    assert found.found == {"text": "question1", "text_pair": "question2", "label": "is_duplicate"}
    assert found.describe()[-1] == "label = is_duplicate (the only column of 0 and 1)"
    assert found.ignored == ["id", "qid1", "qid2"]
    assert ignored_data(SCHEMAS["embed"], found, QUORA) == []
    assert "label" not in find_columns(SCHEMAS["embed"], QUORA, {"label": ""}).found


def test_texts_may_be_joined_and_ignored_texts_are_warned_of() -> None:
    found = find_columns(SCHEMAS[CLASSIFY], NEWS)
    assert (found.found, found.ignored) == ({"text": "description", "label": "class"}, ["title"])
    assert ignored_data(SCHEMAS[CLASSIFY], found, NEWS) == [
        "The column 'title' holds texts and is not read; columns={'text': 'title+description'} reads both."
    ]
    for given in ("title+description", ["title", "description"]):
        found = find_columns(SCHEMAS[CLASSIFY], NEWS, {"text": given})
        assert found.describe() == ["text = title + description", "label = class"]
        assert ignored_data(SCHEMAS[CLASSIFY], found, NEWS) == []


@pytest.mark.parametrize(
    ("task", "columns", "lacking", "lacking_beside_labels"),
    [
        (CLASSIFY, "3 4", "text", "text and label"),
        (TAG, "3 4", "words", "words and tags"),
        (ANSWER, "3 4", "question and context", "question and context and answers"),
        (CHOOSE, "3 4", "choices and prompt", "choices and prompt and label"),
        ("next-sentence", "3 4", "text and text pair", "text and text pair and label"),
        ("fill-mask", "3 4", "text", "text"),
        ("embed", "3 4", "text and text pair", "text and text pair"),
        ("embed", "3 4 positive", "anchor", "anchor"),
        ("text2text-generation", "3 4", "target and source", "target and source"),
        ("reranking", "3 4", "query and passage", "query and passage and label"),
    ],
)
def test_what_rows_must_have(task: str, columns: str, lacking: str, lacking_beside_labels: str) -> None:
    first = dict.fromkeys(columns.split(), "x")
    for needs_label, wanted in ((False, lacking), (True, lacking_beside_labels)):
        with pytest.raises(InputError, match=f"^No column is known to hold the {wanted}: "):
            find_columns(SCHEMAS[task], [first], needs_label=needs_label)


def test_only_columns_of_texts_are_joined() -> None:
    texts = {task: [role.name for role in schema.roles if role.is_text] for task, schema in SCHEMAS.items()}
    assert texts == {
        "text-classification": ["text", "text_pair"],
        "token-classification": [],
        "question-answering": ["question", "context"],
        "multiple-choice": ["prompt", "prompt_end"],
        "next-sentence": ["text", "text_pair"],
        "fill-mask": ["text"],
        "embed": ["positive", "negative", "anchor", "text", "text_pair"],
        "text2text-generation": ["source"],
        "reranking": ["query", "passage"],
    }


def test_ignored_negatives_and_labels_are_warned_of_and_keys_are_not() -> None:
    rows = [
        {"anchor": "a", "positive": "b", "negative": "c", "negative_2": "d", "id": "7"},
        {"anchor": "e", "positive": "f", "negative": "g", "negative_2": "h", "id": "8"},
    ]
    assert ignored_data(SCHEMAS["embed"], find_columns(SCHEMAS["embed"], rows), rows) == [
        "The column 'negative_2' looks like more negatives and is not read: a row has one negative."
    ]
    rows = [{"anchor": "a", "positive": "b", "negative_1": "c"}]
    assert ignored_data(SCHEMAS["embed"], find_columns(SCHEMAS["embed"], rows), rows) == [
        "The column 'negative_1' looks like negatives and is not read; columns={'negative': 'negative_1'} reads it."
    ]
    rows = [{"text": "x", "label": "pos", "sentiment": "1", "spam": "0", "idx": "0"},
            {"text": "y", "label": "neg", "sentiment": "2", "spam": "1", "idx": "1"}]  # fmt: skip
    assert ignored_data(SCHEMAS[CLASSIFY], find_columns(SCHEMAS[CLASSIFY], rows), rows) == [
        f"The column {name!r} looks like a label and is not read; columns={{'label': {name!r}}} makes it the label."
        for name in ("sentiment", "spam")
    ]


def test_flag_columns_are_found_among_others_in_all_sampled_rows() -> None:
    rows = [{"comment_text": "x", "toxic": "1", "obscene": "0", "year": "1"},
            {"comment_text": "y", "toxic": "0", "obscene": "0", "year": "2"}]  # fmt: skip
    found = find_columns(SCHEMAS[CLASSIFY], rows)
    assert found.describe() == ["text = comment_text", "labels = toxic, obscene (0/1 columns)"]
    assert found.ignored == ["year"]


def test_columns_are_those_of_all_sampled_rows() -> None:
    found = find_columns(SCHEMAS[CLASSIFY], [{"text": "x"}, {"text": "y", "label": "a"}])
    assert found.found == {"text": "text", "label": "label"}


def test_columns_of_choices_are_separated_by_commas() -> None:
    row = {"question": "q", "A": "x", "B": "y", "answer": "A"}
    with pytest.raises(InputError, match=r"hold the choices: .*name it with columns=\{'choices': \['…', '…'\]\}\."):
        find_columns(SCHEMAS[CHOOSE], [row])
    assert find_columns(SCHEMAS[CHOOSE], [row], {"choices": "A,B"}).found["choices"] == ["A", "B"]
    with (
        spelling(load_command("choose").spell),
        pytest.raises(InputError, match=r"name it with --column choices=…,…\."),
    ):
        find_columns(SCHEMAS[CHOOSE], [row])


def test_short_passages_without_a_header_get_a_hint() -> None:
    row = dict.fromkeys(["what is bert", "a language model", "a puppet"], "x")
    with pytest.raises(InputError, match="add a line with the names of the columns above"):
        find_columns(SCHEMAS["embed"], [row])
