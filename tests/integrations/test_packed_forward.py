"""`transformers` encoders on the engine: equal where it answers, the original elsewhere, and never stale."""

import copy
import functools
import pickle
import subprocess
import sys
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.families import FAMILIES
from bertie.integrations import packed_forward
from bertie.integrations.packed_forward import STATES

SIZES = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 25, "max_position_embeddings": 24, "initializer_range": 0.3}
FIELDS: dict[str, dict[str, Any]] = {
    "distilbert": {"vocab_size": 99, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 25}
    | {"max_position_embeddings": 24, "initializer_range": 0.3},
    "electra": {**SIZES, "embedding_size": 8},
}
IDS = torch.randint(2, 99, (3, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 2 + [0] * 5])


@pytest.fixture(autouse=True)
def own_forwards():
    yield
    bertie.uninstall()


def made(kind: str = "bert", door: Any = transformers.AutoModel, **fields: Any) -> Any:
    torch.manual_seed(0)
    return door.from_config(transformers.AutoConfig.for_model(kind, **FIELDS.get(kind, SIZES), **fields)).eval()


def used(model: Any) -> bool:
    """Whether there is an engine for the weights that the model's encoder was last called with."""
    states = [STATES.get(module) for module in model.modules()]
    return any(state is not None and state.snapshot is not None for state in states)


@torch.no_grad()
def answer(model: Any, **arguments: Any) -> Any:
    return model(input_ids=IDS.where(MASK == 1, model.config.pad_token_id), attention_mask=MASK, **arguments)


def check_equal(found: Tensor, expected: Tensor) -> None:
    real = MASK.bool()
    torch.testing.assert_close(found[real], expected[real], rtol=0, atol=1e-5)
    assert not found[~real].any()


@pytest.mark.parametrize("kind", FAMILIES)
def test_hidden_states_are_the_originals(kind):
    model = made(kind)
    expected = answer(model)
    assert bertie.accelerate(model) is model
    found = answer(model)
    assert type(found) is type(expected)
    assert found.keys() == expected.keys()
    check_equal(found.last_hidden_state, expected.last_hidden_state)
    if "pooler_output" in expected:
        torch.testing.assert_close(found.pooler_output, expected.pooler_output, rtol=0, atol=1e-5)
    assert used(model)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(
    "door",
    [transformers.AutoModelForSequenceClassification, transformers.AutoModelForQuestionAnswering],
)
def test_heads_read_the_engines_states(kind, door):
    model = made(kind, door)
    expected = answer(model)
    bertie.accelerate(model)
    found = answer(model)
    for name, own in expected.items():
        mask = MASK.bool() if own.shape == MASK.shape else ...
        torch.testing.assert_close(found[name][mask], own[mask], rtol=0, atol=1e-5)
    assert used(model)


def test_install_and_uninstall():
    own = {name: getattr(transformers, name).forward for name in ("BertModel", "MPNetModel", "DistilBertModel")}
    model = made()
    expected = answer(model).last_hidden_state
    bertie.install()
    bertie.install()
    assert transformers.BertModel.forward is not own["BertModel"]
    check_equal(answer(model).last_hidden_state, expected)
    assert used(model)
    bertie.accelerate(model)
    check_equal(answer(model).last_hidden_state, expected)
    bertie.uninstall()
    assert {name: getattr(transformers, name).forward for name in own} == own
    assert "forward" not in vars(model)
    torch.testing.assert_close(answer(model).last_hidden_state, expected, rtol=0, atol=0)


def doubled(forward: Any) -> Any:
    """Wrap a forward as other libraries do."""

    @functools.wraps(forward)
    def wrapper(*args: Any, **arguments: Any) -> Any:
        found = forward(*args, **arguments)
        found.last_hidden_state *= 2
        return found

    return wrapper


def test_uninstall_leaves_the_wrappers_of_others(monkeypatch):
    expected = answer(made()).last_hidden_state * 2
    bertie.install()
    monkeypatch.setattr(transformers.BertModel, "forward", wrapper := doubled(transformers.BertModel.forward))
    one, other = made(), bertie.accelerate(made("roberta"))
    other.forward = doubled(other.forward)
    check_equal(answer(one).last_hidden_state, expected)
    with pytest.raises(InputError, match="its hidden states differ by"):
        bertie.accelerate(made())
    bertie.uninstall()
    assert transformers.BertModel.forward is wrapper
    torch.testing.assert_close(answer(one).last_hidden_state, expected, rtol=0, atol=0)
    answer(other)
    assert not used(one)
    assert not used(other)


def test_both_or_neither_of_two_encoders():
    pair = torch.nn.ModuleList([made(), made(is_decoder=True)])
    with pytest.raises(InputError, match="decoder"):
        bertie.accelerate(pair)
    assert not any("forward" in vars(each) or used(each) for each in pair)


CHANGES = {
    "an optimizer's step": lambda weight: weight.add_(0.1),
    "a write past the version counter": lambda weight: weight.data.add_(0.1),
    "a write through NumPy": lambda weight: weight.detach().numpy().__setitem__(slice(1), 0.5),
    "a write of a slice": lambda weight: weight.data[..., 3:5].mul_(1.5),
    "rows in each other's place": lambda weight: weight.data.copy_(weight.data.flip(0)),
    "columns in each other's place": lambda weight: weight.data.copy_(weight.data.flip(-1)),
    "two numbers in each other's place": lambda weight: weight.data[..., :2].copy_(weight.data[..., :2].flip(-1)),
    "other signs": lambda weight: weight.data.neg_(),
    "other memory": lambda weight: setattr(weight, "data", weight.data * 2),
}
WEIGHTS = ("encoder.layer.1.output.dense.weight", "encoder.layer.0.attention.self.key.bias")
WEIGHTS += ("embeddings.word_embeddings.weight", "embeddings.LayerNorm.weight")


def transpose(weight: Tensor) -> None:
    weight.data.copy_(weight.data.t().clone())


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        *(("bert", name, change) for name in WEIGHTS for change in CHANGES.values()),
        ("bert", "encoder.layer.0.attention.self.query.weight", transpose),
        ("bert", "embeddings.position_embeddings.weight", CHANGES["a write through NumPy"]),
        ("bert", "embeddings.token_type_embeddings.weight", CHANGES["a write through NumPy"]),
        ("electra", "embeddings_project.weight", CHANGES["columns in each other's place"]),
        ("mpnet", "encoder.relative_attention_bias.weight", CHANGES["a write through NumPy"]),
    ],
)
def test_changed_weights_never_give_stale_answers(kind, name, change):
    model, other = bertie.accelerate(made(kind)), made(kind)
    answer(model)
    for each in (model, other):
        with torch.no_grad():
            change(each.get_parameter(name))
    expected = answer(other).last_hidden_state
    for _ in range(3):
        torch.testing.assert_close(
            answer(model).last_hidden_state[MASK.bool()], expected[MASK.bool()], rtol=0, atol=1e-5
        )
    assert used(model)


def test_a_changed_epsilon_takes_effect():
    model, other = bertie.accelerate(made()), made()
    answer(model)
    for each in (model, other):
        each.encoder.layer[0].attention.output.LayerNorm.eps = 0.5
    torch.testing.assert_close(answer(model), answer(other), rtol=0, atol=0)
    assert not used(model)


def original_is_asked(model: Any, call: Any) -> None:
    """Check that a call gives bitwise the same as the model without bertie."""
    expected = call(copy.deepcopy(model))
    bertie.accelerate(model)
    torch.manual_seed(0)
    found = call(model)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def seeded(model: Any) -> Tensor:
    torch.manual_seed(0)
    return model.train()(IDS, MASK).last_hidden_state.detach()


def gradient(model: Any) -> Tensor:
    model(IDS, MASK).last_hidden_state[MASK.bool()].sum().backward()
    return model.embeddings.word_embeddings.weight.grad


def hooked(model: Any) -> Tensor:
    seen = []
    model.encoder.layer[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    answer(model)
    return seen[0] if isinstance(seen[0], Tensor) else seen[0][0]


CALLS = {
    "dropout": seeded,
    "gradients": gradient,
    "hooks": hooked,
    "hidden states of all layers": lambda model: answer(model, output_hidden_states=True).hidden_states,
    "padding in front": lambda model: model(IDS, MASK.flip(1)).last_hidden_state.detach(),
    "positions": lambda model: model(IDS, MASK, position_ids=torch.arange(7)[None] + 3).last_hidden_state.detach(),
    "a tuple": lambda model: answer(model, return_dict=False)[0],
    "embeddings given": lambda model: model(inputs_embeds=torch.ones(2, 3, 16)).last_hidden_state.detach(),
    "half precision": lambda model: answer(model.bfloat16()).last_hidden_state,
    "autocast": lambda model: torch.autocast("cpu")(answer)(model).last_hidden_state,
    "a compiled model": lambda model: answer(torch.compile(model, backend="eager")).last_hidden_state,
}


@pytest.mark.parametrize("name", CALLS)
def test_everything_else_is_the_originals(name):
    original_is_asked(made(), CALLS[name])


def test_attentions_are_the_originals():
    model = made(attn_implementation="eager")
    original_is_asked(model, lambda model: answer(model, output_attentions=True).attentions)


def test_hidden_states_asked_for_once_leave_the_engine_in_use():
    model = bertie.accelerate(made())
    answer(model, output_hidden_states=True)
    assert not packed_forward.why_not(model)


def test_an_id_beyond_the_vocabulary_is_refused_as_ever():
    model = bertie.accelerate(made())
    with pytest.raises(IndexError), torch.no_grad():
        model(torch.tensor([[5, 1000]]))


def test_an_encoder_with_removed_layers():
    model, other = made(), made()
    for each in (model, other):
        each.encoder.layer = each.encoder.layer[:1]
    check_equal(answer(bertie.accelerate(model)).last_hidden_state, answer(other).last_hidden_state)


def test_copies_are_accelerated_and_restored():
    model = bertie.accelerate(made())
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]  # noqa: S301
    with torch.no_grad():
        model.pooler.dense.weight.zero_()
        model.embeddings.word_embeddings.weight.zero_()
    for each in copies:
        assert each.forward.encoder is each
        check_equal(answer(each).last_hidden_state, answer(made()).last_hidden_state)
    bertie.uninstall()
    assert not any("forward" in vars(each) for each in (model, *copies))


def test_adapters_are_the_originals_under_install_and_refused_by_name():
    adapted = peft.get_peft_model(made(), peft.LoraConfig(target_modules=["query"], init_lora_weights=False)).eval()
    expected = answer(adapted).last_hidden_state
    bertie.install()
    for _ in range(2):
        torch.testing.assert_close(answer(adapted).last_hidden_state, expected, rtol=0, atol=0)
    with pytest.raises(InputError, match=r"BertModel: peft\.tuners\.lora\.layer\.Linear replaces"):
        bertie.accelerate(adapted)
    check_equal(answer(bertie.accelerate(adapted.merge_and_unload())).last_hidden_state, expected)


def test_unsupported_models_are_refused_by_name():
    sizes = {"vocab_size": 99, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    modern = transformers.ModernBertModel(transformers.ModernBertConfig(**sizes, pad_token_id=0))
    with pytest.raises(InputTypeError, match="This ModernBertModel has no encoder that can be accelerated"):
        bertie.accelerate(modern)
    with pytest.raises(InputTypeError, match="This int has no encoder"):
        bertie.accelerate(3)
    with pytest.raises(InputTypeError, match="accelerate is not for bertie's own models"):
        bertie.accelerate(bertie.BertModel(bertie.BertConfig(**SIZES)))
    with pytest.raises(InputError, match="accelerate cannot take this BertModel: .*decoder"):
        bertie.accelerate(made(is_decoder=True))
    model = made()
    model.encoder.layer[0].attention.output.LayerNorm.eps = 0.5
    with pytest.raises(InputError, match="its hidden states differ by"):
        bertie.accelerate(model)
    assert "forward" not in vars(model)


def test_an_unknown_version_is_refused(monkeypatch):
    monkeypatch.setattr(transformers, "__version__", "6.1.0")
    with pytest.raises(InputError, match=r"This is transformers 6\.1\.0, but bertie knows how to accelerate"):
        bertie.install()


def test_bertie_does_not_import_transformers():
    program = """
import sys, bertie
try:
    bertie.install()
except bertie.InputError as error:
    print(error)
assert not {"transformers", "sentence_transformers"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == "This program hasn't imported transformers; call bertie.install() after its imports.\n"
