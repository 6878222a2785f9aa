"""Attributions by captum, and what other explainers do with hooks: equal to those of transformers' models."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import bertie

attr: Any = pytest.importorskip("captum.attr")

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
IDS = torch.randint(5, 99, (2, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
REAL = MASK.bool()
BLANK = torch.zeros_like(IDS)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def models() -> list[Any]:
    torch.manual_seed(0)
    reference = transformers.BertForSequenceClassification(transformers.BertConfig(**SIZES)).eval()
    ours = bertie.BertForSequenceClassification(bertie.BertConfig(**SIZES)).eval()
    ours.load_state_dict(reference.state_dict())
    return [ours, reference]


class OfVectors(nn.Module):
    """A model as a function of its word vectors, which captum can change by degrees."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor) -> Tensor:
        mask = MASK.repeat(len(vectors) // len(MASK), 1)  # captum repeats the batch for every step
        return self.model(inputs_embeds=vectors, attention_mask=mask).logits


def vectors(model: Any, ids: Tensor = IDS) -> Tensor:
    return model.get_input_embeddings()(ids).detach()


def agree(models: list[Any], attributions: Any) -> None:
    """Compare what a function finds for each model, on the real tokens."""
    found, expected = (attributions(model) for model in models)
    found, expected = (list(each) if isinstance(each, tuple | list) else [each] for each in (found, expected))
    assert len(found) == len(expected) > 0
    for ours, reference in zip(found, expected, strict=True):
        assert ours.shape == reference.shape
        if ours.shape[:2] == REAL.shape:
            ours, reference = ours[REAL], reference[REAL]
        assert reference.any()
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4)


LAYERS = ["bert.encoder.layer.0", "bert.encoder.layer.1.output", "bert.encoder.layer.0.attention.self.value"]


@pytest.mark.parametrize("path", LAYERS)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("LayerActivation", {}),
        ("LayerGradientXActivation", {"target": 1}),
        ("LayerGradCam", {"target": 1}),
        ("LayerConductance", {"target": 1, "n_steps": 4}),
        ("LayerIntegratedGradients", {"target": 1, "n_steps": 4}),
        ("InternalInfluence", {"target": 1, "n_steps": 4}),
        ("LayerDeepLift", {"target": 1}),
        ("LayerFeatureAblation", {"target": 1, "layer_baselines": 0.0}),
    ],
)
def test_attributions_to_layers(models: list[Any], method: str, options: dict[str, Any], path: str) -> None:
    def attributions(model: Any) -> Any:
        whole = OfVectors(model)
        return getattr(attr, method)(whole, model.get_submodule(path)).attribute(vectors(model), **options)

    agree(models, attributions)


@pytest.mark.parametrize("path", LAYERS)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("NeuronGradient", {}),
        ("NeuronConductance", {"target": 1, "n_steps": 4}),
        ("NeuronIntegratedGradients", {"n_steps": 4}),
    ],
)
def test_attributions_to_neurons(models: list[Any], method: str, options: dict[str, Any], path: str) -> None:
    """Of the first column's fifth number."""

    def attributions(model: Any) -> Any:
        whole = OfVectors(model)
        return getattr(attr, method)(whole, model.get_submodule(path)).attribute(vectors(model), (0, 4), **options)

    agree(models, attributions)


@pytest.mark.parametrize("part", ["", ".word_embeddings", ".position_embeddings", ".token_type_embeddings"])
def test_explainers_of_embeddings(models: list[Any], part: str) -> None:
    """As transformers-interpret does: integrated gradients of ids, at the embeddings or one of their tables."""

    def attributions(model: Any) -> Any:
        def score(ids: Tensor, types: Tensor, places: Tensor, mask: Tensor) -> Tensor:
            given = {"token_type_ids": types, "position_ids": places, "attention_mask": mask}
            return torch.softmax(model(ids, **given).logits, dim=1)[:, 1]

        places = torch.arange(6).expand(2, 6)
        explainer = attr.LayerIntegratedGradients(score, model.get_submodule(f"bert.embeddings{part}"))
        return explainer.attribute(
            inputs=(IDS, BLANK, places),
            baselines=(BLANK, BLANK, BLANK) if part else (BLANK, BLANK, places),
            additional_forward_args=(MASK,),
            n_steps=4,
            internal_batch_size=2 if not part else None,
        )

    found = [attributions(model) for model in models]
    torch.testing.assert_close(*(each[0] if isinstance(each, tuple) else each for each in found), atol=1e-5, rtol=1e-4)


def test_attributions_to_vectors(models: list[Any]) -> None:
    agree(
        models, lambda model: attr.IntegratedGradients(OfVectors(model)).attribute(vectors(model), target=1, n_steps=4)
    )


def test_activations_of_the_feed_forward_networks(models: list[Any]) -> None:
    """As ecco does: what the hidden layers of all blocks' networks give, gathered by hooks."""

    def activations(model: Any) -> Tensor:
        found: dict[str, Tensor] = {}
        handles = [
            part.register_forward_hook(lambda _m, _i, output, name=name: found.update({name: output.detach()}))
            for name, part in model.named_modules()
            if name.endswith("intermediate.dense")
        ]
        with torch.no_grad():
            model(IDS, attention_mask=MASK)
        for handle in handles:
            handle.remove()
        return torch.stack([found[name] for name in sorted(found)], dim=1).transpose(2, 3)

    found, expected = (activations(model) for model in models)
    assert found.shape == expected.shape == (2, 2, 48, 6)
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1, ..., :4], expected[1, ..., :4], atol=1e-5, rtol=1e-5)


def test_attention_gathered_for_pictures(models: list[Any]) -> None:
    """As bertviz does: weights, queries and keys of every head, from the answer and from the self-attentions' hooks."""

    def gathered(model: Any) -> tuple[Any, dict[str, Any]]:
        found: dict[str, Any] = {}
        handles = []
        for index, layer in enumerate(model.bert.encoder.layer):
            own = layer.attention.self
            for name, part in (("query", own.query), ("key", own.key), ("weights", own)):
                handles.append(
                    part.register_forward_hook(
                        lambda _m, _i, output, key=(index, name): found.update({key: output}), always_call=True
                    )
                )
        output = model(IDS[:1], output_attentions=True)
        for handle in handles:
            handle.remove()
        return output.attentions, found

    for model in models:
        model.set_attn_implementation("eager")
    (ours, seen), (reference, expected) = (gathered(model) for model in models)
    for model in models:
        model.set_attn_implementation("sdpa")
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)
    assert seen.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(seen[key], value, atol=1e-5, rtol=1e-5)
