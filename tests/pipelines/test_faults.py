"""Bad inputs to pipelines give one clear sentence that names the text, or a defined answer; never NaN."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from computing import of_module

import bertie
from bertie.engine import Engine
from bertie.errors import BertieError, InputError, InputTypeError

Tiny = Callable[..., Path]


@pytest.fixture
def classify(tiny: Tiny) -> Any:
    return bertie.pipeline("text-classification", tiny("BertForSequenceClassification"), device="cpu")


@pytest.mark.parametrize("bad", [None, 3, b"bytes", float("nan"), ["a"], ("a", "b", "c")], ids=repr)
def test_2_3_an_input_that_is_not_a_text_is_named_by_its_number(classify: Any, bad: Any) -> None:
    with pytest.raises(InputTypeError, match="Input 1 is .*must be a str, a pair of them, or a mapping"):
        classify(["fine", bad])


def test_3_numbers_count_from_the_first_text_of_the_call(classify: Any) -> None:
    source = iter([*["fine"] * 5, None])
    with pytest.raises(InputTypeError, match="Input 5 is None"):
        list(classify.stream(source, chunk=2))


def test_inputs_must_be_lists_of_texts(classify: Any) -> None:
    for bad in (None, 3, b"bytes"):
        with pytest.raises(InputTypeError, match="give a text or a list of texts"):
            classify(bad)
    with pytest.raises(InputTypeError, match="has 'text' and 'text_pair', not"):
        classify({"txt": "a"})
    assert classify([]) == []


def test_5_a_text_without_tokens_says_so(classify: Any) -> None:
    answers = classify(["", " \t", "\x00\u200b", "word"])
    assert [answer.get("empty") for answer in answers] == [True, True, True, None]
    assert [answer["empty"] for answer in classify("", top_k=2)] == [True, True]
    assert "truncated" not in answers[3]


def test_29_truncation_is_reported(classify: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "bertie"):
        answers = classify(["word " * 70, "word", ("word " * 40, "word " * 40)])
    assert [answer.get("truncated") for answer in answers] == [8, None, 19]
    assert caplog.messages == ["2 of 3 texts are longer than the 64 tokens the model reads; the rest was left out."]
    assert classify("word " * 10, max_length=8)[0]["truncated"] == 4
    with pytest.raises(InputError, match="max_position_embeddings = 64"):
        classify("word " * 70, truncation=False)


def test_7_a_typed_mask_is_a_mask_and_others_may_be_text(tiny: Tiny, classify: Any) -> None:
    fill = bertie.pipeline("fill-mask", tiny("BertForMaskedLM"), device="cpu")
    assert len(fill("a [MASK]")) == 5
    with pytest.raises(InputError, match=r"Text 1 has no \[MASK\] to fill; put one for a word\."):
        fill(["a [MASK]", "none"])
    with pytest.raises(InputError, match=r"Text 0 has no \[MASK\] to fill; 18 tokens were cut off"):
        fill("word " * 79 + "[MASK]")
    assert classify("a [SEP] b") != classify("a [SEP] b", split_special_tokens=True)


def test_16_a_tokenizer_with_more_words_than_the_model(tiny: Tiny) -> None:
    folder = tiny("BertForMaskedLM", vocab_size=30000)
    with pytest.raises(InputError, match="The tokenizer has 30522 tokens, but the model's embeddings only 30000"):
        bertie.pipeline("fill-mask", folder)


def test_27_nan_names_layer_and_text(tiny: Tiny) -> None:
    pipe = of_module("embed", tiny(num_hidden_layers=3))
    word = pipe.tokenizer.convert_tokens_to_ids("zebra")
    with torch.no_grad():
        pipe.model.embeddings.word_embeddings.weight[word] = float("inf")
    texts = ["a dog", "a cat and a dog", "a zebra"]
    assert pipe(texts[:2]).shape == (2, 32)
    with pytest.raises(BertieError, match=r"first in the embeddings, for text 2 \(computed in float32\)"):
        pipe(texts)
    pipe.model.save_pretrained(folder := tiny(num_hidden_layers=3))
    engine = bertie.pipeline("embed", folder, device="cpu", model_kwargs={"allow_nan": True})
    assert isinstance(engine.model, Engine)
    assert engine(texts[:2]).shape == (2, 32)
    with pytest.raises(BertieError, match=r"first in the embeddings, for text 2 \(computed in float32\)"):
        engine(texts)


def test_27_float16_overflow_names_the_layer(tiny: Tiny) -> None:
    pipe = bertie.pipeline("text-classification", tiny("BertForSequenceClassification"), device="cpu", dtype="float16")
    layer = pipe.model.bert.encoder.layer[1]
    with torch.no_grad():
        layer.intermediate.dense.bias.fill_(1000)
        layer.output.dense.weight.fill_(100)  # 48 · 1000 · 100 exceeds 65504
    with pytest.raises(BertieError, match=r"encoder layer 1, for text 0 \(computed in float16\); use dtype='float32'"):
        pipe("a dog")


def test_27_a_damaged_head_is_named(tiny: Tiny) -> None:
    classify = of_module("text-classification", tiny("BertForSequenceClassification"))
    with torch.no_grad():
        classify.model.classifier.bias[0] = float("nan")
    with pytest.raises(BertieError, match="first in the head"):
        classify("a dog")


def test_30_a_batch_that_is_too_large_is_split(classify: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word {number}" for number in range(9)]
    expected = classify(texts)
    run = type(classify.codec).run

    def small_memory(self: Any, model: Any, features: Any) -> Any:
        if len(features.ids) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, model, features)

    monkeypatch.setattr(type(classify.codec), "run", small_memory)
    assert [answer["label"] for answer in classify(texts)] == [answer["label"] for answer in expected]


def test_unknown_and_impossible_arguments(tiny: Tiny, classify: Any) -> None:
    with pytest.raises(InputTypeError, match=r"no option 'topk'; it has .*Did you mean 'top_k'\?"):
        classify("a", topk=2)
    with pytest.raises(InputTypeError) as error:
        classify("a", btach_size=2)
    assert str(error.value) == (
        "text-classification has no option 'btach_size'; it has batch_size, truncation, max_length, padding, "
        "split_special_tokens, windows, overlap, temperature, window_scores, top_k, function_to_apply, thresholds. "
        "Did you mean 'batch_size'?"
    )
    with pytest.raises(InputTypeError, match=r"embed has no option 'btach_size'; it has model, .*'batch_size'\?"):
        bertie.pipeline("embed", "a model that is not looked for", btach_size=3)
    with pytest.raises(InputTypeError, match="has no option 'focal'; it has"):  # a training option
        classify("a", focal=2.0)
    assert classify("a", topk=None, framework=None) == classify("a")  # None is ignored
    with pytest.raises(InputTypeError, match="no option 'maxlength'"):
        bertie.pipeline("fill-mask", tiny("BertForMaskedLM"), maxlength=2)
    for options, message in (
        ({"top_k": 0}, "top_k is 0"),
        ({"function_to_apply": "tanh"}, "'tanh'; it must be one of 'default', 'sigmoid'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(InputError, match=message):
            classify("a", **options)
    with pytest.raises(InputError, match="no task 'translate'"):
        bertie.pipeline("translate")
    with pytest.raises(InputError, match="has no default model"):
        bertie.pipeline("text-classification")
    with pytest.raises(InputTypeError, match="model is a int"):
        bertie.pipeline("fill-mask", 3)
    with pytest.raises(InputError, match="Give a tokenizer, too"):
        bertie.pipeline("embed", bertie.BertModel(bertie.BertConfig(hidden_size=12, num_hidden_layers=1)))
    with pytest.raises(InputError, match="is not a pair of texts"):
        bertie.pipeline("next-sentence", tiny("BertForNextSentencePrediction"))(["alone"])
    with pytest.raises(InputError, match="device is 'gpu0'"):
        bertie.pipeline("embed", tiny(), device="gpu0")
    with pytest.raises(InputError, match="device is 'cuda:99', but this machine has"):
        bertie.pipeline("embed", tiny(), device="cuda:99")


def test_the_callers_model_is_put_in_eval_mode(tiny: Tiny) -> None:
    folder = tiny("BertForMaskedLM")
    model = bertie.BertForMaskedLM.from_pretrained(folder).train()
    pipe = bertie.pipeline("fill-mask", model, tokenizer=folder, device=-1)
    assert not model.training
    assert pipe("a [MASK]") == pipe("a [MASK]")


def test_threads_may_share_a_pipeline(classify: Any) -> None:
    texts = [f"word {number} " * (number % 7 + 1) for number in range(24)]
    expected = classify(texts)
    with ThreadPoolExecutor(8) as threads:
        for answers in threads.map(lambda _: classify(texts), range(24)):
            assert answers == expected
