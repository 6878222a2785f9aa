"""Decoding with a cache gives what decoding without one gives, whoever made the cache (decision 18)."""

import functools

import pytest
import torch
import transformers

import bertie

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "is_decoder": True,
    "add_cross_attention": True,
}
WIDTH = 8
# The prompt is the first five columns; what is generated after it is real in every text.
MASKS = {
    "none": torch.ones(2, WIDTH, dtype=torch.long),
    "left": torch.tensor([[1] * WIDTH, [0, 0, 0, 1, 1, 1, 1, 1]]),
    "right": torch.tensor([[1] * WIDTH, [1, 1, 0, 0, 0, 1, 1, 1]]),
}
ENCODER_MASK = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0]])


def static() -> transformers.StaticCache:
    """A cache that holds more places than are filled."""
    return transformers.StaticCache(config=transformers.BertConfig(**SIZES), max_cache_len=11)


CACHES = {
    "none": lambda: None,
    "ours": bertie.Cache,
    "theirs": transformers.DynamicCache,
    "theirs, static": static,
    "ours for encoder and decoder": bertie.EncoderDecoderCache,
    "theirs for encoder and decoder": lambda: transformers.EncoderDecoderCache(
        transformers.DynamicCache(), transformers.DynamicCache()
    ),
    "theirs for encoder and decoder, static": lambda: transformers.EncoderDecoderCache(static(), static()),
}


@functools.cache
def pair() -> tuple[bertie.BertLMHeadModel, transformers.BertLMHeadModel]:
    torch.manual_seed(0)
    reference = transformers.BertLMHeadModel(transformers.BertConfig(**SIZES)).eval()
    reference.set_attn_implementation("eager")
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    ours = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES)).eval()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


@pytest.fixture
def model() -> bertie.BertLMHeadModel:
    return pair()[0]


@pytest.fixture
def reference() -> transformers.BertLMHeadModel:
    return pair()[1]


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(1, 50, (2, WIDTH), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def encoder() -> dict[str, torch.Tensor]:
    states = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(2))
    return {"encoder_hidden_states": states, "encoder_attention_mask": ENCODER_MASK}


def in_steps(model, ids, mask, cache, prompt=5, **more):
    """Read the prompt, then a column a step; return the logits of all columns, and the cache that came back."""
    logits, start = [], 0
    for stop in (prompt, *range(prompt + 1, ids.shape[1] + 1)):
        output = model(ids[:, start:stop], attention_mask=mask[:, :stop], past_key_values=cache, use_cache=True, **more)
        logits.append(output.logits)
        start, cache = stop, output.past_key_values
    return torch.cat(logits, dim=1), cache


def assert_equal_on(mask, ours, expected, atol=1e-5):
    torch.testing.assert_close(ours[mask.bool()], expected[mask.bool()], atol=atol, rtol=0)


@pytest.mark.parametrize("padding", MASKS)
@pytest.mark.parametrize("cache", CACHES)
def test_with_a_cache_as_without(model, reference, ids, padding, cache):
    mask, given = MASKS[padding], CACHES[cache]()
    logits, returned = in_steps(model, ids, mask, given)
    assert_equal_on(mask, logits, model(ids, attention_mask=mask).logits)
    assert_equal_on(mask, logits, reference(ids, attention_mask=mask, use_cache=False).logits)
    assert returned is given or (given is None and isinstance(returned, bertie.Cache))
    assert returned.get_seq_length() == WIDTH


@pytest.mark.parametrize("padding", MASKS)
@pytest.mark.parametrize("cache", CACHES)
def test_cross_attention_with_a_cache_as_the_reference_without(model, reference, ids, encoder, padding, cache):
    mask, given = MASKS[padding], CACHES[cache]()
    expected = reference(ids, attention_mask=mask, use_cache=False, **encoder).logits
    assert_equal_on(mask, model(ids, attention_mask=mask, use_cache=False, **encoder).logits, expected)
    logits, returned = in_steps(model, ids, mask, given, **encoder)
    assert_equal_on(mask, logits, expected)
    assert returned is given or (given is None and isinstance(returned, bertie.EncoderDecoderCache))
    if hasattr(returned, "is_updated"):
        assert returned.is_updated == {0: True, 1: True}
        assert returned.cross_attention_cache.get_seq_length() == 4


def test_an_encoder_may_be_packed(model, ids, encoder):
    packed = bertie.Packed.from_padded(
        inputs_embeds=encoder["encoder_hidden_states"], attention_mask=encoder["encoder_attention_mask"]
    )
    output = model(ids, attention_mask=MASKS["left"], encoder_hidden_states=packed)
    expected = model(ids, attention_mask=MASKS["left"], **encoder)
    torch.testing.assert_close(output.logits, expected.logits)


def test_the_encoder_is_projected_once(model, ids, encoder):
    calls = []
    key = model.bert.encoder.layer[0].crossattention.self.key
    hook = key.register_forward_hook(lambda *_: calls.append(1))
    in_steps(model, ids, MASKS["none"], None, **encoder)
    hook.remove()
    assert len(calls) == 1


def test_a_packed_step(model, ids):
    mask = MASKS["none"]
    cache = model(ids[:, :5], attention_mask=mask[:, :5]).past_key_values
    step = bertie.Packed.from_lists(ids[:, 5:6].tolist(), position_ids=[[5], [5]])
    output = model(step, past_key_values=cache)
    torch.testing.assert_close(output.logits, model(ids[:, :6]).logits[:, 5], atol=1e-5, rtol=0)


def test_several_tokens_a_step_stay_causal(model, ids):
    mask = MASKS["left"]
    cache = model(ids[:, :4], attention_mask=mask[:, :4]).past_key_values
    output = model(ids[:, 4:], attention_mask=mask, past_key_values=cache)
    assert_equal_on(mask[:, 4:], output.logits, model(ids, attention_mask=mask).logits[:, 4:])


def test_no_cache_is_kept_where_none_is_wanted(model, ids):
    assert model(ids, use_cache=False).past_key_values is None
    assert model(ids, labels=ids).past_key_values is None
    encoder = bertie.BertConfig(**{**SIZES, "is_decoder": False, "add_cross_attention": False})
    assert bertie.BertModel(encoder)(ids, use_cache=True).past_key_values is None


def test_a_cache_of_another_batch_is_refused(model, ids):
    cache = model(ids).past_key_values
    with pytest.raises(bertie.InputError, match="holds a batch of 2 texts, but this call brings 1"):
        model(ids[:1, :1], past_key_values=cache)


def test_a_cache_beyond_the_last_position_is_refused(model, ids):
    cache = model(torch.cat([ids, ids[:, :4]], dim=1)).past_key_values
    with pytest.raises(bertie.InputError, match=r"past_key_values holds 12 .*max_position_embeddings = 12"):
        model(ids[:, :1], past_key_values=cache)


def test_the_mask_beside_a_cache_covers_it(model, ids):
    cache = model(ids[:, :5]).past_key_values
    with pytest.raises(bertie.InputError, match=r"\(2, 6\) \(5 of them in past_key_values\)"):
        model(ids[:, 5:6], attention_mask=MASKS["none"][:, :1], past_key_values=cache)


def test_reordering_moves_whole_texts(model, ids, encoder):
    order = torch.tensor([1, 1])
    swapped = {name: value[order] for name, value in encoder.items()}
    cache = model(ids[:, :5], **encoder).past_key_values
    cache.reorder_cache(order)
    logits = model(ids[order, 5:6], past_key_values=cache, **swapped).logits
    torch.testing.assert_close(logits, model(ids[order, :6], **swapped).logits[:, 5:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("order", [[0, 2], [-1, 0]])
def test_reordering_is_checked(model, ids, order):
    cache = model(ids).past_key_values
    with pytest.raises(bertie.InputError, match="outside the cache's batch of 2"):
        cache.reorder_cache(torch.tensor(order))


@pytest.mark.parametrize("keep", [1, 3, torch.tensor([0, 4, 7])], ids=["1", "3", "columns"])
@pytest.mark.parametrize("padding", MASKS)
def test_logits_to_keep(model, reference, ids, padding, keep):
    mask = MASKS[padding]
    kept = mask[:, -keep:] if isinstance(keep, int) else mask[:, keep]
    ours = model(ids, attention_mask=mask, logits_to_keep=keep).logits
    assert_equal_on(kept, ours, reference(ids, attention_mask=mask, logits_to_keep=keep, use_cache=False).logits)
    assert not ours[~kept.bool()].any()


def test_gradients_through_cross_attention(model, reference, ids, encoder):
    gradients = []
    for each in (model, reference):
        states = encoder["encoder_hidden_states"].clone().requires_grad_()
        mask = {"attention_mask": MASKS["left"], "encoder_attention_mask": ENCODER_MASK}
        logits = each(ids, encoder_hidden_states=states, use_cache=False, **mask).logits
        logits[MASKS["left"].bool()].square().mean().backward()
        gradients.append((states.grad, each.bert.encoder.layer[0].crossattention.self.key.weight.grad.clone()))
        each.zero_grad()
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=0)
