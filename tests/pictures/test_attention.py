"""Pictures of attention: the weights in them are the model's, and no text can inject markup."""

import base64
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.pictures.attention import COARSE, FINE, MAX_WEIGHTS
from bertie.pictures.png import opacity_of, png

Made = tuple[Any, Any]
TEXT = "The cat sat on the mat."
IMAGE = re.compile(r'xlink:href="data:image/png;base64,([^"]+)"')


def read_png(file: bytes) -> np.ndarray:
    """Decode an unfiltered PNG of one byte per cell, checking the CRC of each chunk."""
    place, chunks = 8, {}
    while place < len(file):
        length, kind = struct.unpack(">I4s", file[place : place + 8])
        body = file[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", file[place + 8 + length : place + 12 + length])[0]
        chunks[kind] = body
        place += 12 + length
    columns, rows = struct.unpack(">II", chunks[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


@pytest.fixture(scope="module")
def made(minilm: Path) -> Made:
    """A small random model in training mode, and a tokenizer."""
    torch.manual_seed(0)
    config = bertie.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=40
    )
    return bertie.BertForMaskedLM(config).train(), bertie.BertTokenizer.from_pretrained(minilm)


def test_the_weights_are_the_models(made: Made) -> None:
    model, tokenizer = made
    picture = bertie.plot_attention(model, tokenizer, TEXT, "It slept.")
    inputs = tokenizer(TEXT, "It slept.", return_tensors="pt")
    attentions = model.eval()(**inputs, output_attentions=True).attentions
    model.train()
    drawn = [read_png(base64.b64decode(image)) for image in IMAGE.findall(picture.svg)]
    assert len(drawn) == 8
    for one, (layer, head) in zip(drawn, np.ndindex(2, 4), strict=True):
        weights = attentions[layer][0, head].detach().numpy()
        np.testing.assert_allclose((one / 255.0) ** 2, weights, atol=0.005)
    assert len(IMAGE.findall(picture.html)) == 9  # the first once more, large


@pytest.mark.parametrize(("layer", "head", "count"), [(None, 1, 2), (-1, None, 4), (0, -1, 1)])
def test_one_layer_or_one_head(made: Made, layer: int | None, head: int | None, count: int) -> None:
    picture = bertie.plot_attention(*made, TEXT, layer=layer, head=head)
    assert len(IMAGE.findall(picture.svg)) == count
    assert ("<select" in picture.html) == (count > 1)
    if count == 1:
        words = [
            element.text for element in ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert words == ["layer 0, head 3", *["[CLS]", "the", "cat", "sat", "on", "the", "mat", ".", "[SEP]"] * 2]


def test_the_model_is_left_as_it_was(made: Made) -> None:
    model, tokenizer = made
    model.bert.encoder.layer[0].eval()
    before = [module.training for module in model.modules()]
    first, second = (bertie.plot_attention(model, tokenizer, TEXT).svg for _ in range(2))
    assert first == second  # no dropout
    assert [module.training for module in model.modules()] == before
    model.train()


def test_other_models_and_tokenizers(made: Made, minilm: Path) -> None:
    model, tokenizer = made
    config = model.config
    legacy = bertie.BertTokenizerLegacy.from_pretrained(minilm)
    same = bertie.plot_attention(model, legacy, TEXT, "Words.").svg
    assert same == bertie.plot_attention(model, tokenizer, TEXT, "Words.").svg
    for name in ("BertForMultipleChoice", "BertForQuestionAnswering", "BertForNextSentencePrediction"):
        bertie.plot_attention(getattr(bertie, name)(config), tokenizer, TEXT)
    half = bertie.BertModel(config).to(torch.bfloat16)
    bertie.plot_attention(half, tokenizer, TEXT)


def test_a_decoder_looks_back_only(made: Made) -> None:
    config = bertie.BertConfig.from_dict({**made[0].config.to_dict(), "is_decoder": True})
    picture = bertie.plot_attention(bertie.BertLMHeadModel(config), made[1], TEXT, layer=0, head=0)
    (weights,) = (read_png(base64.b64decode(image)) for image in IMAGE.findall(picture.svg))
    assert not np.triu(weights, 1).any()
    assert weights[0, 0] == 255


def test_a_long_text_is_cut_and_the_page_says_so(made: Made) -> None:
    picture = bertie.plot_attention(*made, "word " * 100)
    assert " 62 tokens did not fit the model and were left out." in picture.html
    assert "left out" not in bertie.plot_attention(*made, TEXT).html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\"quotes\" & 'more' ]]> -->",
        "שלום עולם",
        "東京都 👩‍👩‍👧",
        "a\x00b\x1b[31m\ud800\u202e",
    ],
)
def test_every_text_is_harmless(made: Made, text: str) -> None:
    picture = bertie.plot_attention(*made, text)
    ElementTree.fromstring(picture.svg)
    assert picture.html.count("<script>") == 1
    picture.html.encode("utf-8")


def test_nothing_is_fetched(made: Made) -> None:
    html = bertie.plot_attention(*made, TEXT).html
    assert "default-src 'none'" in html
    places = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert places == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # XML namespaces


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"layer": 2}, InputError, "layer is 2; the model has layers 0 to 1"),
        ({"head": -5}, InputError, "head is -5; the model has heads 0 to 3"),
        ({"layer": 1.5}, InputTypeError, "layer is 1.5; give an integer"),
        ({"text": ["a", "b"]}, InputTypeError, "text is a list; give one str"),
        ({"text": None}, InputTypeError, "text is a NoneType"),
        ({"text_pair": 3}, InputTypeError, "text_pair is a int"),
        ({"model": "bert"}, InputTypeError, "model is a str; give a bertie model"),
    ],
)
def test_mistakes_are_one_sentence(made: Made, change: dict[str, Any], kind: type[Exception], message: str) -> None:
    arguments = {"model": made[0], "tokenizer": made[1], "text": TEXT, **change}
    with pytest.raises(kind, match=re.escape(message)):
        bertie.plot_attention(**arguments)


def test_too_many_weights_are_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.pictures.attention.MAX_WEIGHTS", 500)
    with pytest.raises(
        InputError, match="8 heads of 9 tokens are 648 weights, and a page holds at most 500; name a layer"
    ):
        bertie.plot_attention(*made, TEXT)


def test_many_weights_are_drawn_in_coarse_steps(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.pictures.attention.MAX_FINE_WEIGHTS", 500)
    assert "coarse steps" in bertie.plot_attention(*made, TEXT).html
    assert MAX_WEIGHTS >= 144 * 512**2  # a base-size model with its longest text
    weights = np.linspace(0, 0.1, 1000)
    for steps, worst in ((FINE, 0.0013), (COARSE, 0.0105)):
        assert np.abs((opacity_of(weights, steps) / 255.0) ** 2 - weights).max() < worst


def test_the_script_finds_the_rows_in_the_file() -> None:
    script = Path(bertie.__file__).parent / "pictures" / "attention.js"
    before, after = map(int, re.search(r"BEFORE = (\d+), AFTER = (\d+)", script.read_text(encoding="utf-8")).groups())
    opacity = np.arange(60, dtype=np.uint8).reshape(6, 10)
    rows = zlib.decompress(png(opacity)[before:-after])
    np.testing.assert_array_equal(np.frombuffer(rows, np.uint8).reshape(6, 11)[:, 1:], opacity)


def test_lora(made: Made) -> None:
    peft = pytest.importorskip("peft")
    adapted: Callable[..., Any] = peft.get_peft_model
    model = bertie.BertForSequenceClassification(made[0].config)
    lora = adapted(model, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"]))
    assert len(IMAGE.findall(bertie.plot_attention(lora, made[1], TEXT).svg)) == 8
