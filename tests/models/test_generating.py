"""The model's side of ``generate``: prompts and caches of every kind, outputs besides ids, and bad input."""

import copy

import pytest
import torch
import transformers
from tests.generation.test_generate import BEAMS, CACHES, ENDS, IDS, SIZES, pair, prompts

import bertie
from bertie.layers.rectangle import Given
from bertie.models import generating
from bertie.models.decoding import PackedDecoder, PaddedDecoder
from bertie.models.generating import decoder_of, prompt_rows


@pytest.fixture
def model() -> bertie.BertLMHeadModel:
    return pair()[0]


@pytest.fixture
def reference() -> transformers.BertLMHeadModel:
    return pair()[1]


@pytest.fixture
def made(monkeypatch) -> list[object]:
    """The decoders that were created."""
    decoders = []
    make = generating.decoder_of

    def noted(*args, **kwargs):
        decoders.append(make(*args, **kwargs))
        return decoders[-1]

    monkeypatch.setattr(generating, "decoder_of", noted)
    return decoders


def new_tokens(ids: torch.Tensor, width: int = IDS.shape[1]) -> list[list[int]]:
    return ids[:, width:].tolist()


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("beams", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2}])
@pytest.mark.parametrize("rows", [1, 3])
def test_output_members(model, reference, rows, beams, drawn):
    asked = {f"output_{name}": True for name in ("scores", "logits", "attentions", "hidden_states")}
    asked |= {"return_dict_in_generate": True, "max_new_tokens": 5, "repetition_penalty": 1.2, "bos_token_id": 1}
    reference.set_attn_implementation("eager")
    found = []
    for each in (model, reference):
        torch.manual_seed(5)
        found.append(each.generate(**prompts(rows), **asked, **beams, do_sample=drawn))
    ours, theirs = found
    reference.set_attn_implementation("sdpa")
    assert type(ours).__name__ == type(theirs).__name__
    assert list(ours) == list(theirs)
    for name in ("sequences", "beam_indices"):
        assert name not in theirs or torch.equal(ours[name], theirs[name].long())
    for name in ("scores", "logits", "sequences_scores"):
        if name in theirs:
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=0)
    for name in ("attentions", "hidden_states"):
        for step, expected in zip(ours[name], theirs[name], strict=True):
            for layer, other in zip(step, expected, strict=True):
                real = prompts(rows)["attention_mask"].bool().repeat_interleave(len(other) // rows, dim=0)
                if layer.shape[-2] > 1:  # padded queries are zeros here
                    other = other * (real[:, None, :, None] if other.dim() == 4 else real[..., None])
                torch.testing.assert_close(layer, other, atol=1e-4, rtol=0)


def test_scores_without_attentions_come_from_packed_steps(model, made):
    asked = {"return_dict_in_generate": True, "output_scores": True, "max_new_tokens": 3}
    found = model.generate(**prompts(3), **asked)
    assert isinstance(made[0], PackedDecoder)
    expected = model.generate(**prompts(3), **asked, use_cache=False)
    assert isinstance(made[1], PaddedDecoder)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=0)
    assert found.past_key_values.lengths == (8, 5, 7)


@pytest.mark.parametrize("options", [{}, *BEAMS.values()], ids=lambda options: str(options))
def test_right_padded_and_packed_prompts_give_the_same_texts(model, options):
    texts = [row[row != 0].tolist() for row in IDS]
    right = torch.tensor([text + [0] * (6 - len(text)) for text in texts])
    given = {"max_new_tokens": 7, "pad_token_id": 0, **options}
    expected = model.generate(**prompts(3), **given)
    found = model.generate(right, attention_mask=(right != 0).long(), **given)
    assert new_tokens(found) == new_tokens(expected)
    assert torch.equal(model.generate(bertie.Packed.from_lists(texts), **given), expected)
    assert torch.equal(model.generate(IDS, **given), expected)  # without a mask, from pad_token_id


@pytest.mark.parametrize("cache", ["ours", "theirs", "theirs, static"])
def test_a_cache_goes_in_and_out(model, reference, cache, made):
    """A text in two calls, the second with whole texts or only their new tokens, equals the text of one call."""
    expected = reference.generate(**prompts(3), max_new_tokens=9, bos_token_id=1)
    given = CACHES[cache]().get("past_key_values", bertie.Cache())
    begun = model.generate(**prompts(3), max_new_tokens=4, past_key_values=given, return_dict_in_generate=True)
    assert begun.past_key_values is given
    mask = torch.nn.functional.pad(prompts(3)["attention_mask"], (0, 4), value=1)
    for ids in (begun.sequences, begun.sequences[:, -1:]):
        found = model.generate(
            ids, attention_mask=mask, max_new_tokens=5, past_key_values=copy.deepcopy(begun.past_key_values)
        )
        assert new_tokens(found, ids.shape[1]) == new_tokens(expected, 10)
    assert isinstance(made[0], PackedDecoder if cache == "ours" else PaddedDecoder)


def test_the_reference_continues_with_our_cache(model, reference):
    begun = model.generate(IDS[:1], max_new_tokens=4, return_dict_in_generate=True)
    found = reference.generate(begun.sequences, past_key_values=begun.past_key_values, max_new_tokens=5, bos_token_id=1)
    assert torch.equal(found, reference.generate(IDS[:1], max_new_tokens=9, bos_token_id=1))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_prompts_of_vectors(model, reference, options):
    found = []
    for each in (model, reference):
        embeds = each.get_input_embeddings()(IDS)
        mask = prompts(3)["attention_mask"]
        more = {"max_new_tokens": 6, "bos_token_id": 1, **options}
        found.append(each.generate(inputs_embeds=embeds, attention_mask=mask, **more).tolist())
        found.append(each.generate(IDS, inputs_embeds=embeds, attention_mask=mask, **more).tolist())
    assert found[:2] == found[2:]
    assert len(found[0][0]) == 6


@pytest.mark.parametrize("cache", [{}, {"use_cache": False}])
def test_types_and_positions_continue_from_the_last_token(model, reference, cache):
    given = {"token_type_ids": torch.tensor([[0, 0, 0, 0, 1, 1]] * 3), "position_ids": torch.arange(3, 9).repeat(3, 1)}
    ours, theirs = (
        each.generate(**prompts(3), **given, **cache, max_new_tokens=6, bos_token_id=1) for each in (model, reference)
    )
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, model.generate(**prompts(3), max_new_tokens=6))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"use_cache": False}])
@pytest.mark.parametrize("packed", [False, True])
def test_cross_attention(options, packed, made):
    ours, theirs = pair(add_cross_attention=True)
    states = torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    encoder = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    given = {"max_new_tokens": 6, "bos_token_id": 1, **ENDS, **options}
    if packed:
        packed_states = bertie.Packed.from_padded(inputs_embeds=states, attention_mask=mask)
        found = ours.generate(**prompts(3), encoder_hidden_states=packed_states, **given)
    else:
        found = ours.generate(**prompts(3), **encoder, **given)
    # the reference's own cross-attention cache is faulty (decision 18)
    assert torch.equal(found, theirs.generate(**prompts(3), **encoder, **given | {"use_cache": False}))


def test_an_observer_sees_rows(model, made):
    expected = model.generate(**prompts(3), max_new_tokens=4)
    seen = []
    handle = model.bert.encoder.layer[0].register_forward_hook(lambda _m, _i, output: seen.append(output.shape))
    assert torch.equal(model.generate(**prompts(3), max_new_tokens=4), expected)
    handle.remove()
    assert seen[:2] == [(3, 6, 16), (3, 1, 16)]
    assert list(map(type, made)) == [PackedDecoder, PaddedDecoder]


def test_relative_positions():
    torch.manual_seed(0)
    model = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES, position_embedding_type="relative_key")).eval()
    found = model.generate(**prompts(3), max_new_tokens=5)
    for text, row in zip(IDS, found, strict=True):
        assert model.generate(text[text != 0][None], max_new_tokens=5)[0, -5:].tolist() == row[-5:].tolist()


def test_finished_texts_are_not_computed(model, monkeypatch):
    counts = []
    forward = type(model).forward

    def counted(self, input_ids=None, *args, **kwargs):
        counts.append(input_ids.num_tokens)
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", counted)
    found = model.generate(**prompts(3), max_new_tokens=12, **ENDS)
    lengths = [int((row != 0).sum()) for row in found[:, 6:]]
    assert len(set(lengths)) > 1
    assert counts == [14, *(sum(length > step for length in lengths) for step in range(1, max(lengths)))]


def test_steps_allocate_nothing_that_grows(model, monkeypatch):
    """Ids, masks, positions and caches are allocated before the first step of a length."""
    storages = []
    forward = type(model).forward

    def noted(self, *args, past_key_values=None, **kwargs):
        output = forward(self, *args, past_key_values=past_key_values, **kwargs)
        storages.append(past_key_values.layers[0].keys.untyped_storage().data_ptr())
        return output

    monkeypatch.setattr(type(model), "forward", noted)
    model.generate(**prompts(2), max_new_tokens=30)
    assert len(storages) == 30
    assert len(set(storages)) == 1


@pytest.mark.parametrize("beams", [1, 3])
def test_a_step_allocates_as_much_after_many_tokens_as_after_few(model, beams):
    """Reordered beams too: their cache is copied to a second buffer, which is allocated already."""
    ids, config = IDS[1:2, 3:].repeat(2, 12), bertie.GenerationConfig().settled(model.generation_config)
    decoder = decoder_of(model, prompt_rows(config, Given(ids[:, :3]), ids.device, False), config, None, None)
    allocated, others = [], torch.arange(2 * beams).flip(0)
    with torch.no_grad():
        decoder.step(ids[:, :3])
        decoder.repeat(beams)
        ids = ids.repeat_interleave(beams, dim=0)
        for width in range(4, 36):
            with torch.profiler.profile(profile_memory=True) as profile:
                if beams > 1:
                    decoder.reorder(others)
                decoder.step(ids[:, :width])
            allocated.append(sum(max(event.cpu_memory_usage, 0) for event in profile.events()))
    assert len(set(allocated[2:])) == 1


BAD = {
    "another batch in the cache": (lambda m: {"past_key_values": filled(m, 2)}, "2 texts, but this call has 3"),
    "a cache that holds all": (lambda m: {"past_key_values": filled(m, 3)}, "no token that past_key_values does not"),
    "a cache beyond the positions": (
        lambda m: {"past_key_values": filled(m, 3), "attention_mask": torch.ones(3, 45)},
        "beyond the model's positions: at most 0 new tokens",
    ),
    "beyond the positions": (lambda _: {"max_new_tokens": 35}, "beyond the model's positions: at most 34 new tokens"),
    "no room": (lambda _: {"max_length": 6, "max_new_tokens": None}, "max_length=6 leaves no room after prompts of 6"),
    "too many returned": (lambda _: {"num_beams": 2, "num_return_sequences": 3}, "is 3, but num_beams is 2"),
    "several, greedily": (lambda _: {"num_return_sequences": 3}, "greedy decoding finds one"),
    "a wrong range": (lambda _: {"temperature": 0.0, "do_sample": True}, "is 0.0; allowed: a number above 0"),
    "a typo": (lambda _: {"max_new_token": 3}, r"no argument 'max_new_token'. Did you mean 'max_new_tokens'\?"),
    "not offered": (
        lambda _: {"guidance_scale": 1.5},
        "guidance_scale is 1.5, which bertie's generate does not support",
    ),
    "not offered either": (lambda _: {"custom_generate": "a/b"}, "takes no argument 'custom_generate'"),
    "a mask of another width": (lambda _: {"attention_mask": torch.ones(3, 5)}, r"attention_mask has shape \(3, 5\)"),
    "a mask of others": (lambda _: {"attention_mask": torch.full((3, 6), 2)}, "only 0 and 1"),
    "types of another width": (lambda _: {"token_type_ids": IDS.repeat(1, 2)}, r"token_type_ids has shape \(3, 12\)"),
    "an answer that is no bool": (lambda _: {"stopping_criteria": [lambda *_: 3]}, "criterion <lambda> returned"),
    "no criterion": (lambda _: {"stopping_criteria": [3]}, "stopping_criteria holds a int"),
    "a streamer with beams": (
        lambda _: {"streamer": bertie.TextStreamer(None), "num_beams": 2},
        "which beams do not settle",
    ),
    "nothing allowed": (
        lambda _: {"prefix_allowed_tokens_fn": lambda *_: []},
        "allows no token after 6 tokens",
    ),
    "allowed beyond the words": (
        lambda _: {"prefix_allowed_tokens_fn": lambda *_: [3, 40]},
        r"prefix_allowed_tokens_fn returned \[3, 40\] for text 0; it must return token ids from 0 to 39",
    ),
    "allowed is no list": (lambda _: {"prefix_allowed_tokens_fn": lambda *_: None}, "returned None for text 0"),
    "allowed before the words": (lambda _: {"prefix_allowed_tokens_fn": lambda *_: [-1]}, r"returned \[-1\] for"),
    "an end beyond the words": (lambda _: {"eos_token_id": [3, 40]}, "names the token 40, but the model's vocabulary"),
    "padding beyond the words": (lambda _: {"pad_token_id": 40, "eos_token_id": 3}, "names the token 40, but"),
    "no streamer": (lambda _: {"streamer": 5}, "streamer is a int; it must have the methods put and end"),
    "a class of streamers": (lambda _: {"streamer": bertie.TextStreamer}, "is the class TextStreamer; give an object"),
    "no generator": (lambda _: {"generator": 5}, "generator is a int; it must be a torch.Generator"),
    "a class of processors": (lambda _: {"logits_processor": [dict]}, "holds the class dict; give an object of it"),
    "no scores": (
        lambda _: {"logits_processor": [lambda *_: None]},
        r"processor <lambda> returned a NoneType; it must return scores .*: torch.float32 of shape \(3, 40\)",
    ),
    "scores of others": (
        lambda _: {"logits_processor": [lambda _, s: s[:, :5]]},
        r"returned torch.float32 of shape \(3, 5",
    ),
    "no answer": (lambda _: {"stopping_criteria": [lambda *_: None]}, "criterion <lambda> returned a NoneType"),
    "no cache": (lambda _: {"past_key_values": ((IDS,),)}, "must be a bertie.Cache or one like it, not tuple"),
    "no mask": (lambda _: {"attention_mask": 5}, "attention_mask must be a torch.Tensor, not int"),
    "vectors of another width": (
        lambda _: {"inputs_embeds": torch.zeros(3, 6, 7), "attention_mask": torch.ones(3, 6)},
        r"must have shape \[batch, length, 16\]",
    ),
    "too many beams for memory": (lambda _: {"num_beams": 10**9}, "num_beams=1000000000 for 3 prompts needs about"),
    "no token left": (lambda _: {"suppress_tokens": list(range(40))}, "No token is left to choose for text 0"),
    "forced and forbidden": (lambda _: {"forced_eos_token_id": 3, "suppress_tokens": [3]}, "suppress_tokens forbids"),
}


def filled(model, rows):
    return model(IDS[:rows], attention_mask=None, use_cache=True, past_key_values=bertie.Cache()).past_key_values


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(model, case):
    options, message = BAD[case]
    with torch.no_grad(), pytest.raises(bertie.BertieError, match=message) as caught:
        model.generate(IDS, **{"max_new_tokens": 3, "attention_mask": torch.ones(3, 6)} | options(model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (torch.zeros(2, 0).long(), None, "Prompt 0 has no tokens"),
        (IDS, torch.tensor([[1] * 6, [0] * 6, [1] * 6]), "Prompt 1 has no tokens"),
        (IDS[0], None, "must have 2 dimensions"),
        (IDS.float(), None, "inputs must be an integer tensor"),
        ([[3, 4]], None, "inputs must be a torch.Tensor or a Packed, not list"),
        (None, None, "There are no prompts"),
    ],
)
def test_bad_prompts(model, ids, mask, message):
    with pytest.raises(bertie.BertieError, match=message):
        model.generate(ids, attention_mask=mask, max_new_tokens=3)


def test_an_encoder_does_not_generate():
    model = bertie.BertLMHeadModel(bertie.BertConfig(**SIZES | {"is_decoder": False}))
    with pytest.raises(bertie.InputError, match="config.is_decoder is False"):
        model.generate(IDS)


@pytest.mark.parametrize("options", [{}, {"do_sample": True}, {"num_beams": 2}])
def test_nan_is_named_and_can_be_replaced_by_0(model, options):
    broken = copy.deepcopy(model)
    broken.cls.predictions.bias.data[3] = torch.nan
    with pytest.raises(bertie.BertieError, match="scores for text 0 hold 1 NaN|scores for text 0 hold 40 NaNs"):
        broken.generate(**prompts(2), max_new_tokens=3, **options)
    if not options:
        assert broken.generate(**prompts(2), max_new_tokens=3, remove_invalid_values=True).shape == (2, 9)


def test_a_criterion_that_is_never_met_is_reported(model, caplog):
    found = model.generate(
        IDS[:1], max_new_tokens=4, stopping_criteria=[lambda ids, _: torch.zeros(1, dtype=torch.bool)]
    )
    assert found.shape == (1, 10)
    assert "no stopping criterion was met within max_length=10" in caplog.text


def test_an_option_of_none_is_the_default(model):
    names = (
        "num_beams",
        "num_return_sequences",
        "repetition_penalty",
        "length_penalty",
        "typical_p",
        "num_beam_groups",
    )
    nothing = dict.fromkeys(names)
    assert torch.equal(model.generate(IDS[:1], **nothing, max_new_tokens=3), model.generate(IDS[:1], max_new_tokens=3))


def test_no_length_gives_20_tokens_with_a_warning(model, caplog):
    assert model.generate(IDS[:1]).shape == (1, 26)
    assert "at most 20 tokens are generated" in caplog.text


def test_the_generation_config_is_saved_and_loaded(model, tmp_path):
    own = copy.deepcopy(model)
    own.generation_config.update(max_new_tokens=3, num_beams=2)
    own.save_pretrained(tmp_path)
    assert transformers.GenerationConfig.from_pretrained(tmp_path).num_beams == 2
    again = bertie.BertLMHeadModel.from_pretrained(tmp_path)
    assert again.generation_config.max_new_tokens == 3
    reference = transformers.BertLMHeadModel.from_pretrained(tmp_path)
    assert torch.equal(again.generate(**prompts(2)), reference.generate(**prompts(2), bos_token_id=1))
