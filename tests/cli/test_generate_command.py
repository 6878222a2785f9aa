"""``bertie generate``: JSON lines for programs, streamed words on a terminal, and errors in one sentence."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
Run = Callable[..., Any]


@pytest.fixture
def folder(mini: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = bertie.BertConfig(**SIZES, is_decoder=True, max_position_embeddings=40, initializer_range=0.3)
    bertie.BertLMHeadModel(config).save_pretrained(tmp_path / "decoder")
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path / "decoder")
    return tmp_path / "decoder"


def test_lines_of_json(folder: Path, run: Run) -> None:
    asked = ["-m", str(folder), "--max-new-tokens", "4"]
    one, other = run("generate", "The garden was", "It rained", *asked).records
    assert one["text"] == "The garden was"
    pipe = bertie.pipeline("text-generation", folder, max_new_tokens=4, return_full_text=False)
    assert other["generated_text"] == pipe("It rained")[0]["generated_text"].strip()
    beams = ["--full-text", "--num-beams", "2", "--num-return-sequences", "2"]
    both = run("generate", "It rained", *asked, *beams).records[0]["generated_text"]
    assert len(both) == 2
    assert all(text.startswith("It rained") for text in both)
    drawing = ["--sample", "--temperature", "3", "--seed"]
    drawn = [run("generate", "It rained", *asked, *drawing, seed).out for seed in "112"]
    assert drawn[0] == drawn[1] != drawn[2]


def test_options_without_effect_are_named_as_typed(folder: Path, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run("generate", "It rained", "-m", folder, "--max-new-tokens", "2", "--temperature", "3.5")
    assert "--temperature 3.5 has no effect without --sample" in caplog.text


def test_words_are_streamed_to_a_terminal(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    asked = ["generate", "It rained", "-m", str(folder), "--max-new-tokens", "4"]
    expected = bertie.pipeline("text-generation", folder, max_new_tokens=4, return_full_text=False)("It rained")
    assert run(*asked).out.strip() == expected[0]["generated_text"].strip()
    assert run(*asked, "--num-beams", "2").out.startswith('{"text": ')


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("-m", "{mini}"), "Text generation needs a decoder"),
        ((), "'text-generation' has no default model"),
        (("-m", "{folder}", "--max-new-tokens", "60"), "goes beyond the model's positions"),
        (("-m", "{folder}", "--num-beams", "2", "--num-return-sequences", "3"), "at most one per beam is returned"),
        (("-m", "{folder}", "--num-beam", "2"), "Did you mean '--num-beams'?"),
    ],
)
def test_refusals(more: tuple[str, ...], sentence: str, folder: Path, mini: Path, run: Run) -> None:
    ran = run("generate", "It rained", *(each.format(mini=mini, folder=folder) for each in more))
    assert ran.code == 2
    assert sentence in ran.err.splitlines()[-1]
