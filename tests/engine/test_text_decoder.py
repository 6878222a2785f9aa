"""The engine generates the model's tokens: options × beams × prompts, from folders, and without kernels."""

import functools
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from tests.generation.test_generate import BEAMS, ENDS, IDS, OPTIONS, pair
from tests.models.test_encoder_decoder import pair as pair_of_berts

import bertie
from bertie.engine import Engine
from bertie.engine.key_values import BLOCK
from bertie.engine.text_decoder import Decoding
from bertie.errors import BertieError, ConfigError, InputError, InputTypeError
from bertie.tasks.features import Features

PROMPTS = [row[row != 0].tolist() for row in IDS]
SOURCES = [[1, 7, 3, 9, 4], [1, 5, 6], [11, 6, 8, 2, 9, 30, 31]]


class Shifted:
    """A user's logits processor that also works on arrays."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        more = np.arange(scores.shape[-1]) % (input_ids.shape[1] % 5 + 2)
        return scores + (torch.from_numpy(more) if isinstance(scores, torch.Tensor) else more.astype(np.float32))


def rows_of(texts: list[list[int]]) -> Features:
    flat = np.array([token for text in texts for token in text])
    return Features(flat, None, [len(text) for text in texts], [0] * len(texts), [False] * len(texts))


@functools.cache
def engine(kind: str) -> Engine:
    return Engine.of(pair()[0] if kind == "decoder" else pair_of_berts()[0])


def assert_alike(kind: str, texts: list[list[int]], options: dict[str, Any], own: Engine | None = None) -> None:
    options = {"max_new_tokens": 9, "bos_token_id": 1, **options}
    options = {name: value for name, value in options.items() if value is not None}
    model = pair()[0] if kind == "decoder" else pair_of_berts()[0]
    rows = rows_of(texts)
    # the model knows the sources' ids only of a rectangle
    inputs = torch.tensor(texts) if len(texts) == 1 else bertie.Packed.from_flat(rows.ids, rows.lengths)
    expected = model.generate(inputs, **options)
    assert (own or engine(kind)).generate(rows, options).tolist() == expected.tolist()


@pytest.mark.parametrize("kind", ["decoder", "pair"])
@pytest.mark.parametrize("options", ["plain", "end", "ngrams", "min_length"])
def test_prompt_lookup_changes_no_word(options: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    read = Decoding.read

    def counted(self: Decoding, words: Any) -> Any:
        counts.append(len(words))
        return read(self, words)

    monkeypatch.setattr(Decoding, "read", counted)
    text = [5, 9, 3, 7, 5, 9, 3, 7, 8, 5]
    assert_alike(kind, [text], OPTIONS[options] | {"max_new_tokens": 14, "prompt_lookup_num_tokens": 3})
    assert counts
    assert max(counts) <= 4
    assert max(counts) > 1 or kind == "pair"
    counts.clear()
    assert_alike("decoder", PROMPTS, OPTIONS[options])
    assert not counts


def test_prompt_lookup_does_not_change_the_distribution() -> None:
    options = {"do_sample": True, "top_k": 3, "temperature": 1.5, "max_new_tokens": 3}
    rows, own = rows_of([[5, 9, 3, 5, 9]]), engine("decoder")
    found = [own.generate(rows, {**options, "prompt_lookup_num_tokens": 2, "seed": seed}) for seed in range(400)]
    expected = own.generate(rows, {**options, "num_return_sequences": 3000, "seed": 0})
    codes = [ids[:, -2] * 40 + ids[:, -1] for ids in (np.concatenate(found), expected)]
    table = np.stack([np.bincount(code, minlength=1600) for code in codes])
    often = table[:, table.sum(0) >= 60]
    rest = (table.sum(1) - often.sum(1))[:, None] + 1
    assert often.shape[1] >= 4
    assert chi2_contingency(np.concatenate([often, rest], axis=1)).pvalue > 1e-3


@pytest.mark.parametrize("beams", ["none", *BEAMS])
@pytest.mark.parametrize("options", OPTIONS)
def test_same_words_as_the_model(options: str, beams: str) -> None:
    asked = OPTIONS[options] | ({"logits_processor": [Shifted()]} if options == "processor" else {})
    assert_alike("decoder", PROMPTS, asked | BEAMS.get(beams, {}))


@pytest.mark.parametrize("beams", ["none", *BEAMS])
@pytest.mark.parametrize("texts", [SOURCES, SOURCES[:1]], ids=["several", "one"])
def test_same_words_as_an_encoder_decoder(texts: list[list[int]], beams: str) -> None:
    assert_alike("pair", texts, ENDS | {"no_repeat_ngram_size": 2} | BEAMS.get(beams, {}))


def test_encoder_no_repeat_ngrams() -> None:
    asked = {"encoder_repetition_penalty": 1.6, "encoder_no_repeat_ngram_size": 2}
    assert_alike("pair", SOURCES[:1], asked)


@pytest.mark.parametrize("beams", ["none", "all"])
def test_without_kernels(beams: str, without_kernels: Callable[[], None]) -> None:
    without_kernels()
    for kind, texts in (("decoder", PROMPTS), ("pair", SOURCES)):
        model = pair()[0] if kind == "decoder" else pair_of_berts()[0]
        assert_alike(kind, texts, ENDS | BEAMS.get(beams, {}), Engine.of(model))


def test_the_cache_grows() -> None:
    torch.manual_seed(2)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = bertie.BertConfig(vocab_size=50, max_position_embeddings=3 * BLOCK, is_decoder=True, **sizes)
    model = bertie.BertLMHeadModel(config).eval()
    for beams in (1, 3):
        asked = {"max_new_tokens": 2 * BLOCK + 3, "num_beams": beams, "pad_token_id": 0}
        packed = bertie.Packed.from_flat(rows_of(PROMPTS).ids, rows_of(PROMPTS).lengths)
        assert Engine.of(model).generate(rows_of(PROMPTS), asked).tolist() == model.generate(packed, **asked).tolist()


@pytest.mark.parametrize("kind", ["BertLMHeadModel", "EncoderDecoderModel"])
def test_a_folder_and_its_generation_config(kind: str, tmp_path: Path) -> None:
    model, texts = (pair()[0], PROMPTS) if kind == "BertLMHeadModel" else (pair_of_berts()[0], SOURCES)
    model.save_pretrained(tmp_path)
    config = bertie.GenerationConfig(num_beams=2, max_new_tokens=5, bos_token_id=1, decoder_start_token_id=2)
    config.save_pretrained(tmp_path)
    opened = Engine.open(tmp_path, kind)
    rows = rows_of(texts)
    expected = model.generate(bertie.Packed.from_flat(rows.ids, rows.lengths), config)
    assert opened.generate(rows).tolist() == expected.tolist()
    assert opened.with_threads(2).generate(rows).tolist() == expected.tolist()
    opened.save_pretrained(tmp_path / "again")
    assert Engine.open(tmp_path / "again", kind).generate(rows, config.to_diff_dict()).tolist() == expected.tolist()


def test_sampling_follows_the_seed_and_the_distribution() -> None:
    def draw(seed: int) -> Any:
        asked = {"do_sample": True, "max_new_tokens": 1, "top_k": 5, "num_return_sequences": 4000, "seed": seed}
        return engine("decoder").generate(rows_of(PROMPTS[:1]), asked)[:, -1]

    words = draw(3)
    assert (words == draw(3)).all()
    assert (words != draw(4)).any()
    with torch.no_grad():
        best = pair()[0](torch.tensor(PROMPTS[:1])).logits[0, -1].topk(5)
    counts = np.array([(words == word).sum() for word in best.indices.tolist()])
    assert counts.sum() == 4000
    np.testing.assert_allclose(counts / 4000, best.values.softmax(0).numpy(), atol=0.04)


def test_options_without_effect_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    asked = {"max_new_tokens": 3, "min_new_tokens": 5, "temperature": 0.5, "length_penalty": 2.0, "eos_token_id": 2}
    engine("decoder").generate(rows_of(PROMPTS[:1]), asked)
    said = caplog.text
    assert "temperature=0.5 has no effect without do_sample=True" in said
    assert "length_penalty=2.0 has no effect without num_beams=4" in said
    assert "texts of at least 5 new tokens are asked for, but there is room for 3 new tokens" in said
    caplog.clear()
    engine("decoder").generate(rows_of(PROMPTS[:1]), {"max_new_tokens": 3, "min_new_tokens": 3})
    assert "there is room" not in caplog.text


def test_bad_input(tmp_path: Path) -> None:
    for name, asked, message in (
        ("decoder", {"max_new_tokens": 60}, "goes beyond the model's positions"),
        ("pair", {"decoder_start_token_id": [1, 2], "max_new_tokens": 2}, "give one token"),
        *(
            ("decoder", {"max_new_tokens": 2, name: tokens}, "names the token 9999, but the model's vocabulary")
            for name, tokens in {
                "suppress_tokens": [9999],
                "bad_words_ids": [[9999]],
                "forced_eos_token_id": [9999],
                "sequence_bias": {(3, 9999): 1.0},
            }.items()
        ),
    ):
        with pytest.raises(InputError, match=message):
            engine(name).generate(rows_of(PROMPTS), asked)
    with pytest.raises(InputTypeError, match="BertLMHeadModel has no encoder"):
        engine("decoder").hidden_states(rows_of(PROMPTS))
    no_decoder = bertie.BertForMaskedLM(bertie.BertConfig(**{**pair()[0].config.to_dict(), "is_decoder": False}))
    no_decoder.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="its config says is_decoder=false"):
        Engine.open(tmp_path, "BertLMHeadModel")
    with pytest.raises(InputTypeError, match="BertForMaskedLM has no decoder"):
        Engine.open(tmp_path).generate(rows_of(PROMPTS))
    broken = bertie.BertLMHeadModel(pair()[0].config).eval()
    broken.cls.predictions.bias.data[3] = torch.nan
    with pytest.raises(BertieError, match="scores for text 0 hold 1 NaN"):
        Engine.of(broken).generate(rows_of(PROMPTS), {"max_new_tokens": 2})


def test_int8_layers_of_a_decoder(mini: Path, tmp_path: Path) -> None:
    decoder = bertie.BertLMHeadModel.from_pretrained(mini, is_decoder=True)
    decoder.save_pretrained(tmp_path)
    tokenizer = bertie.BertTokenizer.from_pretrained(mini)
    texts = ["She opened the door and saw the garden.", "He drank a cup of tea."]
    bertie.quantize(decoder, texts=texts, tokenizer=tokenizer, show_progress=False).save_pretrained(tmp_path)
    rows, asked = rows_of([[1996, 3871, 2001], [2016, 2441]]), {"max_new_tokens": 6, "no_repeat_ngram_size": 1}
    expected = bertie.BertLMHeadModel.from_pretrained(tmp_path).generate(
        bertie.Packed.from_flat(rows.ids, rows.lengths), **asked
    )
    assert Engine.open(tmp_path, "BertLMHeadModel").generate(rows, asked).tolist() == expected.tolist()
    with pytest.raises(InputTypeError, match="quantize takes a single BERT"):
        bertie.quantize(pair_of_berts()[0])


def test_an_engine_that_reads_imports_no_loops() -> None:
    program = "import sys, bertie.engine; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "bertie.engine.engine" in said
    assert not {"bertie.engine.text_decoder", "bertie.generation.generate"} & set(said)


def test_a_step_allocates_no_more_after_many_tokens_than_after_few() -> None:
    ids, peaks = np.full((2, BLOCK), 5), []
    decoder = engine("decoder")._decoder
    assert decoder is not None
    decoding = Decoding(decoder, rows_of([[5] * 4] * 2), 1)
    for width in range(4, 40):
        tracemalloc.start()
        decoding.step(ids[:, :width])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks[30:]) < min(peaks[1:10]) + 256  # keys and values of 25 tokens would be 6,400 bytes
