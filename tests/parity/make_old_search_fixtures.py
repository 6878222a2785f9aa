"""Writes tests/parity/fixtures/old-searches/: what transformers 4 finds by searches and models that 5 dropped.

Usage, once, in an environment of its own:

    python3 -m venv /tmp/transformers4
    /tmp/transformers4/bin/pip install transformers==4.46.3 torch==2.13.0 numpy
    /tmp/transformers4/bin/python tests/parity/make_old_search_fixtures.py

Three small models as ``save_pretrained`` writes them, of which ``tied`` has halves that share their weights, and
``expected.json``: options, prompts or sources, and what was found. Prompts are equally long, since version 4 counts
positions from padding on.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BertModel,
    EncoderDecoderConfig,
    EncoderDecoderModel,
    PreTrainedModel,
)

FOLDER = Path(__file__).parent / "fixtures" / "old-searches"
SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.7,  # so that what comes next depends on what came before
    "tie_word_embeddings": False,
    "attn_implementation": "eager",
}
PROMPTS = [[5, 9, 3, 7], [4, 12, 6, 8], [21, 4, 4, 29]]
SOURCES = [[1, 7, 3, 9, 4, 0], [1, 5, 6, 0, 0, 0], [11, 6, 8, 2, 9, 28]]
ENDS: dict[str, Any] = {"eos_token_id": 26, "pad_token_id": 0}
FOUR: dict[str, Any] = {"num_beams": 4, "num_beam_groups": 2}
SEARCHES: dict[str, dict[str, Any]] = {
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "contrastive, two": {"penalty_alpha": 0.3, "top_k": 2, **ENDS},
    "contrastive, all": {"penalty_alpha": 0.9, "top_k": 30, **ENDS},
    "contrastive, penalties": {"penalty_alpha": 0.5, "top_k": 5, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    "contrastive, long": {"penalty_alpha": 0.4, "top_k": 3, "min_length": 12, **ENDS},
    "groups": {**FOUR, "diversity_penalty": 0.7, "num_return_sequences": 4},
    "groups, end": {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 1.5, **ENDS},
    "groups, early": {**FOUR, "diversity_penalty": 0.5, "num_return_sequences": 3, "early_stopping": True, **ENDS},
    "groups, never": {**FOUR, "diversity_penalty": 0.5, "early_stopping": "never", "length_penalty": 2.0, **ENDS},
    "groups of one": {
        **(FOUR | ENDS),
        "num_beam_groups": 4,
        "diversity_penalty": 2.0,
        "num_return_sequences": 4,
    },
    "groups, penalties": {
        **(FOUR | ENDS),
        "diversity_penalty": 1.0,
        "num_return_sequences": 4,
        "repetition_penalty": 1.5,
        "bad_words_ids": [[8], [3, 5]],
        "length_penalty": 0.5,
    },
}
OF_TIED_HALVES = ("contrastive, two", "groups, end")


def models() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    decoder = BertLMHeadModel(BertConfig(**SIZES, is_decoder=True))
    encoder = BertModel(BertConfig(**SIZES), add_pooling_layer=False)
    writer = BertLMHeadModel(BertConfig(**SIZES, is_decoder=True, add_cross_attention=True))
    pair = EncoderDecoderModel(encoder=encoder, decoder=writer)
    halves = BertConfig(**SIZES), BertConfig(**SIZES)
    tied = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(*halves, tie_encoder_decoder=True))
    for model in (pair, tied):
        model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 1
        model.config.pad_token_id = model.generation_config.pad_token_id = 0
    return {"decoder": decoder.eval(), "pair": pair.eval(), "tied": tied.eval()}


def found(model: PreTrainedModel, kind: str, options: dict[str, Any]) -> dict[str, Any]:
    ids = torch.tensor(PROMPTS if kind == "decoder" else SOURCES)
    mask = (ids != 0).long()
    output = model.generate(
        ids, attention_mask=mask, max_new_tokens=12, return_dict_in_generate=True, output_scores=True, **options
    )
    case = {"model": kind, "ids": ids.tolist(), "options": {"max_new_tokens": 12, **options}}
    case["sequences"] = output.sequences.tolist()
    if "sequences_scores" in output:
        case["sequences_scores"] = output.sequences_scores.tolist()
    return case


def main() -> None:
    made = models()
    for kind, model in made.items():
        model.save_pretrained(FOLDER / kind)
    cases = {
        f"{name}, {kind}": found(model, kind, options)
        for name, options in SEARCHES.items()
        for kind, model in made.items()
        if kind != "tied" or name in OF_TIED_HALVES
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    (FOLDER / "expected.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
