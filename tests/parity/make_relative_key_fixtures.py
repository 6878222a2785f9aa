"""Writes tests/parity/fixtures/: what transformers 4 answers for relative positions, which transformers 5 dropped.

Usage, once, in an environment of its own:

    python3 -m venv /tmp/transformers4
    /tmp/transformers4/bin/pip install "transformers<4.50" torch==2.13.0 numpy
    /tmp/transformers4/bin/python tests/parity/make_relative_key_fixtures.py

Each fixture is a folder as ``save_pretrained`` writes it, and ``expected.safetensors`` with inputs and outputs.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertLMHeadModel, BertModel

FIXTURES = Path(__file__).parent / "fixtures"
SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "attn_implementation": "eager",
}
# no padding, right padding, left padding, holes
MASK = torch.tensor([[1] * 9, [1] * 4 + [0] * 5, [0] * 3 + [1] * 6, [1, 0, 1, 1, 0, 0, 1, 1, 0]])
ENCODER_MASK = torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [0, 1, 1, 1, 1], [1, 0, 1, 0, 1]])


def new(cls: type, kind: str, **fields: bool) -> torch.nn.Module:
    """Return a model whose every parameter is random: fresh biases of 0 would hide a missing one."""
    torch.manual_seed(0)
    model = cls(BertConfig(position_embedding_type=kind, **SIZES, **fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(1, 30, MASK.shape, generator=generator),
        "token_type_ids": torch.randint(0, 2, MASK.shape, generator=generator),
        "attention_mask": MASK,
    }


def write(name: str, model: torch.nn.Module, given: dict[str, torch.Tensor]) -> None:
    output = model(**given, output_attentions=True, output_hidden_states=True, use_cache=False)
    (output[0][MASK.bool()] ** 2).mean().backward()
    expected = {"gradient": model.base_model.encoder.layer[0].attention.self.distance_embedding.weight.grad}
    for key, value in output.items():
        expected[key] = torch.stack(value) if isinstance(value, tuple) else value
    model.save_pretrained(FIXTURES / name)
    (FIXTURES / name / "generation_config.json").unlink(missing_ok=True)
    tensors = {f"input.{key}": value for key, value in given.items()}
    tensors |= {f"output.{key}": value.detach() for key, value in expected.items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, FIXTURES / name / "expected.safetensors")


if __name__ == "__main__":
    for kind in ("relative_key", "relative_key_query"):
        write(f"{kind}-encoder", new(BertModel, kind), inputs())
        encoder = torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(2))
        given = inputs() | {"encoder_hidden_states": encoder, "encoder_attention_mask": ENCODER_MASK}
        decoder = new(BertLMHeadModel, kind, is_decoder=True, add_cross_attention=True)
        write(f"{kind}-decoder", decoder, given)
