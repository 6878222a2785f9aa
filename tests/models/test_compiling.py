"""``bertie.compile``: batches of any lengths share one compilation, with the outputs of eager mode."""

import copy
import pickle

import pytest
import torch
from torch._dynamo.utils import counters

import bertie

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
# no number of tokens equals one of the model's sizes: the compiler would unify the two, and recompile
RAGGED = ((5, 4), (6, 1), (9, 2, 1, 1), (3, 7, 7, 2), (11, 0), (30,), (1, 1, 1))


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.manual_seed(0)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def make(name: str = "BertModel", backend: str = "eager", **fields) -> tuple:
    """Return a model and its compiled copy."""
    model = getattr(bertie, name)(bertie.BertConfig(**{**SIZES, **fields})).eval()
    return model, bertie.compile(copy.deepcopy(model), backend=backend)


def packed(*lengths: int) -> bertie.Packed:
    return bertie.Packed.from_lists([torch.randint(1, 99, (length,)).tolist() for length in lengths])


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def test_ragged_batches_share_one_compilation():
    model, compiled = make()
    with torch.inference_mode():
        for lengths in RAGGED:
            batch = packed(*lengths)
            ours, expected = compiled(batch), model(batch)
            torch.testing.assert_close(ours.last_hidden_state, expected.last_hidden_state, atol=1e-6, rtol=0)
            torch.testing.assert_close(ours.pooler_output, expected.pooler_output, atol=1e-6, rtol=0)
    assert graphs() == 2  # the embeddings, and one for all blocks
    assert not counters["graph_break"]


def test_rectangles_and_attention_weights_need_no_further_graph():
    model, compiled = make()
    ids, mask = torch.randint(1, 99, (2, 7)), torch.tensor([[1] * 7, [1, 1, 0, 0, 0, 0, 0]])
    with torch.inference_mode():
        for extras in ({}, {"output_attentions": True}, {"output_hidden_states": True}):
            ours, expected = compiled(ids, mask, **extras), model(ids, mask, **extras)
            torch.testing.assert_close(ours.to_tuple(), expected.to_tuple(), atol=1e-6, rtol=0)
    assert graphs() == 2


def test_training_steps_share_one_compilation_and_have_the_gradients_of_eager_mode():
    model, compiled = (each.train() for each in make("BertForMaskedLM", "aot_eager"))
    for lengths in RAGGED[:4]:
        batch = packed(*lengths)
        labels = torch.where(torch.arange(batch.num_tokens) % 3 == 0, batch.input_ids, -100)
        for each in (model, compiled):
            each.zero_grad()
            each(batch, labels=labels, output_logits=False).loss.backward()
        for (name, ours), expected in zip(compiled.named_parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, expected.grad, atol=2e-5, rtol=0, msg=name)
    assert graphs() == 1


def test_checkpointed_blocks_are_compiled_too():
    model, compiled = (each.train() for each in make("BertForMaskedLM", "aot_eager"))
    compiled.gradient_checkpointing_enable()
    batch = packed(5, 4)
    for each in (model, compiled):
        each(batch, labels=batch.input_ids).loss.backward()
    torch.testing.assert_close(
        [each.grad for each in compiled.parameters()], [each.grad for each in model.parameters()], atol=2e-5, rtol=0
    )


def test_a_decoder_keeps_its_cache_and_cross_attention():
    model, compiled = make("BertLMHeadModel", is_decoder=True, add_cross_attention=True)
    states, ids = torch.randn(2, 3, 16), torch.randint(1, 99, (2, 6))
    with torch.inference_mode():
        answers = []
        for each in (model, compiled):
            first = each(ids, encoder_hidden_states=states)
            answers.append(each(ids[:, :1], encoder_hidden_states=states, past_key_values=first.past_key_values).logits)
    torch.testing.assert_close(*answers, atol=1e-6, rtol=0)


def test_later_weights_and_hooks_take_effect():
    model, compiled = make()
    batch, seen = packed(5, 4), []
    with torch.no_grad():
        compiled(batch)
        for each in (model, compiled):
            each.encoder.layer[1].output.dense.weight.mul_(2)
        torch.testing.assert_close(compiled(batch)[0], model(batch)[0], atol=1e-6, rtol=0)
    compiled.encoder.layer[0].attention.register_forward_hook(lambda *_: seen.append("attention"))
    compiled.encoder.layer[0].register_forward_hook(lambda *_: seen.append("block"))
    with torch.no_grad():
        compiled(batch)
    assert seen == ["attention", "block"]


class Numbers:
    """A tokenizer that makes one id of every character."""

    model_max_length = 40

    def __call__(self, texts, **_):
        ids = [[ord(letter) % 99 for letter in text[:40]] for text in texts]
        return {"input_ids": ids, "token_type_ids": [[0] * len(row) for row in ids]}


@pytest.mark.parametrize("first", ["quantized", "compiled"])
def test_int8_blocks_keep_their_integer_products(first):
    def small(each):
        return bertie.quantize(each, "int8", texts=["some words", "a few more of them"] * 4, tokenizer=Numbers())

    model, compiled = make()
    expected = small(model)
    ours = small(compiled) if first == "compiled" else bertie.compile(copy.deepcopy(expected), backend="eager")
    with torch.inference_mode():
        for lengths in RAGGED:
            batch = packed(*lengths)
            integers = expected(batch)[0]
            # the last bits of a normalisation may differ; rounded weights would differ a hundred times as much
            assert (ours(batch)[0] - integers).abs().mean() < 0.1 * (model(batch)[0] - integers).abs().mean()


def test_a_compiled_model_is_copied_pickled_and_saved_like_any_other(tmp_path):
    model, compiled = make()
    batch = packed(5, 4)
    assert list(compiled.state_dict()) == list(model.state_dict())
    compiled.save_pretrained(tmp_path)
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):  # noqa: S301
        assert vars(other.encoder.layer[0])["forward"].block is other.encoder.layer[0]
        assert other.forward.model is other
        with torch.no_grad():
            torch.testing.assert_close(other(batch)[0], model(batch)[0], atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(bertie.BertModel.from_pretrained(tmp_path)(batch)[0], model(batch)[0])


def test_torch_compile_of_a_compiled_model_is_one_graph():
    model, compiled = make()
    batch = packed(5, 2, 4)
    with torch.no_grad():
        whole = torch.compile(compiled, backend="eager", fullgraph=True)(batch)
        torch.testing.assert_close(whole[0], model(batch)[0], atol=1e-5, rtol=0)


def test_what_cannot_be_compiled_is_refused(monkeypatch):
    with pytest.raises(bertie.InputTypeError, match="takes a bertie model, not Linear"):
        bertie.compile(torch.nn.Linear(2, 2))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(bertie.BertieError, match=r"needs a C\+\+ compiler on the CPU"):
        bertie.compile(bertie.BertModel(bertie.BertConfig(**SIZES)))


@pytest.mark.slow  # it calls the C++ compiler
def test_inductor_equals_eager_mode():
    model, compiled = (each.train() for each in make("BertForMaskedLM", "inductor"))
    for lengths in RAGGED[:3]:
        batch = packed(*lengths)
        with torch.inference_mode():
            torch.testing.assert_close(compiled.eval()(batch)[0], model.eval()(batch)[0], atol=1e-5, rtol=0)
        losses = [each.train()(batch, labels=batch.input_ids).loss for each in (model, compiled)]
        torch.testing.assert_close(*losses, atol=1e-5, rtol=0)
        losses[1].backward()
