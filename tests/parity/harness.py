"""``check_model``: one call compares a bertie model with transformers' model of the same name, weights and batch.

What is left out of the comparison are exactly the rows of docs/differences.md: padded places, and labels on them.
"""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import Tensor

import bertie

TINY = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 2e-5  # decision 9


@dataclass
class Worst:
    """The largest differences seen, on the scale of decision 9: ``max|diff| / max(1, max|reference|)``."""

    outputs: float = 0.0
    gradients: float = 0.0
    names: list[str] = field(default_factory=list)

    def properties(self) -> dict[str, Any]:
        return {"cases": 1, "outputs": self.outputs, "gradients": self.gradients}


def scaled_difference(ours: Tensor, reference: Tensor) -> float:
    if reference.numel() == 0:
        return 0.0
    ours, reference = ours.detach().float(), reference.detach().float()
    return float((ours - reference).abs().max()) / max(1.0, float(reference.abs().max()))


@functools.lru_cache(maxsize=4)
def _pair(name: str, fields: tuple[tuple[str, Any], ...]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    reference = getattr(transformers, name)(transformers.BertConfig(**dict(fields)))
    reference.set_attn_implementation("eager")
    with torch.no_grad():  # fresh biases and LayerNorms are 0 and 1, which would hide a missing one
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = getattr(bertie, name)(bertie.BertConfig(**dict(fields)))
    ours.load_state_dict(reference.state_dict())
    return ours, reference


def pair(name: str, config: dict[str, Any] | None = None, train: bool = False) -> tuple[Any, Any]:
    """Return (bertie's model, the reference) with equal random weights."""
    ours, reference = _pair(name, tuple(sorted({**TINY, **(config or {})}.items(), key=lambda item: item[0])))
    for model in (ours, reference):
        model.train(train)
        model.zero_grad(set_to_none=True)
    return ours, reference


def batch_of(mask: str, texts: int = 4, width: int = 11, vocab: int = 99, seed: int = 0) -> dict[str, Tensor]:
    """Return random ids and token types with a mask of the named pattern; column 0 is a token but in "left"."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([width, 1, *torch.randint(1, width, (texts - 2,), generator=generator).tolist()])
    columns = torch.arange(width)
    patterns = {
        "right": columns < lengths[:, None],
        "left": columns >= width - lengths[:, None],
        "holes": (torch.rand(texts, width, generator=generator) > 0.4) | (columns == 0),
    }
    batch = {
        "input_ids": torch.randint(5, vocab, (texts, width), generator=generator),
        "token_type_ids": torch.randint(0, 2, (texts, width), generator=generator),
    }
    return batch if mask == "none" else {**batch, "attention_mask": patterns[mask].long()}


def check_model(
    name: str, config: dict[str, Any] | None, batch: dict[str, Any], *, train: bool = False, pooled: bool = True
) -> Worst:
    """Compare outputs, hidden states, attentions, loss and gradients of one batch; return the worst differences.

    ``pooled=False`` leaves out what depends on column 0 (decision 2, left padding).
    """
    ours, reference = pair(name, config, train)
    content = batch.get("input_ids", batch.get("inputs_embeds"))
    real = batch.get("attention_mask", torch.ones(content.shape[:2])).bool()
    real = real if real.dim() == 2 else torch.ones(content.shape[:2], dtype=torch.bool)
    asked = {"output_hidden_states": True, "output_attentions": True}
    output, expected = ours(**batch, **asked), reference(**_reference_batch(batch, real), **asked)
    expected = _as_decided(name, expected, batch, real)
    worst = Worst()
    assert list(output) == list(expected)
    for key in expected:
        if key != "past_key_values" and (pooled or key not in ("pooler_output", "seq_relationship_logits")):
            _compare(key, output[key], expected[key], real, worst)
    if expected.get("loss") is None:
        directions = torch.randn(expected[0].shape, generator=torch.Generator().manual_seed(1))
        losses = [(_real(part[0], real) * _real(directions, real)).sum() / 10 for part in (output, expected)]
    else:
        losses = [output["loss"], expected["loss"]]
    losses[0].backward()
    losses[1].backward()
    gradients = dict(reference.named_parameters())
    for parameter_name, parameter in ours.named_parameters():
        wanted = gradients[parameter_name].grad
        wanted = torch.zeros_like(parameter) if wanted is None else wanted
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        difference = scaled_difference(got, wanted)
        assert difference <= GRADIENT_TOLERANCE, f"gradient of {parameter_name}: {difference:.1e}"
        worst.gradients = max(worst.gradients, difference)
    return worst


def _reference_batch(batch: dict[str, Any], real: Tensor) -> dict[str, Any]:
    """A label on a masked place is ignored here and counted there (decision 3)."""
    labels = batch.get("labels")
    if labels is None or labels.shape != real.shape:
        return batch
    return {**batch, "labels": labels.masked_fill(~real, -100)}


def _as_decided(name: str, expected: Any, batch: dict[str, Any], real: Tensor) -> Any:
    """Question answering takes a softmax over a text's own tokens (decision 1)."""
    if name != "BertForQuestionAnswering":
        return expected
    lowest = torch.finfo(expected.start_logits.dtype).min
    for key in ("start_logits", "end_logits"):
        expected[key] = expected[key].masked_fill(~real, lowest)
    if "start_positions" in batch:
        losses = []
        for key in ("start", "end"):
            positions = batch[f"{key}_positions"].clamp(0, real.shape[1])
            inside = torch.nn.functional.pad(real, (0, 1)).gather(1, positions[:, None])[:, 0]
            positions = positions.masked_fill(~inside, -100)
            losses.append(torch.nn.functional.cross_entropy(expected[f"{key}_logits"], positions))
        expected["loss"] = (losses[0] + losses[1]) / 2
    return expected


def _real(values: Tensor, real: Tensor) -> Tensor:
    return values[real] if values.shape[:2] == real.shape else values


def _compare(key: str, ours: Any, reference: Any, real: Tensor, worst: Worst) -> None:
    parts = [value if isinstance(value, tuple) else (value,) for value in (ours, reference)]
    assert len(parts[0]) == len(parts[1]), key
    for got, wanted in zip(*parts, strict=True):
        assert got.shape == wanted.shape, key
        assert got.dtype == wanted.dtype, key
        if key in ("attentions", "cross_attentions"):
            padded = got[~real[:, None].expand(got.shape[:3])]
            wanted = wanted * real[:, None, :, None]
        else:
            per_token = got.shape[:2] == real.shape
            padded = got[~real] if per_token and key not in ("start_logits", "end_logits") else got.new_zeros(0)
            got, wanted = _real(got, real), _real(wanted, real)
        assert not padded.any(), f"{key}: padded places hold zeros"
        difference = scaled_difference(got, wanted)
        assert difference <= OUTPUT_TOLERANCE, f"{key}: {difference:.1e}"
        worst.outputs = max(worst.outputs, difference)
