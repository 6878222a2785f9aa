"""What version 4 of the reference had is as it was: contrastive search, diverse beams, halves that share weights."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.engine import Engine
from bertie.tasks.features import Features

FOLDER = Path(__file__).parent / "fixtures" / "old-searches"
CASES = json.loads((FOLDER / "expected.json").read_text())


@functools.cache
def model(kind: str) -> Any:
    cls = bertie.BertLMHeadModel if kind == "decoder" else bertie.EncoderDecoderModel
    return cls.from_pretrained(FOLDER / kind).eval()


def inputs(case: dict[str, Any]) -> dict[str, torch.Tensor]:
    ids = torch.tensor(case["ids"])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


@pytest.mark.parametrize("more", [{}, {"use_cache": False}, {"output_attentions": True}], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_models(name: str, more: dict[str, bool]) -> None:
    case = CASES[name]
    asked = {"return_dict_in_generate": True, "output_scores": True, **case["options"], **more}
    found = model(case["model"]).generate(**inputs(case), **asked)
    assert found.sequences.tolist() == case["sequences"]
    if "sequences_scores" in case:
        np.testing.assert_allclose(found.sequences_scores, case["sequences_scores"], rtol=1e-4)
    if "output_attentions" in more:
        steps = found.sequences.shape[1] - (4 if case["model"] == "decoder" else 1)
        layers = found.attentions if case["model"] == "decoder" else found.cross_attentions
        assert steps <= len(layers) <= steps + ("groups" in name)  # beams that are not the best go on longer


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("tied")])
def test_engine(name: str) -> None:
    case = CASES[name]
    texts = [[token for token in row if token] for row in case["ids"]]
    flat = np.array([token for text in texts for token in text])
    rows = Features(flat, None, [len(text) for text in texts], [0] * len(texts), [False] * len(texts))
    own = Engine.of(model(case["model"]))
    assert own.generate(rows, case["options"]).tolist() == case["sequences"]


def test_halves_that_share_their_weights_are_saved_as_such(tmp_path: Path) -> None:
    case = CASES["groups, end, tied"]
    model("tied").save_pretrained(tmp_path)
    again = bertie.EncoderDecoderModel.from_pretrained(tmp_path).eval()
    assert again.config.tie_encoder_decoder
    assert again.encoder.get_input_embeddings().weight is again.decoder.get_input_embeddings().weight
    found = again.generate(**inputs(case), return_dict_in_generate=True, output_scores=True, **case["options"])
    assert found.sequences.tolist() == case["sequences"]
    np.testing.assert_allclose(found.sequences_scores, case["sequences_scores"], rtol=1e-4)


@pytest.mark.parametrize("kind", ["packed", "padded", "without a cache"])
@pytest.mark.parametrize("name", [name for name in CASES if name.endswith("decoder")])
def test_prompts_of_unequal_lengths(name: str, kind: str) -> None:
    options = CASES[name]["options"] | {"min_length": 0}
    own = model("decoder")
    texts = [[5, 9, 3, 7, 8], [4, 12], [21, 4, 4]]
    alone = [own.generate(torch.tensor([text]), **options)[:, len(text) :].tolist() for text in texts]
    if kind == "packed":
        found = own.generate(bertie.Packed.from_flat(np.concatenate(texts), list(map(len, texts))), **options)
    else:
        ids = torch.tensor([[0] * (5 - len(text)) + text for text in texts])
        found = own.generate(ids, attention_mask=(ids != 0).long(), use_cache=kind == "padded", **options)
    for rows, expected in zip(found[:, 5:].unflatten(0, (3, -1)).tolist(), alone, strict=True):
        for row, text in zip(rows, expected, strict=True):
            assert row[: len(text)] == text
            assert not any(row[len(text) :])


def test_what_does_not_fit(caplog: pytest.LogCaptureFixture) -> None:
    decoder, ids = model("decoder"), torch.tensor([[5, 9, 3, 7]])
    groups = {"num_beams": 4, "num_beam_groups": 2}
    for options, message in (
        ({**groups, "num_beam_groups": 3, "diversity_penalty": 0.5}, "num_beam_groups=3 does not divide num_beams=4"),
        (groups, "finds the same beams in every group; add diversity_penalty=0.5"),
        ({**groups, "do_sample": True, "diversity_penalty": 0.5}, "leave out do_sample=True"),
        ({"penalty_alpha": 1.5}, "penalty_alpha is 1.5; allowed: a number from 0 to 1"),
        ({"penalty_alpha": 0.5, "prompt_lookup_num_tokens": 2}, "leave out penalty_alpha, or the draft"),
    ):
        with pytest.raises(bertie.BertieError, match=message):
            decoder.generate(ids, **options, max_new_tokens=3)
    cache = decoder(ids[:, :3], use_cache=True).past_key_values
    with pytest.raises(bertie.InputError, match="penalty_alpha=0.5 compares tokens with the hidden states of all"):
        decoder.generate(ids, past_key_values=cache, penalty_alpha=0.5, max_new_tokens=3)
    decoder.generate(ids, penalty_alpha=0.5, num_beams=2, max_new_tokens=3)
    assert "penalty_alpha=0.5 has no effect without top_k=4, or with beams or sampling" in caplog.text
