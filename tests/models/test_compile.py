"""torch.compile and torch.export: one graph for every class, with the outputs of eager mode (decision 7)."""

import io
import warnings

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils import _pytree as pytree

import bertie

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
TOKEN_LABELS = torch.tensor([[1, -100, 0, 1, -100, 1], [0, 1, -100, -100, -100, -100]])
# class -> labels of two texts of six columns
LABELS = {
    "BertModel": {},
    "BertForPreTraining": {"labels": TOKEN_LABELS, "next_sentence_label": torch.tensor([0, 1])},
    "BertLMHeadModel": {"labels": TOKEN_LABELS},
    "BertForMaskedLM": {"labels": TOKEN_LABELS},
    "BertForNextSentencePrediction": {"labels": torch.tensor([0, 1])},
    "BertForSequenceClassification": {"labels": torch.tensor([0, 1])},
    "BertForMultipleChoice": {"labels": torch.tensor([1, 0])},
    "BertForTokenClassification": {"labels": TOKEN_LABELS},
    "BertForQuestionAnswering": {"start_positions": torch.tensor([1, 0]), "end_positions": torch.tensor([5, 9])},
}
CLASSES = sorted(LABELS)
COMMON = ("BertModel", "BertForMaskedLM", "BertForQuestionAnswering", "BertForSequenceClassification")


def classes(fast: tuple[str, ...] = COMMON) -> list:
    """Every class; those that are not ``fast`` are marked slow, as a compilation takes seconds."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in CLASSES]


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def make(name: str, **fields) -> bertie.BertPreTrainedModel:
    config = bertie.BertConfig(**SIZES, is_decoder=name == "BertLMHeadModel", **fields)
    return getattr(bertie, name)(config).eval()


def rectangle(name: str) -> dict[str, torch.Tensor]:
    return shaped(name, MASK)


def shaped(name: str, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a batch with this mask; for multiple choice, two choices of every text."""
    if name == "BertForMultipleChoice":
        mask = mask[:, None].repeat(1, 2, 1)
    return {"input_ids": torch.randint(1, 99, mask.shape), "attention_mask": mask}


def packed(*lengths: int) -> bertie.Packed:
    return bertie.Packed.from_lists([torch.randint(1, 99, (length,)).tolist() for length in lengths])


def assert_same(ours: bertie.ModelOutput, expected: bertie.ModelOutput) -> None:
    assert type(ours) is type(expected)
    assert list(ours) == list(expected)
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(
                ours[name], value, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("name", CLASSES)
def test_a_padded_call_is_one_graph(name):
    model, batch = make(name), rectangle(name)
    with torch.no_grad():
        assert_same(torch.compile(model, backend="eager", fullgraph=True)(**batch), model(**batch))


@pytest.mark.parametrize("name", classes(fast=("BertModel",)))
def test_a_padded_call_without_a_mask_is_one_graph(name):
    model, batch = make(name), rectangle(name)
    del batch["attention_mask"]
    with torch.no_grad():
        assert_same(torch.compile(model, backend="eager", fullgraph=True)(**batch), model(**batch))


@pytest.mark.parametrize("name", classes())
def test_a_training_step_is_one_graph(name):
    if name == "BertModel":
        pytest.skip("it has no loss")
    model = make(name).train()
    batch = {**rectangle(name), **LABELS[name]}
    expected = model(**batch)
    gradients = torch.autograd.grad(expected.loss, list(model.parameters()), allow_unused=True)
    ours = torch.compile(model, backend="aot_eager", fullgraph=True)(**batch)
    assert_same(ours, expected)
    ours.loss.backward()
    for (parameter_name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, atol=2e-5, rtol=0, msg=parameter_name)


@pytest.mark.slow  # it calls the C++ compiler
def test_inductor_equals_eager_mode():
    model = make("BertForMaskedLM").train()
    batch = {**rectangle("BertForMaskedLM"), **LABELS["BertForMaskedLM"]}
    ours = torch.compile(model, fullgraph=True)(**batch)
    ours.loss.backward()
    assert_same(ours, model(**batch))


@pytest.mark.parametrize("mask", [torch.ones(2, 6, 6).tril().bool(), torch.zeros(2, 1, 1, 6)], ids=["3-D", "4-D"])
def test_masks_of_more_dimensions_and_all_extras(mask):
    model = make("BertModel")
    batch = {**rectangle("BertModel"), "attention_mask": mask, "output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        ours, expected = torch.compile(model, backend="eager", fullgraph=True)(**batch), model(**batch)
    assert_same(ours, expected)
    for name in ("hidden_states", "attentions"):
        torch.testing.assert_close(ours[name], expected[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_a_packed_call_is_one_graph(name):
    model, batch = make(name), packed(5, 2, 4)
    with torch.no_grad():
        assert_same(torch.compile(model, backend="eager", fullgraph=True)(batch), model(batch))


def test_a_packed_training_step_is_one_graph():
    model, batch = make("BertForMaskedLM").train(), packed(5, 2, 4)
    labels = torch.where(torch.arange(11) % 3 == 0, batch.input_ids, -100)
    expected = torch.autograd.grad(model(batch, labels=labels).loss, list(model.parameters()))
    torch.compile(model, backend="aot_eager", fullgraph=True)(batch, labels=labels).loss.backward()
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], list(expected), atol=2e-5, rtol=0)


def test_a_graph_leaves_out_unrequested_logits():
    model, batch = make("BertForMaskedLM"), {**rectangle("BertForMaskedLM"), **LABELS["BertForMaskedLM"]}
    ours = torch.compile(model, backend="eager", fullgraph=True)(**batch, output_logits=False)
    assert_same(ours, model(**batch, output_logits=False))
    assert ours.logits is None


def test_packed_batches_do_not_recompile_for_their_lengths():
    counter = CompileCounterWithBackend("eager")
    model = make("BertModel")
    compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for lengths in ((5, 3), (6, 2), (9, 2, 1), (3, 7, 7, 2), (12, 1)):
            batch = packed(*lengths)
            assert_same(compiled(batch), model(batch))
    assert counter.frame_count == 1


def test_compiling_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        torch.compile(make("BertModel"), backend="eager", fullgraph=True)(packed(3, 2))


@pytest.mark.parametrize(
    "name", [name for name in classes(fast=("BertForMaskedLM",)) if "LMHead" not in name.values[0]]
)
def test_export_takes_any_batch_and_length(name):
    model = make(name)
    batch = rectangle(name)
    last = batch["input_ids"].dim() - 1
    dynamic = {0: torch.export.Dim("B"), last: torch.export.Dim("S", max=SIZES["max_position_embeddings"])}
    exported = torch.export.export(model, (), batch, dynamic_shapes=dict.fromkeys(batch, dynamic))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    mask = torch.ones(3, 11, dtype=torch.int64)
    mask[0, :4], mask[1, 5:], mask[2, 3:6] = 0, 0, 0  # left padding, right padding, a hole
    other = shaped(name, mask)
    assert_same(loaded(**other), model(**other))


def test_packed_is_a_pytree_of_its_tensors():
    batch = packed(3, 1)
    leaves, spec = pytree.tree_flatten(batch)
    assert all(leaf is None or isinstance(leaf, torch.Tensor) for leaf in leaves)
    again = pytree.tree_unflatten(leaves, spec)
    assert again.shape == batch.shape
    assert again.lengths == (3, 1)
    assert torch.equal(again.pad(again.input_ids), batch.pad(batch.input_ids))


def test_outputs_are_pytrees():
    output = bertie.MaskedLMOutput(loss=torch.ones(()), logits=torch.ones(2), hidden_states=(torch.ones(1),))
    doubled = pytree.tree_map(lambda value: value * 2, output)
    assert isinstance(doubled, bertie.MaskedLMOutput)
    assert list(doubled) == ["loss", "logits", "hidden_states"]
    assert doubled.hidden_states[0].item() == 2


@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
def test_export_gives_a_decoder_with_its_cache(cross):
    model = make("BertLMHeadModel", add_cross_attention=cross)
    batch = {"input_ids": torch.randint(1, 99, (2, 6)), "attention_mask": MASK}
    if cross:
        batch["encoder_hidden_states"] = torch.randn(2, 3, 16)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (), batch), file)
    file.seek(0)
    output = torch.export.load(file).module()(**batch)
    cache, expected = output.past_key_values, model(**batch).past_key_values
    assert type(cache) is type(expected)
    assert cache.get_seq_length() == 6
    step = {key: value for key, value in batch.items() if "encoder" in key}
    ids = torch.tensor([[5], [6]])
    again, once = (model(ids, past_key_values=each, **step).logits for each in (cache, expected))
    if cross:
        assert cache.is_updated == expected.is_updated
    assert (again - once)[0].abs().max() <= 1e-5  # the second text is padded, but no mask is given here


def test_decoding_steps_compile_once_for_all_lengths():
    counter = CompileCounterWithBackend("eager")
    model = make("BertLMHeadModel")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    ids, logits = torch.randint(1, 99, (2, 12)), []
    with torch.no_grad():
        cache = model(ids[:, :6]).past_key_values
        for column in range(6, 12):
            logits.append(compiled(ids[:, column : column + 1], past_key_values=cache).logits)
        torch.testing.assert_close(torch.cat(logits, dim=1), model(ids).logits[:, 6:], atol=1e-5, rtol=0)
    assert counter.frame_count <= 2  # one length, then any length


@pytest.mark.parametrize("how", ["checkpointing", "autocast"])
def test_a_training_step_stays_one_graph_with(how):
    model = make("BertForMaskedLM").train()
    batch = {**rectangle("BertForMaskedLM"), **LABELS["BertForMaskedLM"]}
    if how == "checkpointing":
        model.gradient_checkpointing_enable()
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        expected = model(**batch).loss
        loss = torch.compile(model, backend="aot_eager", fullgraph=True)(**batch).loss
    loss.backward()
    torch.testing.assert_close(loss, expected, atol=1e-2 if how == "autocast" else 1e-5, rtol=0)
