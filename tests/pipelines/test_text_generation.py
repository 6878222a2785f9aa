"""Generation pipelines: the reference's texts and forms of answers, all kinds of options, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.pipelines.conftest import TINY

import bertie

PROMPTS = ["The garden was", "She opened the door and saw that the old man"]
Save = Callable[..., Path]


@pytest.fixture
def decoder(tiny: Save) -> Path:
    return tiny("BertLMHeadModel", is_decoder=True, initializer_range=0.3)


@pytest.fixture
def pair(minilm: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    halves = [bertie.BertConfig(**TINY, initializer_range=0.3) for _ in range(2)]
    config = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    bertie.EncoderDecoderModel(config).save_pretrained(tmp_path / "pair")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "pair")
    return tmp_path / "pair"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3, "num_return_sequences": 2},
        {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
        {"max_new_tokens": None, "max_length": 14},
        {"prefix": "once upon a time "},
    ],
    ids=str,
)
def test_generated_texts_equal_the_references(decoder: Path, options: dict[str, Any]) -> None:
    asked = {"max_new_tokens": 6, "return_tensors": True, "add_special_tokens": False, "do_sample": False, **options}
    given = {name: value for name, value in asked.items() if value is not None}
    theirs = transformers.pipeline("text-generation", model=str(decoder), device="cpu", dtype=torch.float32)
    theirs.generation_config = theirs.model.generation_config = transformers.GenerationConfig(pad_token_id=0)
    expected = [theirs(prompt, **given)[0:] for prompt in PROMPTS]
    found = bertie.pipeline("text-generation", decoder)(PROMPTS, **given)
    assert found == expected


def test_forms_of_answers(decoder: Path, pair: Path) -> None:
    write = bertie.pipeline("text-generation", decoder, max_new_tokens=4)
    (one,) = write(PROMPTS[0])
    assert one["generated_text"].startswith(PROMPTS[0])
    assert write([PROMPTS[0]]) == [[one]]
    (new,) = write(PROMPTS[0], return_full_text=False)
    assert PROMPTS[0] + new["generated_text"] == one["generated_text"]
    assert [len(each) for each in write(PROMPTS, num_beams=2, num_return_sequences=2)] == [2, 2]
    assert list(write(iter(PROMPTS))) == write(PROMPTS)
    summarize = bertie.pipeline("summarization", pair, max_length=6)
    (one,) = summarize(PROMPTS[0])
    assert list(one) == ["summary_text"]
    assert summarize([PROMPTS[0]]) == [one]
    assert [len(each) for each in summarize(PROMPTS, num_beams=2, num_return_sequences=2)] == [2, 2]
    (ids,) = summarize(PROMPTS[0], return_tensors=True)
    assert len(ids["summary_token_ids"]) <= 5


def test_engine_and_model_agree_and_batches_change_nothing(decoder: Path, pair: Path, texts: list[str]) -> None:
    for task, folder in (("text-generation", decoder), ("text2text-generation", pair)):
        asked = {"max_new_tokens": 5, "num_beams": 2}
        pipe = bertie.pipeline(task, folder)
        assert "on the engine" in pipe.explain()
        prompts = [" ".join(text.split()[:20]) for text in texts[:12]]
        found = pipe(prompts, **asked)
        model = bertie.pipeline(task, getattr(bertie, pipe.model.architecture).from_pretrained(folder))
        assert found == model(prompts, **asked)
        assert found == [pipe([prompt], **asked)[0] for prompt in prompts]


def test_settings_in_the_folder_are_obeyed(pair: Path) -> None:
    source = PROMPTS[1]
    bertie.GenerationConfig(max_new_tokens=3, num_beams=2, num_return_sequences=2).save_pretrained(pair)
    assert len(bertie.pipeline("summarization", pair)(source)) == 2
    config = json.loads((pair / "config.json").read_text())
    config["task_specific_params"] = {"summarization": {"num_return_sequences": 1, "prefix": "summarize: "}}
    (pair / "config.json").write_text(json.dumps(config))
    (found,) = bertie.pipeline("summarization", pair)(source)
    plain = bertie.pipeline("text2text-generation", pair)
    assert len(plain(source)) == 2
    assert [found["summary_text"]] == [plain("summarize: " + source, num_return_sequences=1)[0]["generated_text"]]


def test_sampling_follows_the_seed(decoder: Path) -> None:
    pipe = bertie.pipeline("text-generation", decoder, do_sample=True, max_new_tokens=8, temperature=2.0)
    assert pipe(PROMPTS, seed=1) == pipe(PROMPTS, seed=1) != pipe(PROMPTS, seed=2)
    model = bertie.pipeline("text-generation", bertie.BertLMHeadModel.from_pretrained(decoder), do_sample=True)
    assert model(PROMPTS, seed=1, max_new_tokens=8) == model(PROMPTS, seed=1, max_new_tokens=8)


def test_bad_input(decoder: Path, pair: Path, tiny: Save) -> None:
    write = bertie.pipeline("text-generation", decoder)
    for given, options, message in (
        (PROMPTS[0], {"num_beam": 2}, "Did you mean 'num_beams'?"),
        (PROMPTS[0], {"num_beams": 0}, "num_beams is 0"),
        (PROMPTS[0], {"max_new_tokens": 100}, "goes beyond the model's positions"),
        ("word " * 70, {}, "A text has 70 tokens"),
        (["a", ""], {}, "has no token to continue"),
        (("a", "b"), {}, "it must be a str"),
        (PROMPTS[0], {"prefix": 3}, "prefix is 3; it must be a text"),
        (PROMPTS[0], {"seed": "a"}, "seed is 'a'; it must be an integer"),
        (PROMPTS[0], {"stopping_criteria": max}, "stopping_criteria is a builtin_function_or_method; give a list"),
        (PROMPTS[0], {"prefix_allowed_tokens_fn": 5}, "prefix_allowed_tokens_fn is a int; it must be a function"),
    ):
        with pytest.raises(bertie.BertieError, match=message.replace("?", r"\?")):
            write(given, **options)
    with pytest.raises(bertie.InputError, match="Text generation needs a decoder"):
        bertie.pipeline("text-generation", tiny("BertForMaskedLM"))
    with pytest.raises(bertie.CheckpointError, match="whose head was never trained"):
        bertie.pipeline("text-generation", tiny("BertModel", is_decoder=True))
    with pytest.raises(bertie.ConfigError, match="an EncoderDecoderModel is of type 'encoder-decoder'"):
        bertie.pipeline("summarization", decoder)
    long = bertie.pipeline("summarization", pair, max_length=4)("word " * 70)
    assert long[0]["truncated"] == 8


def test_tokens_are_drafted_for_each_text_alone(decoder: Path) -> None:
    model = bertie.BertLMHeadModel.from_pretrained(decoder)
    pipes = [bertie.pipeline("text-generation", each, tokenizer=decoder, max_new_tokens=6) for each in (decoder, model)]
    plain = pipes[0](PROMPTS)
    assert [pipe(PROMPTS, prompt_lookup_num_tokens=3) for pipe in pipes] == [plain, plain]
