"""Decoding with a cache equals decoding without one, for any class of cache (decision 18)."""

import functools

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import bertie
from bertie.attention import dispatch
from bertie.attention.cache_layer import BLOCK
from bertie.attention.native import Native
from bertie.kernels import library

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
    """A cache with more columns than are filled."""
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
    """Read the prompt, then one column a step; return the logits of all columns, and the returned cache."""
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


def test_use_cache_false(model, ids):
    assert model(ids, use_cache=False).past_key_values is None
    assert model(ids, labels=ids).past_key_values is None
    encoder = bertie.BertConfig(**{**SIZES, "is_decoder": False, "add_cross_attention": False})
    assert bertie.BertModel(encoder)(ids, use_cache=True).past_key_values is None


def test_a_cache_of_another_batch_is_refused(model, ids):
    cache = model(ids).past_key_values
    with pytest.raises(bertie.InputError, match="holds a batch of 2 texts, but this call has 1"):
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


def cut_lists(ids, lengths):
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def next_step(tokens, cache):
    """One more token for each text of a packed cache; an empty list for a finished text."""
    positions = [list(range(start, start + len(new))) for new, start in zip(tokens, cache.lengths, strict=True)]
    return bertie.Packed.from_lists(tokens, position_ids=positions)


def packed_encoder(encoder, texts=slice(None)):
    return bertie.Packed.from_padded(
        inputs_embeds=encoder["encoder_hidden_states"][texts], attention_mask=encoder["encoder_attention_mask"][texts]
    )


@given(
    prompts=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    steps=st.lists(st.integers(0, 2), max_size=3),
    seed=st.integers(0, 9),
    cross=st.booleans(),
    kernels=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_packed_prompts_of_unequal_lengths_continue_without_padding(prompts, steps, seed, cross, kernels):
    """Logits of single steps equal those of whole texts, and the reference's for each text alone."""
    model, reference = pair()
    draw = torch.Generator().manual_seed(seed)
    texts = [torch.randint(1, 50, (length + sum(steps),), generator=draw).tolist() for length in prompts]
    states = torch.randn(len(texts), 4, 16, generator=draw)
    encoder = {"encoder_hidden_states": states, "encoder_attention_mask": ENCODER_MASK[[0, 1, 0, 1][: len(texts)]]}
    more = {"encoder_hidden_states": packed_encoder(encoder)} if cross else {}
    logits: list[list[torch.Tensor]] = [[] for _ in texts]
    cache, done = None, [0] * len(texts)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        if not kernels:
            patch.setattr(dispatch, "_choose_cached", lambda request, _name: dispatch.choose(request, "dense"))
        for new in (prompts, *([more_tokens] * len(texts) for more_tokens in steps)):
            tokens = [text[start : start + count] for text, start, count in zip(texts, done, new, strict=True)]
            batch = bertie.Packed.from_lists(tokens) if cache is None else next_step(tokens, cache)
            output = model(batch, past_key_values=cache, use_cache=True, **more)
            cache = output.past_key_values
            for text, part in enumerate(output.logits.split(list(batch.lengths))):
                logits[text].append(part)
            done = [start + count for start, count in zip(done, new, strict=True)]
        for number, text in enumerate(texts):
            alone = {name: value[number : number + 1] for name, value in encoder.items()} if cross else {}
            expected = reference(torch.tensor([text]), use_cache=False, **alone).logits[0]
            torch.testing.assert_close(torch.cat(logits[number]), expected, atol=1e-5, rtol=0)
    assert cache.lengths == tuple(map(len, texts))


@pytest.mark.skipif(bool(library.why_no_kernels()), reason=library.why_no_kernels())
def test_a_packed_step_computes_no_padding(model, ids, encoder, monkeypatch):
    """Attention reads the cache in place, by the variable-length kernel."""
    chosen = []
    attend = Native.attend

    def counted(self, inputs):
        chosen.append(inputs.k.shape[0])
        return attend(self, inputs)

    with torch.no_grad():
        more = {"encoder_hidden_states": packed_encoder(encoder)}
        prompt = bertie.Packed.from_lists(cut_lists(ids, (5, 2)))
        cache = model(prompt, use_cache=True, **more).past_key_values
        monkeypatch.setattr(Native, "attend", counted)
        output = model(next_step([[7], [8]], cache), past_key_values=cache, **more)
    assert output.logits.shape == (2, 50)
    # two layers of self- and cross-attention, each over storage for two texts
    assert chosen == [2 * BLOCK] * 4


def test_finished_texts_are_not_computed(model, ids):
    with torch.no_grad():
        cache = model(bertie.Packed.from_lists(cut_lists(ids, (5, 2))), use_cache=True).past_key_values
        output = model(next_step([[], [8]], cache), past_key_values=cache)
        expected = model(torch.tensor([[*ids[1, :2].tolist(), 8]])).logits[0, -1:]
    torch.testing.assert_close(output.logits, expected, atol=1e-5, rtol=0)
    assert cache.lengths == (5, 3)


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("with_beams", [True, False])
def test_no_allocation_between_two_growths(is_packed, with_beams):
    config = bertie.BertConfig(**{**SIZES, "max_position_embeddings": 200, "add_cross_attention": False})
    model, cache = bertie.BertLMHeadModel(config).eval(), bertie.Cache()
    order, storages, lengths = torch.tensor([1, 0]), set(), []
    with torch.inference_mode():
        batch = bertie.Packed.from_lists([[5, 6, 7], [8]]) if is_packed else torch.tensor([[5, 6, 7], [8, 9, 10]])
        model(batch, past_key_values=cache, use_cache=True)
        for _ in range(130):
            token = next_step([[5], [6]], cache) if is_packed else torch.tensor([[5], [6]])
            model(token, past_key_values=cache)
            if with_beams:
                cache.reorder_cache(order)
            storages.add(cache.layers[0].keys.untyped_storage().data_ptr())
            lengths.append(cache.layers[0].keys.untyped_storage().nbytes() // (2 * 16 * 4))
    assert lengths == [BLOCK] * 61 + [2 * BLOCK] * 64 + [4 * BLOCK] * 5
    assert len(storages) <= 3 * (1 + with_beams)


def test_beams_of_packed_texts(model, ids):
    """At each step, every beam continues another one, and one beam is duplicated."""
    with torch.no_grad():
        texts = cut_lists(ids, (5, 2))
        cache = model(bertie.Packed.from_lists(texts), use_cache=True).past_key_values
        cache.batch_repeat_interleave(2)
        beams = [texts[0], texts[0], texts[1], texts[1]]
        for order, tokens in (
            ([1, 0, 3, 2], [4, 5, 6, 7]),
            ([0, 0, 3, 3], [8, 9, 10, 11]),
            ([1, 0, 2, 2], [1, 2, 3, 4]),
        ):
            cache.reorder_cache(torch.tensor(order))
            beams = [[*beams[beam], token] for beam, token in zip(order, tokens, strict=True)]
            logits = model(next_step([[token] for token in tokens], cache), past_key_values=cache).logits
            for beam, text in enumerate(beams):
                expected = model(torch.tensor([text])).logits[0, -1]
                torch.testing.assert_close(logits[beam], expected, atol=1e-5, rtol=0)
    assert cache.lengths == (8, 8, 5, 5)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_reference_generates_with_our_cache(reference, ids, num_beams):
    """The reference's ``generate`` calls the methods of its own caches; left-padded prompts, beams reordered."""
    given = {"input_ids": ids[:, :5] * MASKS["left"][:, :5], "attention_mask": MASKS["left"][:, :5]}
    asked = {"max_new_tokens": 6, "num_beams": num_beams, "do_sample": False, "pad_token_id": 0, "eos_token_id": 49}
    cache = bertie.Cache()
    expected = reference.generate(**given, **asked)
    assert torch.equal(reference.generate(**given, **asked, past_key_values=cache), expected)
    assert cache.get_seq_length() == expected.shape[1] - 1


def test_the_reference_continues_with_our_cache(model, reference, ids):
    with torch.no_grad():
        cache = model(ids[:, :5]).past_key_values
        found = reference(ids[:, 5:7], past_key_values=cache).logits
        torch.testing.assert_close(found, reference(ids[:, :7]).logits[:, 5:], atol=1e-5, rtol=0)


def test_crop(model, ids):
    with torch.no_grad():
        cache = model(ids[:, :6]).past_key_values
        cache.crop(-2)
        assert cache.get_seq_length() == 4
        logits = model(ids[:, 4:6], past_key_values=cache).logits
        torch.testing.assert_close(logits, model(ids[:, :6]).logits[:, 4:], atol=1e-5, rtol=0)
    with pytest.raises(bertie.InputError, match="tokens_to_remove is 2; it must be 0 or less"):
        cache.crop(2)
    cache.reset()
    assert (len(cache), cache.get_seq_length(), cache.lengths) == (0, 0, ())


def test_a_cache_made_in_inference_mode_can_be_extended_outside(model, ids):
    with torch.inference_mode():
        cache = model(ids[:, :5]).past_key_values
    with torch.no_grad():
        logits = model(ids[:, 5:6], past_key_values=cache).logits
        cache.reorder_cache(torch.tensor([1, 0]))
        torch.testing.assert_close(logits, model(ids[:, :6]).logits[:, 5:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_packed", [True, False])
def test_gradients_through_a_cache(model, reference, ids, is_packed):
    """A learned prefix is read in several steps, none of which overwrites what the gradient needs."""
    start = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(3))
    gradients = []
    for each in (model, reference):
        prefix = start.clone().requires_grad_()
        if is_packed and each is model:
            cache = each(bertie.Packed.from_padded(inputs_embeds=prefix), use_cache=True).past_key_values
            for column in (3, 4):
                step = next_step(ids[:, column : column + 1].tolist(), cache)
                logits = each(step, past_key_values=cache).logits
        else:
            cache = each(inputs_embeds=prefix, use_cache=True).past_key_values
            for column in (3, 4):
                logits = each(ids[:, column : column + 1], past_key_values=cache).logits
        logits.square().mean().backward()
        gradients.append(prefix.grad)
        each.zero_grad()
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=0)


class TestRefusedCaches:
    def test_rows_after_packed_texts(self, model, ids):
        cache = model(bertie.Packed.from_lists(cut_lists(ids, (5, 2))), use_cache=True).past_key_values
        with pytest.raises(bertie.InputError, match="holds texts of unequal lengths, from a Packed"):
            model(ids[:, :1], past_key_values=cache)

    @pytest.mark.parametrize("padding", ["left", "right"])
    def test_packed_texts_after_padded_rows(self, model, ids, padding):
        cache = model(ids[:, :5], attention_mask=MASKS[padding][:, :5]).past_key_values
        step = bertie.Packed.from_lists([[5], [6]], position_ids=[[5], [5]])
        with pytest.raises(bertie.InputError, match="was filled with padded rows; continue with rows"):
            model(step, past_key_values=cache)

    def test_a_packed_batch_of_another_size(self, model, ids):
        cache = model(bertie.Packed.from_lists(cut_lists(ids, (5, 2))), use_cache=True).past_key_values
        with pytest.raises(bertie.InputError, match="holds a batch of 2 texts, but this call has 1"):
            model(bertie.Packed.from_lists([[5]]), past_key_values=cache)

    def test_another_form_of_the_encoder(self, model, ids, encoder):
        packed = {"encoder_hidden_states": packed_encoder(encoder)}
        cache = model(bertie.Packed.from_lists(cut_lists(ids, (5, 5))), use_cache=True, **packed).past_key_values
        with pytest.raises(bertie.InputError, match="holds the keys of an encoder's Packed"):
            model(ids[:, :1], past_key_values=cache, **encoder)

    def test_packed_texts_with_hooks(self, model, ids):
        texts = bertie.Packed.from_lists(cut_lists(ids, (5, 2)))
        cache = model(texts, use_cache=True).past_key_values
        hook = model.bert.encoder.layer[0].register_forward_hook(lambda *_: None)
        try:
            for held in (cache, model(texts, use_cache=True).past_key_values):
                step = bertie.Packed.from_lists([[5], [6]], position_ids=[[5], [2]])
                with pytest.raises(bertie.InputError, match="cannot be continued in a cache while a hook"):
                    model(step, past_key_values=held)
        finally:
            hook.remove()

    def test_packed_texts_of_unequal_lengths_in_another_cache(self, model, ids):
        texts = bertie.Packed.from_lists(cut_lists(ids, (5, 2)))
        with pytest.raises(bertie.InputError, match="DynamicCache holds rows of equal length; .* need a bertie.Cache"):
            model(texts, past_key_values=transformers.DynamicCache())

    def test_distances_between_texts_of_unequal_lengths(self, ids):
        model = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES, position_embedding_type="relative_key"))
        with pytest.raises(bertie.InputError, match="Relative positions are counted in columns"):
            model(bertie.Packed.from_lists(cut_lists(ids, (5, 2))), use_cache=True)


def test_the_packed_encoder_is_projected_once(model, ids, encoder):
    more, calls = {"encoder_hidden_states": packed_encoder(encoder)}, []
    cross = model.bert.encoder.layer[0].crossattention.self
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        keys_and_values = type(cross).keys_and_values
        patch.setattr(type(cross), "keys_and_values", lambda *args: (calls.append(args[0]), keys_and_values(*args))[1])
        cache = model(bertie.Packed.from_lists(cut_lists(ids, (5, 2))), use_cache=True, **more).past_key_values
        for _ in range(3):
            model(next_step([[7], [8]], cache), past_key_values=cache, **more)
    assert calls.count(cross) == 1


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
