"""Who looks into a model sees what transformers' models show: hooks, parts replaced or wrapped, parts by themselves."""

import functools
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.models.bert import modeling_bert as theirs

import bertie
from bertie.models.hooks import has_observers, observers

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
IDS = torch.randint(5, 99, (3, 7), generator=torch.Generator().manual_seed(0))
RIGHT = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 2 + [0] * 5])
HOLES = torch.tensor([[1, 0, 1, 1, 0, 1, 1], [1] * 7, [1, 1, 0, 0, 0, 0, 1]])
MASKS = {"none": None, "right": RIGHT, "holes": HOLES}
HEADS = ("ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
pytestmark = pytest.mark.filterwarnings("ignore:.*backward hook")


@functools.cache
def _weights(name: str, fields: tuple[tuple[str, Any], ...]) -> Any:
    torch.manual_seed(0)
    reference = getattr(transformers, f"Bert{name}")(transformers.BertConfig(**SIZES, **dict(fields)))
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return reference.state_dict()


def pair(name: str = "Model", attention: str = "sdpa", **fields: Any) -> tuple[Any, Any]:
    """Return a new model of bertie and one of transformers with equal weights, for inference."""
    reference = getattr(transformers, f"Bert{name}")(transformers.BertConfig(**SIZES, **fields))
    config = bertie.BertConfig(**SIZES, **fields)
    config._attn_implementation = attention
    reference.set_attn_implementation(attention)
    ours = getattr(bertie, f"Bert{name}")(config)
    for model in (ours, reference):
        model.load_state_dict(_weights(name, tuple(sorted(fields.items()))))
        model.eval()
    return ours, reference


def assert_equal(ours: Any, reference: Any, real: Tensor, where: str) -> None:
    """Compare what two parts gave or were given, on the real tokens of a rectangle."""
    if isinstance(reference, Tensor):
        assert isinstance(ours, Tensor), where
        assert (ours.shape, ours.dtype) == (reference.shape, reference.dtype), where
        if ours.is_floating_point() and ours.shape[:2] == real.shape:
            ours, reference = ours[real], reference[real]
        elif ours.dim() == 4 and ours.is_floating_point() and ours.shape[2] == real.shape[1]:
            ours, reference = (each.transpose(1, 2)[real] for each in (ours, reference))
        torch.testing.assert_close(ours, reference, **TOLERANCE, msg=lambda text: f"{where}: {text}")
    elif isinstance(reference, transformers.utils.ModelOutput):
        assert list(ours) == list(reference), where
        for name in reference:
            assert_equal(ours[name], reference[name], real, f"{where}.{name}")
    elif isinstance(reference, tuple | list):
        assert type(ours) is type(reference), where
        assert len(ours) == len(reference), where
        for index, parts in enumerate(zip(ours, reference, strict=True)):
            assert_equal(*parts, real, f"{where}[{index}]")
    elif isinstance(reference, dict):
        for name in reference:
            assert_equal(ours.get(name), reference[name], real, f"{where}[{name!r}]")
    else:
        assert type(ours) is type(reference), where


# Hooks.


def watch(model: nn.Module, kind: str) -> dict[str, Any]:
    """Hook every part of a model and return what is seen, by the part's name."""
    seen: dict[str, Any] = {}
    for path, module in model.named_modules():
        if not path or isinstance(module, nn.ModuleList):
            continue

        def before(_module: Any, args: Any, kwargs: Any, path: str = path) -> None:
            seen[path] = (args, kwargs)

        def after(_module: Any, _args: Any, output: Any, path: str = path) -> None:
            seen[path] = output

        def backward(_module: Any, *gradients: Any, path: str = path) -> None:
            seen[path] = gradients[-1]

        if kind == "forward_pre":
            module.register_forward_pre_hook(before, with_kwargs=True)
        elif kind == "forward":
            module.register_forward_hook(after)
        elif kind == "backward_pre":
            module.register_full_backward_pre_hook(backward)
        else:
            module.register_full_backward_hook(backward)
    return seen


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["forward_pre", "forward", "backward_pre", "backward"])
def test_hooks_on_every_part(kind: str, mask: str, attention: str) -> None:
    for name in HEADS:
        ours, reference = pair(name, attention)
        seen, expected = watch(ours, kind), watch(reference, kind)
        answers = [model(IDS, attention_mask=MASKS[mask]) for model in (ours, reference)]
        if "backward" in kind:
            real = torch.ones_like(IDS) if MASKS[mask] is None else MASKS[mask]
            for answer in answers:
                scores = answer[0] * real[..., None] if answer[0].dim() == 3 else answer[0]
                scores = scores * real if scores.shape == real.shape else scores
                scores.square().sum().backward()
        real = torch.ones_like(IDS).bool() if MASKS[mask] is None else MASKS[mask].bool()
        # eager attention is called with its module's dropout, which is not called
        assert seen.keys() == expected.keys(), set(seen) ^ set(expected)
        for path in expected:
            if "backward" in kind and path in ("bert", "bert.encoder"):
                continue  # hooks on these see the members of an output, of which ours may have others
            assert_equal(seen[path], expected[path], real, f"{name} {path}")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_hooks_in_a_decoder(attention: str) -> None:
    ours, reference = pair("LMHeadModel", attention, is_decoder=True, add_cross_attention=True)
    states = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(1))
    states_mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] * 5])
    for mask in (None, RIGHT):
        for kind in ("forward_pre", "forward"):
            seen, expected = watch(ours, kind), watch(reference, kind)
            given = {"attention_mask": mask, "encoder_hidden_states": states, "encoder_attention_mask": states_mask}
            for model in (ours, reference):
                model(IDS, **given, use_cache=False)
            assert seen.keys() == expected.keys()
            real = torch.ones_like(IDS).bool() if mask is None else mask.bool()
            for path in expected:
                assert_equal(seen[path], expected[path], real, f"{path} with {mask is not None}")


@pytest.mark.parametrize("name", [*HEADS, "ForNextSentencePrediction", "LMHeadModel"])
@pytest.mark.parametrize("path", ["bert.encoder.layer.1", "bert.embeddings.dropout", "bert", "head"])
def test_answers_stay_the_same(name: str, path: str) -> None:
    """With a hook anywhere: padded and packed, with left padding, texts without tokens, hidden states, a loss."""
    model, _ = pair(name)
    batches = [(IDS, {"attention_mask": mask}) for mask in (RIGHT, HOLES, RIGHT.flip(1), torch.zeros_like(IDS))]
    batches += [(bertie.Packed.from_padded(IDS, RIGHT), {})]
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected = [model(ids, **given, **asked) for ids, given in batches]
        part = list(model.named_modules())[-1][1] if path == "head" else model.get_submodule(path)
        calls: list[int] = []
        part.register_forward_hook(lambda *_: calls.append(1))
        for (ids, given), wanted in zip(batches, expected, strict=True):
            got = model(ids, **given, **asked)
            assert list(got) == list(wanted)
            for key in wanted:
                if key != "past_key_values":
                    torch.testing.assert_close(got[key], wanted[key], **TOLERANCE, msg=lambda text, key=key: key + text)
    assert len(calls) == len(batches)


def test_a_hook_may_change_what_passes() -> None:
    def changed(model: Any) -> Tensor:
        layer = (model.bert if hasattr(model, "bert") else model).encoder.layer[0]
        layer.register_forward_hook(lambda _m, _i, output: output * torch.tensor([1.0] + [0.5] * 6)[None, :, None])
        layer.attention.register_forward_pre_hook(lambda _m, inputs: (inputs[0] + 1, *inputs[1:]))
        return model(IDS, attention_mask=RIGHT).logits

    ours, reference = pair("ForSequenceClassification")
    torch.testing.assert_close(changed(ours), changed(reference), **TOLERANCE)


def test_hooks_on_all_modules_see_rectangles() -> None:
    ours, reference = pair()
    found = []
    for model in (ours, reference):
        shapes: list[Any] = []
        handle = nn.modules.module.register_module_forward_hook(
            lambda module, _i, output, shapes=shapes: shapes.append(
                (type(module).__name__, getattr(output, "shape", 0))
            )
        )
        try:
            with torch.no_grad():
                model(IDS, attention_mask=RIGHT)
        finally:
            handle.remove()
        found.append([each for each in shapes if "Activation" not in each[0]])
    assert found[0] == found[1]


# Parts in the place of bertie's, and around them.


class Wrapped(nn.Module):
    """A module around a part, which takes the mean over columns to see that there are some."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.means: list[Tensor] = []

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        assert hidden_states.dim() == 3
        self.means.append(hidden_states[0].mean(dim=0))
        return self.part(hidden_states, *args, **kwargs)


REPLACED = {
    "encoder.layer.1": theirs.BertLayer,
    "encoder.layer.0.attention": theirs.BertAttention,
    "encoder.layer.0.attention.self": theirs.BertSelfAttention,
    "encoder.layer.1.output": theirs.BertOutput,
    "encoder": theirs.BertEncoder,
    "embeddings": theirs.BertEmbeddings,
    "pooler": theirs.BertPooler,
}


def put(model: nn.Module, path: str, part: nn.Module) -> None:
    owner, _, leaf = path.rpartition(".")
    setattr(model.get_submodule(owner), leaf, part)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("path", REPLACED)
def test_parts_written_for_transformers(path: str, attention: str) -> None:
    ours, reference = pair(attention=attention)
    put(ours, path, reference.get_submodule(path))
    for mask in (None, RIGHT):
        found, expected = (model(IDS, attention_mask=mask) for model in (ours, reference))
        real = torch.ones_like(IDS).bool() if mask is None else mask.bool()
        torch.testing.assert_close(found.last_hidden_state[real], expected.last_hidden_state[real], **TOLERANCE)
        torch.testing.assert_close(found.pooler_output, expected.pooler_output, **TOLERANCE)
        assert not found.last_hidden_state[~real].any()


@pytest.mark.parametrize("path", ["encoder.layer.0", "encoder.layer.1.attention.self", "pooler", "encoder"])
def test_parts_within_a_module_of_ones_own(path: str) -> None:
    ours, reference = pair()
    for model in (ours, reference):
        put(model, path, Wrapped(model.get_submodule(path)))
    found, expected = (model(IDS, attention_mask=RIGHT) for model in (ours, reference))
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, **TOLERANCE)
    torch.testing.assert_close(ours.get_submodule(path).means, reference.get_submodule(path).means, **TOLERANCE)


def test_a_forward_wrapped_by_hand() -> None:
    found = []
    for model in pair("ForTokenClassification"):
        layer, shapes = model.bert.encoder.layer[1], []

        def forward(*args: Any, inner: Any = layer.forward, shapes: Any = shapes, **kwargs: Any) -> Any:
            shapes.append(args[0].shape)
            return inner(*args, **kwargs) * 2

        layer.forward = functools.wraps(layer.forward)(forward)
        found.append((model(IDS, attention_mask=RIGHT).logits[RIGHT.bool()], shapes))
    torch.testing.assert_close(found[0], found[1], **TOLERANCE)


def test_a_head_of_ones_own_is_called_as_there() -> None:
    class Head(nn.Module):
        def forward(self, states: Tensor) -> Tensor:
            return states.mean(dim=1, keepdim=True).expand(-1, states.shape[1], -1)[..., :2]

    found = []
    for model in pair("ForTokenClassification"):
        model.classifier = Head()
        found.append(model(IDS).logits)
    torch.testing.assert_close(*found, **TOLERANCE)


# Parts by themselves.


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_parts_called_alone(attention: str) -> None:
    states = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(2))
    wide = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(3))
    added = ((1 - RIGHT) * torch.finfo(torch.float32).min)[:, None, None, :]
    types, places = IDS % 2, torch.arange(2, 9).expand(3, 7)
    ours, reference = pair("ForPreTraining", attention)
    calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
        "bert.embeddings": [
            ((), {"input_ids": IDS}),
            ((IDS, types, places), {}),
            ((), {"inputs_embeds": states, "past_key_values_length": 3}),
            ((), {"input_ids": IDS, "token_type_ids": types, "position_ids": places[:1]}),
        ],
        "bert.encoder": [
            ((states,), {}),
            ((states,), {"attention_mask": added, "head_mask": None, "use_cache": False}),
        ],
        "bert.encoder.layer.1": [((states, added), {}), ((states,), {"attention_mask": None, "past_key_values": None})],
        "bert.encoder.layer.0.attention": [((states, added), {}), ((states,), {})],
        "bert.encoder.layer.0.attention.self": [((states, added), {}), ((states,), {"position_ids": places})],
        "bert.encoder.layer.0.attention.output": [((states, states + 1), {})],
        "bert.encoder.layer.0.intermediate": [((states,), {})],
        "bert.encoder.layer.0.output": [((wide, states), {}), ((wide[0], states[0]), {})],
        "bert.pooler": [((states,), {})],
        "cls": [((states, states[:, 0]), {})],
        "cls.predictions": [((states,), {}), ((states[0, 0],), {})],
        "cls.predictions.transform": [((states,), {})],
    }
    everything = torch.ones_like(IDS).bool()
    for path, each in calls.items():
        for args, kwargs in each:
            with torch.no_grad():
                found, expected = (model.get_submodule(path)(*args, **kwargs) for model in (ours, reference))
            assert_equal(found, expected, everything, path)
    layers = [model.bert.encoder.layer[0] for model in (ours, reference)]
    assert_equal(*(layer.feed_forward_chunk(states) for layer in layers), everything, "feed_forward_chunk")


def test_a_detector_that_uses_the_parts() -> None:
    """As GroundingDINO does: embeddings, an encoder with a mask of its own for each phrase, and the pooler."""
    blocks = torch.zeros(3, 7, 7)
    blocks[:, :3, :3] = blocks[:, 3:, 3:] = 1
    places = torch.tensor([[0, 1, 2, 0, 1, 2, 3]]).expand(3, 7)
    found = []
    for model in pair():
        embedded = model.embeddings(input_ids=IDS, position_ids=places, token_type_ids=None, inputs_embeds=None)
        encoded = model.encoder(
            embedded,
            attention_mask=(1.0 - blocks[:, None]) * torch.finfo(embedded.dtype).min,
            head_mask=None,
            encoder_hidden_states=None,
            encoder_attention_mask=None,
            past_key_values=None,
            use_cache=False,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        found.append((encoded[0], encoded.last_hidden_state, model.pooler(encoded[0])))
    torch.testing.assert_close(found[0], found[1], **TOLERANCE)


def test_what_the_blocks_do_not_know_is_refused() -> None:
    ours, _ = pair()
    states = torch.zeros(1, 2, 32)
    with pytest.raises(TypeError, match="head_mask"):
        ours.encoder.layer[0](states, head_mask=torch.ones(4))
    with pytest.raises(TypeError, match=r"atention_mask.*attention_mask"):
        ours.encoder(states, atention_mask=torch.ones(1, 1, 1, 2))


@pytest.mark.parametrize(
    ("name", "fields"),
    [(name, {}) for name in HEADS] + [("LMHeadModel", {"is_decoder": True, "add_cross_attention": True})],
)
def test_parts_have_the_attributes_of_transformers(name: str, fields: dict[str, Any]) -> None:
    ours, reference = pair(name, **fields)
    parts, expected = dict(ours.named_modules()), dict(reference.named_modules())
    assert parts.keys() == expected.keys()
    for path, part in expected.items():
        mine = parts[path]
        if not path.endswith("act_fn"):  # an activation has its own name there
            assert type(mine).__name__ == type(part).__name__
            assert isinstance(part, transformers.PreTrainedModel) or not _missing(mine, part), path
        for (key, value), (own, buffer) in zip(
            part.named_buffers(recurse=False), mine.named_buffers(recurse=False), strict=True
        ):
            assert key == own
            assert torch.equal(value, buffer)
    assert not [key for key in ours.state_dict() if key.endswith("_ids")]


def _missing(mine: nn.Module, part: nn.Module) -> list[str]:
    """Return the public attributes of a part that ours lacks, or has with another value."""
    plain = bool | int | float | str | tuple
    return [
        name
        for name, value in vars(part).items()
        if not name.startswith("_")
        and (not hasattr(mine, name) or (isinstance(value, plain) and getattr(mine, name) != value))
    ]


# Who doesn't count, and who does.


def test_machinery_does_not_look() -> None:
    model, _ = pair("ForTokenClassification")
    shapes: list[Any] = []
    kind = type(model.bert.encoder.layer[0].intermediate)
    original = kind.forward

    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        shapes.append(tuple(hidden_states.shape))
        return original(self, hidden_states)

    kind.forward = forward
    try:
        model.enable_input_require_grads()
        nn.utils.parametrizations.weight_norm(model.bert.encoder.layer[0].attention.self.query)
        accelerate = pytest.importorskip("accelerate.hooks")
        accelerate.add_hook_to_module(model.bert.encoder.layer[1], accelerate.ModelHook())
        peft = pytest.importorskip("peft")
        adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["value"], modules_to_save=["classifier"]))
        adapted(IDS, attention_mask=RIGHT).logits.sum().backward()
    finally:
        kind.forward = original
    assert list(observers(model)) == []
    assert shapes == [(13, 32), (13, 32)]


def test_observers_are_named() -> None:
    model, reference = pair("ForSequenceClassification")
    assert not has_observers(model)
    bert = model.bert
    seen: list[Any] = []
    handles = [
        bert.encoder.layer[1].register_forward_hook(torch.no_grad()(lambda *_: None)),
        bert.pooler.register_full_backward_hook(lambda *_: None),
        bert.embeddings.register_forward_pre_hook(lambda *_: seen.append(0)),
    ]
    bert.encoder.layer[0].attention.self = reference.bert.encoder.layer[0].attention.self
    assert list(observers(model)) == [
        f"a forward pre hook of {__name__} on bert.embeddings",
        "transformers.models.bert.modeling_bert.BertSelfAttention in the place of bert.encoder.layer.0.attention.self",
        f"a forward hook of {__name__} on bert.encoder.layer.1",
        f"a backward hook of {__name__} on bert.pooler",
    ]
    text = bertie.explain_attention(model, IDS)
    assert text.startswith("padding is kept for ")
    assert "a backward hook" in text
    for handle in handles:
        handle.remove()
    assert has_observers(model)
    bert.encoder.layer[0].attention.self = pair("ForSequenceClassification")[0].bert.encoder.layer[0].attention.self
    assert not has_observers(model)
    bert.encoder.layer.append(Wrapped(nn.Identity()))
    assert has_observers(model)


def test_a_head_of_ones_own_computes_with_packed_batches() -> None:
    """Its hidden states are ``[T, D]`` whoever looks into the encoder."""

    class Scorer(bertie.BertPreTrainedModel):
        def __init__(self, config: bertie.BertConfig) -> None:
            super().__init__(config)
            self.bert = bertie.BertModel(config)
            self.mix = Wrapped(nn.Identity())
            self.post_init()

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
            packed = self.pack_inputs(input_ids, attention_mask)
            outputs = self.bert(packed, output_hidden_states=True, return_dict=True)
            assert outputs.hidden_states[0].shape == outputs.last_hidden_state.shape == (13, 32)
            scores = bertie.TokenClassifierOutput(logits=outputs.hidden_states[1], hidden_states=outputs.hidden_states)
            return self.pad_outputs(scores, input_ids, packed, None)

    model = Scorer(bertie.BertConfig(**SIZES)).eval()
    expected, seen = model(IDS, RIGHT), []
    assert expected.logits.shape == expected.hidden_states[0].shape == (3, 7, 32)
    model.bert.encoder.layer[0].register_forward_hook(lambda _m, _i, output: seen.append(output.shape))
    torch.testing.assert_close(model(IDS, RIGHT).logits, expected.logits, **TOLERANCE)
    assert seen == [(3, 7, 32)]
