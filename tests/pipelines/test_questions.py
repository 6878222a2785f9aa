"""question-answering: transformers 4's answers, windows, no answer, and questions in every form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from computing import compute

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.tasks.spans import WindowScores

FIXTURE = Path(__file__).parents[1] / "parity" / "fixtures" / "question-answering"


@pytest.fixture(scope="module")
def pipe() -> Any:
    tokenizer = bertie.BertTokenizer(FIXTURE / "vocab.txt", model_max_length=128)
    model = bertie.BertForQuestionAnswering.from_pretrained(FIXTURE)
    # answers are compared exactly, and rows of a PyTorch model are bitwise independent only on request
    return bertie.pipeline("question-answering", model, tokenizer=tokenizer, device="cpu", deterministic=True)


def same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    else:
        assert list(ours) == list(theirs)
        assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=1e-4, abs=1e-12)}


def test_question_and_context_as_separate_arguments(pipe: Any) -> None:
    asked = {"question": "Who?", "context": "John did it."}
    assert pipe("Who?", "John did it.") == pipe(**asked) == pipe(asked)
    assert pipe(["Who?", "What?"], "John did it.") == pipe(question=["Who?", "What?"], context="John did it.")
    assert pipe("Who?", context="John did it.") == pipe(asked)
    with pytest.raises(InputTypeError, match="not both"):
        pipe("Who?", "John did it.", question="Who?")


def test_answers_equal_transformers_4(pipe: Any) -> None:
    cases = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
    assert len(cases) > 50
    for case in cases:
        same(pipe(question=case["question"], context=case["context"], **case["options"]), case["answer"])


def test_questions_come_in_every_form(pipe: Any) -> None:
    questions, context = ["Where was Ada born?", "Who?"], "Ada was born in London."
    one, other = (pipe(question=question, context=context) for question in questions)
    both = [{"question": question, "context": context} for question in questions]
    assert pipe(both[0]) == pipe((questions[0], context)) == one
    assert pipe(both) == pipe(question=questions, context=context) == [one, other]
    assert pipe(question=questions, context=[context] * 2) == list(pipe(iter(both))) == [one, other]
    assert pipe(both[:1]) == [one]
    assert pipe([{**both[0], "id": "q1"}]) == [one]
    assert pipe(both[0], topk=2, max_seq_len=64, doc_stride=8) == pipe(both[0], top_k=2, max_length=64, overlap=8)
    assert pipe([]) == []


def test_bad_questions_are_refused(pipe: Any) -> None:
    for given, message in (
        ({"question": "Who?"}, "both question"),
        ({"inputs": ("a", "b"), "question": "Who?"}, "not both"),
        ({"inputs": "Who?"}, "must be a pair"),
        ({"inputs": {"question": "Who?"}}, "'question' and 'context'"),
        ({"inputs": {"question": "Who?", "context": None}}, "The context of input 0 is None"),
    ):
        with pytest.raises(InputTypeError, match=message):
            pipe(**given)
    for given, message in (
        ({"question": "Who?", "context": ["a", "b"]}, "one question and a list"),
        ({"question": ["Who?"], "context": ["a", "b"]}, "1 questions and 2 contexts"),
        ({"question": "Who?", "context": ""}, "The context of input 0 is empty"),
        ({"question": "Who?", "context": "a", "top_k": 0}, "top_k is 0"),
        ({"question": "Who?", "context": "a", "max_answer_len": 0}, "max_answer_len is 0"),
    ):
        with pytest.raises(InputError, match=message):
            pipe(**given)


def test_a_context_without_tokens_has_no_answer(pipe: Any) -> None:
    assert pipe(question="Who?", context=" \n") == {"score": 0.0, "start": 0, "end": 0, "answer": ""}


def test_long_contexts_are_read_in_windows(pipe: Any) -> None:
    context = "he lived in rome " * 60 + "ada was born in london " + "and died in rome " * 60
    question = "where was ada born?"
    answers = pipe(question=question, context=context, top_k=5)
    assert len(answers) == 5
    for answer in answers:
        assert answer["answer"] == context[answer["start"] : answer["end"]]
        assert 0 < answer["score"] <= 1
        assert "truncated" not in answer
    cut = pipe(question=question, context=context, windows=False)
    whole = len(pipe.tokenizer.tokenize(question)) + len(pipe.tokenizer.tokenize(context)) + 3
    assert cut["truncated"] == whole - 128
    assert cut["end"] < 600
    with pytest.raises(InputError, match="only 128 are read"):
        pipe(question=question, context=context, windows=False, truncation=False)


@pytest.mark.parametrize("aligned", [True, False])
def test_as_many_answers_as_requested_while_spans_last(pipe: Any, aligned: bool) -> None:
    short = "Ada was born in London."  # fifteen spans of whole words
    long = "he lived in rome and ada was born in london. " * 20
    asked = [{"question": "who?", "context": context} for context in (short, long, short * 2)]
    options = {"top_k": 12, "max_answer_len": 4, "align_to_words": aligned, "max_length": 40, "overlap": 8}
    alone = [pipe(one, **options) for one in asked]
    for answers, one in zip(alone, asked, strict=True):
        assert len({answer["answer"].lower() for answer in answers}) == 12
        assert [answer["score"] for answer in answers] == sorted((a["score"] for a in answers), reverse=True)
        assert all(one["context"][a["start"] : a["end"]] == a["answer"] for a in answers)
    for found, expected in zip(pipe(asked, **options), alone, strict=True):
        same(found, expected)
    assert len(pipe(question="who?", context="Ada", **options)) < 6  # there are no more spans


def test_the_best_answer_of_all_windows_has_the_highest_logits(pipe: Any) -> None:
    context = "he lived in rome and ada was born in london, who died in 1815. " * 12
    task = pipe.codec.with_options(max_length=64, overlap=16)
    (values,) = windows_of(pipe, task, [("where was ada born?", context)])
    every = []
    for window in values:
        for first in window.owned:
            start = first - window.first
            ends = window.end[start : start + 15]
            every.append((float(window.start[start] + ends.max()), first, first + int(ends.argmax())))
    _, first, last = max(every)
    answer = pipe(question="where was ada born?", context=context, max_length=64, overlap=16, align_to_words=False)
    (row,) = pipe.tokenizer.rows([context])
    offsets = row.windows[0].pieces.offsets
    assert context[offsets[first][0] : offsets[last][1]] == answer["answer"]


def windows_of(pipe: Any, task: Any, inputs: list[Any]) -> list[list[WindowScores]]:
    return list(compute(task, pipe.model, task.encode(inputs)))


def test_the_threshold_decides_for_no_answer(pipe: Any) -> None:
    given = {"question": "where?", "context": "ada was born in london", "handle_impossible_answer": True, "top_k": 3}
    usual = pipe(**given)
    (null,) = [answer for answer in usual if not answer["answer"]] or [None]
    eager = pipe(**given, no_answer_threshold=-50.0)
    assert eager[0]["answer"] == ""
    assert eager[0]["score"] == 1.0
    shy = pipe(**given, no_answer_threshold=50.0)
    assert all(answer["answer"] for answer in shy)
    assert null is None or null["score"] < 1


def test_long_questions_are_truncated(pipe: Any) -> None:
    answer = pipe(question="who was he " * 40, context="ada was born in london")
    assert answer["truncated"] == 40 * 3 - 64
    assert "truncated" not in pipe(question="who was he", context="ada was born in london")


def test_half_precision_and_batches_change_nothing(tiny: Callable[..., Path], texts: list[str]) -> None:
    folder = tiny("BertForQuestionAnswering")
    pipe = bertie.pipeline("question-answering", folder, device="cpu")
    inputs = [("What is it?", text) for text in texts[:60]]
    together, alone = pipe(inputs), [pipe(one) for one in inputs]
    for one, other in zip(together, alone, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=1e-3)
    small = bertie.pipeline("question-answering", folder, device="cpu", dtype=torch.bfloat16)
    assert small(inputs[0])["score"] > 0
