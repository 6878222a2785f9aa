"""GenerationConfig: ranges, the reference's files, and unsupported fields."""

import json

import pytest
import transformers

import bertie
from bertie.generation.generation_config import DEFAULTS
from bertie.generation.generation_fields import FIELDS, UNSUPPORTED, WITHOUT_EFFECT


def test_every_field_of_the_reference_is_known():
    known = {*FIELDS, *UNSUPPORTED, *WITHOUT_EFFECT}
    assert {name for name in transformers.GenerationConfig().to_dict() if not name.startswith("_")} <= known


def test_the_defaults_are_the_references():
    theirs = transformers.GenerationConfig._get_default_generation_params()
    assert {name: theirs[name] for name in DEFAULTS} == DEFAULTS
    assert bertie.GenerationConfig().to_diff_dict() == {}


def test_files_round_trip_with_unknown_fields(tmp_path):
    stated = {"num_beams": 4, "eos_token_id": [3, 7], "my_own": {"a": 1}, "_from_model_config": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    config = bertie.GenerationConfig.from_pretrained(tmp_path, max_length=30)
    assert (config.num_beams, config.eos_token_id, config.my_own, config.max_length) == (4, [3, 7], {"a": 1}, 30)
    config.save_pretrained(tmp_path / "ours")
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert (theirs.num_beams, theirs.max_length, theirs.my_own) == (4, 30, {"a": 1})
    theirs.save_pretrained(tmp_path / "theirs")
    again = bertie.GenerationConfig.from_pretrained(tmp_path / "theirs")
    assert again.to_diff_dict().items() >= config.to_diff_dict().items()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0; allowed: an integer of at least 1"),
        ({"top_p": 1.5}, "top_p is 1.5; allowed: a number from 0 to 1"),
        ({"early_stopping": "soon"}, "allowed: True, False or 'never'"),
        ({"bad_words_ids": [3]}, "allowed: a list of lists of token ids"),
        ({"eos_token_id": -1}, "allowed: a token's id"),
        ({"num_beam": 3}, "Did you mean 'num_beams'?"),
    ],
)
def test_ranges(fields, message):
    with pytest.raises(bertie.BertieError, match=message):
        bertie.GenerationConfig(**fields)


def test_unsupported_fields_of_a_file_are_refused_when_used():
    config = bertie.GenerationConfig.from_dict({"guidance_scale": 2.0, "num_beams": 4})
    assert config.guidance_scale == 2.0
    with pytest.raises(bertie.ConfigError, match="guidance_scale is 2.0"):
        config.settled(config)
    assert bertie.GenerationConfig(guidance_scale=1.0).settled(config).num_beams == 4


def test_a_missing_file(tmp_path):
    with pytest.raises(bertie.CheckpointError, match="there is no generation_config.json"):
        bertie.GenerationConfig.from_pretrained(tmp_path)


def test_old_models_have_the_fields_in_their_config():
    stated = {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "eos_token_id": 5}
    config = bertie.BertConfig.from_dict({"vocab_size": 9, "model_type": "bert", **stated})
    assert bertie.GenerationConfig.from_model_config(config).to_diff_dict().items() >= stated.items()
