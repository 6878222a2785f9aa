"""EncoderDecoderConfig: two configs and the fields of the pair, to mappings and back."""

from typing import Any

import pytest

from bertie.config import BertConfig
from bertie.encoder_decoder_config import EncoderDecoderConfig, is_encoder_decoder
from bertie.errors import ConfigError, InputTypeError

ENCODER: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
DECODER = ENCODER | {"is_decoder": True, "add_cross_attention": True}
STATED = {"encoder": ENCODER, "decoder": DECODER, "decoder_start_token_id": 2}


def test_defaults_of_the_pair() -> None:
    config = EncoderDecoderConfig(ENCODER, DECODER)
    assert config.is_encoder_decoder
    assert config.tie_word_embeddings
    assert config.use_cache
    assert config.return_dict
    assert not config.output_hidden_states
    assert not config.output_attentions
    assert not config.gradient_checkpointing
    for asked in ("eager", None):
        config._attn_implementation = asked
        assert config.encoder._attn_implementation == config.decoder._attn_implementation == "eager"


def test_unknown_keys_are_kept_except_private_ones() -> None:
    config = EncoderDecoderConfig.from_dict({**STATED, "my_own": {"a": 1}, "_private": 1, "get_text_config": 1})
    assert (config.my_own, config.decoder_start_token_id) == ({"a": 1}, 2)
    assert not hasattr(config, "_private")
    assert config.get_text_config() is config
    assert config.get_text_config(decoder=True) is config.decoder
    assert config.get_text_config(encoder=True) is config.encoder
    assert EncoderDecoderConfig.from_dict(config.to_dict()) == config


def test_overrides_replace_fields_and_unknown_ones_are_refused_or_returned() -> None:
    assert EncoderDecoderConfig.from_dict(STATED, decoder_start_token_id=3, other=None).decoder_start_token_id == 3
    with pytest.raises(InputTypeError, match=r"no field 'use_cach'\. Did you mean 'use_cache'\?"):
        EncoderDecoderConfig.from_dict(STATED, use_cach=False)
    config, unused = EncoderDecoderConfig.from_dict(STATED, return_unused_kwargs=True, use_cache=False, other=1)
    assert (config.use_cache, unused) == (False, {"other": 1})


@pytest.mark.parametrize(
    ("stated", "dtype"),
    [({"torch_dtype": "float16"}, "float16"), ({"torch_dtype": "float16", "dtype": "bfloat16"}, "bfloat16")],
)
def test_the_old_name_of_dtype(stated: dict[str, str], dtype: str) -> None:
    assert EncoderDecoderConfig.from_dict({**STATED, **stated}).to_dict()["dtype"] == dtype


def test_configs_are_combined_and_tied_only_on_request() -> None:
    halves = BertConfig(**ENCODER), BertConfig(**ENCODER)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    assert (config.encoder.is_decoder, config.decoder.is_decoder, config.decoder.add_cross_attention) == (
        False,
        True,
        True,
    )
    assert "tie_encoder_decoder" not in config.to_dict()
    assert EncoderDecoderConfig(*halves, tie_encoder_decoder=True).to_dict()["tie_encoder_decoder"] is True


@pytest.mark.parametrize(("width", "encoder"), [(32, 32), (32, 16)])
def test_a_stated_cross_attention_width_must_match_both(width: int, encoder: int) -> None:
    first, second = ENCODER | {"hidden_size": encoder}, DECODER | {"cross_attention_hidden_size": width}
    with pytest.raises(ConfigError, match=f"cross_attention_hidden_size is {width}, but .* are {encoder} wide"):
        EncoderDecoderConfig(first, second)
    assert EncoderDecoderConfig(ENCODER, second | {"cross_attention_hidden_size": 16}).encoder.hidden_size == 16


def test_the_decoder_needs_cross_attention() -> None:
    with pytest.raises(ConfigError, match="the decoder's is_decoder and add_cross_attention must be true"):
        EncoderDecoderConfig(ENCODER, DECODER | {"add_cross_attention": False})


def test_encoder_decoder_folders_are_recognised(tmp_path: Any) -> None:
    EncoderDecoderConfig(ENCODER, DECODER).save_pretrained(tmp_path / "pair")
    BertConfig(**ENCODER).save_pretrained(tmp_path / "one")
    assert (is_encoder_decoder(tmp_path / "pair"), is_encoder_decoder(tmp_path / "one")) == (True, False)
