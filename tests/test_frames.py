"""Data frames of pandas, polars and PyArrow give the results of lists, or an error; never column names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

import bertie
from bertie.compression.quantizing import encode
from bertie.data.dataset import ExampleReader
from bertie.data.objects import object_records
from bertie.data.record import BadRows
from bertie.frames import columns_in, is_frame
from bertie.pipelines import SearchIndex

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "text", "label"]
TEXTS, OTHERS = ["a b", "c", "d e f", "g"], ["h", "a a", "b", "c d"]
WORDY = ["abc abd", "abc", "bd ab", "abd"]
MAKERS = {"pandas": pandas.DataFrame, "polars": polars.DataFrame, "pyarrow": pyarrow.table}


@pytest.fixture(params=list(MAKERS))
def frame(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], Any]:
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def pipe() -> Callable[..., Any]:
    tokenizer = bertie.BertTokenizer({word: index for index, word in enumerate(WORDS)})
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}

    def make(task: str, name: str, **config: Any) -> Any:
        given = bertie.BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes, **config)
        return bertie.pipeline(task, getattr(bertie, name)(given).eval(), tokenizer=tokenizer)

    return make


def test_embed(frame: Any, pipe: Any) -> None:
    embed = pipe("embed", "BertModel")
    expected = embed(TEXTS)
    table = frame({"label": [0, 1, 2, 3], "text": TEXTS})
    for given in (table, table["text"], frame({"message": TEXTS})):
        np.testing.assert_array_equal(embed(given), expected)
    assert embed(frame({"text": TEXTS[:1]})).shape == (1, 16)
    with pytest.raises(bertie.InputError, match=r"columns of the table are 'id', 'body'; .* 'text'.*; rename them"):
        embed(frame({"id": [1], "body": ["a"]}))


def test_a_zero_dimensional_array_is_refused(pipe: Any) -> None:
    embed = pipe("embed", "BertModel")
    for call in (embed, embed.tokenizer):
        with pytest.raises(bertie.InputTypeError, match=r"array\('a b', dtype='<U3'\), an array without dimensions"):
            call(np.array("a b"))


def test_rows_are_streamed(frame: Any, pipe: Any) -> None:
    embed = pipe("embed", "BertModel")
    assert len(list(embed.stream(frame({"text": TEXTS, "label": OTHERS})))) == 4


@pytest.mark.parametrize(
    ("task", "name", "config", "columns", "inputs"),
    [
        ("text-classification", "BertForSequenceClassification", {}, {"text": TEXTS}, TEXTS),
        (
            "text-classification",
            "BertForSequenceClassification",
            {},
            {"text_pair": OTHERS, "text": TEXTS},
            list(zip(TEXTS, OTHERS, strict=True)),
        ),
        ("token-classification", "BertForTokenClassification", {}, {"id": [1, 2], "text": TEXTS[:2]}, TEXTS[:2]),
        ("ner", "BertForTokenClassification", {}, {"words": [["a", "b"], ["c"]]}, [["a", "b"], ["c"]]),
        (
            "question-answering",
            "BertForQuestionAnswering",
            {},
            {"question": ["a b", "c"], "context": ["d a b", "c e"], "id": [1, 2]},
            [("a b", "d a b"), ("c", "c e")],
        ),
        (
            "multiple-choice",
            "BertForMultipleChoice",
            {},
            {"prompt": ["a", "b"], "choices": [["c", "d"], ["e", "f", "g"]]},
            [("a", ["c", "d"]), ("b", ["e", "f", "g"])],
        ),
        (
            "reranking",
            "BertForSequenceClassification",
            {"num_labels": 1},
            {"query": ["a", "a"], "passage": ["b", "c"]},
            [("a", "b"), ("a", "c")],
        ),
        ("fill-mask", "BertForMaskedLM", {}, {"text": ["a [MASK]", "[MASK] b"]}, ["a [MASK]", "[MASK] b"]),
        ("next-sentence", "BertForNextSentencePrediction", {}, {"text": ["a"], "text_pair": ["b"]}, [("a", "b")]),
    ],
)
def test_every_task(frame: Any, pipe: Any, task: str, name: str, config: Any, columns: Any, inputs: Any) -> None:
    made = pipe(task, name, **config)
    assert made(frame(columns)) == made(inputs)
    with pytest.raises(bertie.InputError, match="rename them"):
        made(frame({"some": ["a"], "thing": ["b"]}))


def test_other_columns_accompany_a_text(frame: Any, pipe: Any) -> None:
    table = frame({"passage": TEXTS, "context": OTHERS})
    rerank = pipe("reranking", "BertForSequenceClassification", num_labels=1)
    assert rerank("a", table["passage"]) == rerank("a", TEXTS)
    choose = pipe("multiple-choice", "BertForMultipleChoice")
    assert choose("a", table["passage"]) == choose("a", TEXTS)
    answer = pipe("question-answering", "BertForQuestionAnswering")
    expected = answer(question=TEXTS, context=OTHERS)
    assert answer(question=table["passage"], context=table["context"]) == expected
    for call in (lambda: rerank("a", table), lambda: answer(question=table, context="a")):
        with pytest.raises(bertie.InputTypeError, match="The input is a table with the columns 'passage', 'context';"):
            call()


def test_search(frame: Any, pipe: Any) -> None:
    embed = pipe("embed", "BertModel")
    table = frame({"id": [1, 2, 3, 4], "text": TEXTS})
    expected = SearchIndex(TEXTS, embed).search(["a", "b"])
    for given in (table, table["text"]):
        found = SearchIndex(given, embed)
        assert found.texts == TEXTS
        assert found.search(frame({"text": ["a", "b"]})) == expected
    with pytest.raises(bertie.InputTypeError, match="give a text or a list"):
        SearchIndex("a b c", embed)


def test_estimators(frame: Any, tmp_path: Path, pipe: Any) -> None:
    made = pipe("embed", "BertModel")
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    embedder = bertie.BertEmbedder(tmp_path).fit()
    expected = embedder.transform(TEXTS)
    for given in (frame({"text": TEXTS, "label": OTHERS, "id": TEXTS}), frame({"body": TEXTS})):
        np.testing.assert_array_equal(embedder.transform(given), expected)
    pairs = embedder.transform(list(zip(TEXTS, OTHERS, strict=True)))
    for given in (frame({"text_pair": OTHERS, "text": TEXTS}), frame({"a": TEXTS, "b": OTHERS})):
        np.testing.assert_array_equal(embedder.transform(given), pairs)
    with pytest.raises(bertie.InputError, match="X is a table of 3 columns"):
        embedder.transform(frame({"a": TEXTS, "b": TEXTS, "c": TEXTS}))


def test_tokenizers(frame: Any) -> None:
    tokenizer = bertie.BertTokenizer({word: index for index, word in enumerate(WORDS)})
    table = frame({"id": OTHERS, "text": TEXTS})
    assert tokenizer(table["text"])["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert tokenizer(table["text"], table["id"])["input_ids"] == tokenizer(TEXTS, OTHERS)["input_ids"]
    expected = tokenizer.train_new_from_iterator(WORDY, 14, min_frequency=1).get_vocab()
    assert (
        tokenizer.train_new_from_iterator(frame({"id": OTHERS, "text": WORDY}), 14, min_frequency=1).get_vocab()
        == expected
    )
    with pytest.raises(bertie.InputTypeError):
        tokenizer(table)


def test_calibration_texts(frame: Any, pipe: Any) -> None:
    made = pipe("embed", "BertModel")
    expected = encode(TEXTS, made.tokenizer, made.model).lengths
    assert encode(frame({"id": OTHERS, "text": TEXTS}), made.tokenizer, made.model).lengths == expected


def test_labelled_rows(frame: Any) -> None:
    rows = object_records(frame({"text": ["a", None], "words": [["b"], ["c", "d"]]}), BadRows())
    assert [row.fields for row in rows] == [{"text": "a", "words": ["b"]}, {"text": None, "words": ["c", "d"]}]


def test_a_missing_text_is_named(frame: Any, pipe: Any) -> None:
    with pytest.raises(bertie.InputTypeError, match="1 "):
        pipe("embed", "BertModel")(frame({"text": ["a", None]}))


def test_tables_that_cannot_be_read() -> None:
    twice = pandas.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(bertie.InputError, match="two columns 'text'"):
        columns_in(twice)
    with pytest.raises(bertie.InputTypeError, match=r"LazyFrame, .* \.collect\(\)"):
        columns_in(polars.LazyFrame({"text": ["a"]}))
    with pytest.raises(bertie.InputTypeError, match=r"columns is 'Body'; give a mapping .* \{'text': 'Body'\}"):
        ExampleReader("text-classification", columns="Body")
    assert not any(map(is_frame, (["a"], {"columns": 1}, pandas.Series(["a"]), polars.Series(["a"]), np.zeros(2))))
