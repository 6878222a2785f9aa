"""Bad inputs of a model call: one clear sentence, or a defined result."""

import pytest
import torch

import bertie
from bertie import BertConfig, InputError, InputTypeError, Packed

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
CLASSES = [name for name in bertie.__all__ if name.startswith("BertFor") and not name.endswith("Output")]
CLASSES += ["BertLMHeadModel"]


def make(name: str = "BertModel", **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return getattr(bertie, name)(BertConfig(**{**CONFIG, **changes})).eval()


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return make()


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(("value", "row", "column"), [(50, 1, 2), (-1, 0, 1), (10**9, 0, 0)])
def test_18_id_outside_the_vocabulary(model: torch.nn.Module, value: int, row: int, column: int) -> None:
    ids = IDS.clone()
    ids[row, column] = value
    with pytest.raises(InputError, match=rf"input_ids\[{row}, {column}\] is {value}, but vocab_size is 50"):
        model(ids)
    with pytest.raises(InputError, match=rf"input_ids\[{row}, {column}\] is {value}"):
        model(Packed.from_lists(ids.tolist()))


def test_18_the_error_names_the_padded_position(model: torch.nn.Module) -> None:
    ids = torch.tensor([[1, 2, 3], [9, 4, 77]])
    with pytest.raises(InputError, match=r"input_ids\[1, 2\] is 77"):
        model(ids, attention_mask=torch.tensor([[1, 1, 0], [0, 1, 1]]))


def test_18_masked_ids_are_not_checked(model: torch.nn.Module) -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    strange = torch.tensor([[1, 2, 3], [4, 5, 99]])
    plain = torch.tensor([[1, 2, 3], [4, 5, 0]])
    assert torch.equal(model(strange, mask).last_hidden_state, model(plain, mask).last_hidden_state)


def test_19_text_longer_than_the_positions(model: torch.nn.Module) -> None:
    ids = torch.ones(2, 13, dtype=torch.long)
    with pytest.raises(InputError, match=r"max_position_embeddings = 12; truncate the text"):
        model(ids)
    mask = torch.ones_like(ids)
    mask[:, 12] = 0
    assert model(ids, mask).last_hidden_state.shape == (2, 13, 16), "padding beyond the positions costs nothing"
    with pytest.raises(InputError, match="max_position_embeddings = 12"):
        model(IDS, position_ids=torch.tensor([[0, 1, 12]]))


def test_20_token_type_outside_the_table(model: torch.nn.Module) -> None:
    types = torch.tensor([[0, 1, 0], [0, 2, 0]])
    with pytest.raises(InputError, match=r"token_type_ids\[1, 1\] is 2, but type_vocab_size is 2: allowed are 0 to 1"):
        model(IDS, token_type_ids=types)


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_21_ids_that_are_not_integers(model: torch.nn.Module, name: str, dtype: torch.dtype) -> None:
    arguments = {"input_ids": IDS, name: IDS.to(dtype)}
    with pytest.raises(InputTypeError, match=f"{name} must be an integer tensor, not {dtype}"):
        model(**arguments)


def test_21_int32_ids_are_accepted(model: torch.nn.Module) -> None:
    got = model(IDS.int(), token_type_ids=torch.zeros_like(IDS).int())
    assert torch.equal(got.last_hidden_state, model(IDS).last_hidden_state)


def test_21_a_list_is_refused(model: torch.nn.Module) -> None:
    with pytest.raises(InputTypeError, match=r"input_ids must be a torch\.Tensor or a Packed, not list"):
        model([[1, 2]])
    with pytest.raises(InputError, match=r"input_ids must have 2 dimensions \[batch, length\], not shape \(3,\)"):
        model(torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
@pytest.mark.parametrize("name", ["BertModel", *CLASSES])
def test_22_empty_batches_give_empty_outputs(name: str, shape: tuple[int, int]) -> None:
    lead = (1, *shape) if name == "BertForMultipleChoice" else shape
    if name == "BertForMultipleChoice" and shape[0] == 0:
        lead = (0, 2, shape[1])
    ids = torch.zeros(lead, dtype=torch.long)
    for output in (make(name)(ids), make(name)(ids, attention_mask=torch.ones_like(ids))):
        for value in output.values():
            assert torch.isfinite(value).all()
            assert value.shape[0] in (lead[0], shape[0])


@pytest.mark.parametrize("name", ["BertModel", *CLASSES])
def test_23_a_fully_masked_text(name: str) -> None:
    ids, mask = IDS.clone(), torch.tensor([[1, 1, 1], [0, 0, 0]])
    if name == "BertForMultipleChoice":
        ids, mask = ids[None], mask[None]
    output = make(name)(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    for value in [output[0], *output.hidden_states, *output.attentions]:
        assert torch.isfinite(value).all()
    if name == "BertModel":
        assert not output.pooler_output[1].any()
        assert not output.last_hidden_state[1].any()
        alone = make(name)(IDS[:1]).pooler_output
        torch.testing.assert_close(output.pooler_output[:1], alone)
    assert Packed.from_padded(IDS, torch.tensor([[1, 1, 1], [0, 0, 0]])).lengths == (3, 0)


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (1, 3), (3, 3)])
def test_24_mask_of_another_shape_even_if_all_ones(model: torch.nn.Module, shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"attention_mask has shape .* but the batch has shape \(2, 3\)"):
        model(IDS, attention_mask=torch.ones(shape))


@pytest.mark.parametrize("value", [7, -3, float("nan"), 0.5])
def test_25_mask_of_other_values(model: torch.nn.Module, value: float) -> None:
    mask = torch.ones(2, 3)
    mask[1, 1] = value
    with pytest.raises(InputError, match="may hold only 0 and 1"):
        model(IDS, attention_mask=mask)


def test_25_masks_of_three_and_four_dimensions(model: torch.nn.Module) -> None:
    with pytest.raises(InputTypeError, match=r"A 4-D attention_mask must be bool .* not torch.int64"):
        model(IDS, attention_mask=torch.ones(2, 1, 3, 3, dtype=torch.long))
    with pytest.raises(InputError, match="does not fit 2 texts of 3 tokens"):
        model(IDS, attention_mask=torch.ones(2, 1, 4, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="must have 2, 3 or 4 dimensions, not 1"):
        model(IDS, attention_mask=torch.ones(3))


def test_26_both_or_neither_of_ids_and_embeddings(model: torch.nn.Module) -> None:
    for arguments in ({}, {"input_ids": IDS, "inputs_embeds": torch.zeros(2, 3, 16)}):
        with pytest.raises(InputError, match="exactly one of input_ids and inputs_embeds"):
            model(**arguments)
    with pytest.raises(InputError, match=r"inputs_embeds must have shape \[batch, length, 16\], not \(2, 3, 8\)"):
        model(inputs_embeds=torch.zeros(2, 3, 8))


def test_a_packed_excludes_other_inputs(model: torch.nn.Module) -> None:
    packed = Packed.from_lists(IDS.tolist())
    for name in ("attention_mask", "token_type_ids", "position_ids"):
        with pytest.raises(InputError, match="pass it alone"):
            model(packed, **{name: torch.ones_like(IDS)})


def test_28_cache_of_another_batch_and_beyond_the_limit() -> None:
    decoder = make("BertLMHeadModel", is_decoder=True)
    cache = decoder(IDS).past_key_values
    with pytest.raises(InputError, match="past_key_values holds a batch of 2 texts, but this call has 1"):
        decoder(IDS[:1], past_key_values=cache)
    cache = decoder(torch.ones(2, 12, dtype=torch.long)).past_key_values
    with pytest.raises(InputError, match="max_position_embeddings = 12"):
        decoder(IDS[:, :1], past_key_values=cache)
    with pytest.raises(InputError, match="has indices outside the cache's batch of 2"):
        cache.reorder_cache(torch.tensor([0, 2]))


LABELLED = {
    "BertForMaskedLM": (IDS, 50),
    "BertForTokenClassification": (torch.zeros(2, 3, dtype=torch.long), 2),
    "BertForSequenceClassification": (torch.zeros(2, dtype=torch.long), 2),
    "BertForNextSentencePrediction": (torch.zeros(2, dtype=torch.long), 2),
}


@pytest.mark.parametrize("name", LABELLED)
def test_29_labels_out_of_range(name: str) -> None:
    labels, classes = LABELLED[name]
    for wrong in (classes, -1):
        bad = labels.clone()
        bad.view(-1)[1] = wrong
        with pytest.raises(InputError, match=rf"labels\[.*1\] is {wrong}; allowed are 0 to {classes - 1}, and -100"):
            make(name)(IDS, labels=bad)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForTokenClassification", "BertForNextSentencePrediction"])
def test_29_labels_of_the_wrong_type_or_shape(name: str) -> None:
    labels, _ = LABELLED[name]
    with pytest.raises(InputTypeError, match="labels must be an integer tensor"):
        make(name)(IDS, labels=labels.float())
    with pytest.raises(InputError, match="labels has shape"):
        make(name)(IDS, labels=torch.zeros(5, dtype=torch.long))


@pytest.mark.parametrize("name", LABELLED)
def test_29_no_labels_give_zero_loss(name: str) -> None:
    labels, _ = LABELLED[name]
    model = make(name)
    loss = model(IDS, labels=torch.full_like(labels, -100)).loss
    assert loss == 0
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is None or not parameter.grad.any()


def test_29_answer_positions_outside_the_text() -> None:
    model = make("BertForQuestionAnswering")
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    outside = torch.tensor([3, 2])  # beyond the row, and on a masked token
    output = model(IDS, mask, start_positions=outside, end_positions=torch.tensor([-5, 99]))
    assert output.loss == 0
    output.loss.backward()
    inside = model(IDS, mask, start_positions=torch.tensor([1, 2]), end_positions=torch.tensor([1, 2])).loss
    alone = model(IDS[:1], start_positions=torch.tensor([1]), end_positions=torch.tensor([1])).loss
    torch.testing.assert_close(inside, alone)
    assert output.start_logits[1].argmax() != 2
    assert output.start_logits[1, 2] == torch.finfo(torch.float32).min


def test_29_multi_label_and_regression_labels_of_another_shape() -> None:
    model = make("BertForSequenceClassification", num_labels=3)
    with pytest.raises(InputError, match="labels has shape"):
        model(IDS, labels=torch.zeros(2, 2))
    with pytest.raises(InputError, match="labels has shape"):
        make("BertForSequenceClassification", num_labels=1)(IDS, labels=torch.zeros(3))


def test_an_unknown_argument_is_a_type_error(model: torch.nn.Module) -> None:
    with pytest.raises(
        InputTypeError, match="BertModel takes no argument 'atention_mask'. Did you mean 'attention_mask'"
    ):
        model(IDS, atention_mask=torch.ones_like(IDS))
    with pytest.raises(InputTypeError, match=r"'cu_seq_lens_q'.*pass a bertie.Packed"):
        model(IDS, cu_seq_lens_q=torch.tensor([0, 3]))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("BertModel", {"attention_mask": [[1, 1, 1]] * 2}, "attention_mask must be a torch.Tensor, not list"),
        (
            "BertModel",
            {"past_key_values": ((1, 2),)},
            "past_key_values must be a bertie.Cache or one like it, not tuple",
        ),
        ("BertForSequenceClassification", {"labels": [0, 1]}, "labels must be a torch.Tensor, not list"),
        ("BertForTokenClassification", {"labels": [[0, 1, 1]] * 2}, "labels must be a torch.Tensor, not list"),
        ("BertForNextSentencePrediction", {"labels": [0, 1]}, "labels must be a torch.Tensor, not list"),
        ("BertForMultipleChoice", {"input_ids": [[[1]]]}, "input_ids must be a torch.Tensor, not list"),
        (
            "BertForMultipleChoice",
            {"input_ids": IDS[None], "attention_mask": [[1]]},
            "attention_mask must be a torch.Tensor, not list",
        ),
        (
            "BertForQuestionAnswering",
            {"start_positions": [1, 2], "end_positions": [1, 2]},
            "start_positions must be a torch.Tensor, not list",
        ),
    ],
)
def test_21_values_that_are_not_tensors_are_named(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        make(name)(**{"input_ids": IDS, **arguments})
    with pytest.raises(InputTypeError, match="inputs_embeds must be a torch.Tensor, not list"):
        make()(inputs_embeds=[[1.0]])


def test_29_answer_positions_are_one_integer_per_text() -> None:
    model, columns = make("BertForQuestionAnswering"), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"end_positions has shape \(3,\), but this batch needs \(2,\)"):
        model(IDS, start_positions=columns, end_positions=torch.tensor([0, 1, 2]))
    with pytest.raises(InputTypeError, match="start_positions must be an integer tensor"):
        model(IDS, start_positions=columns.float(), end_positions=columns)
    with pytest.raises(bertie.ConfigError, match="num_labels is 3, but answers have 2 scores"):
        make("BertForQuestionAnswering", num_labels=3)


@pytest.mark.parametrize("states", [torch.zeros(2, 16), torch.zeros(2, 4, 8)])
def test_encoder_states_of_another_shape(states: torch.Tensor) -> None:
    model = make("BertLMHeadModel", is_decoder=True, add_cross_attention=True)
    with pytest.raises(InputError, match=r"encoder_hidden_states must have shape \[batch, length, 16\]"):
        model(IDS, encoder_hidden_states=states)
    with pytest.raises(InputError, match="must hold the hidden states as inputs_embeds"):
        model(IDS, encoder_hidden_states=Packed.from_padded(IDS))


def test_28_no_cache_under_activation_checkpointing() -> None:
    model = make("BertLMHeadModel", is_decoder=True)
    cache = model(IDS, use_cache=True).past_key_values
    model.gradient_checkpointing_enable()
    with pytest.raises(InputError, match="past_key_values cannot be used in training under activation checkpointing"):
        model.train()(IDS, past_key_values=cache)


def test_25_a_mask_of_another_number_of_heads(model: torch.nn.Module) -> None:
    with pytest.raises(InputError, match="does not fit 2 texts of 3 tokens attending to 3 keys with 2 heads"):
        model(IDS, attention_mask=torch.zeros(2, 5, 3, 3))


def test_id_limits_follow_a_replaced_embedding() -> None:
    model = make()
    model.set_input_embeddings(torch.nn.Embedding(60, 16))
    assert model(torch.tensor([[59]])).last_hidden_state.shape == (1, 1, 16)
    with pytest.raises(InputError, match="vocab_size is 60"):
        model(torch.tensor([[60]]))


def test_resizing_keeps_the_module_and_its_hooks() -> None:
    model = make("BertForMaskedLM")
    words = model.get_input_embeddings()
    model.enable_input_require_grads()
    assert model.resize_token_embeddings(53) is words
    model.requires_grad_(False)
    assert model(torch.tensor([[52]])).logits.requires_grad
    with pytest.raises(InputTypeError, match="new_num_tokens must be an integer"):
        model.resize_token_embeddings(53.5)


@pytest.mark.parametrize("keep", [-1, torch.tensor([3]), torch.tensor([-1])])
def test_logits_to_keep_out_of_range(keep: object) -> None:
    with pytest.raises(InputError, match="logits_to_keep is .*; allowed: "):
        make("BertLMHeadModel", is_decoder=True)(IDS, logits_to_keep=keep)


def test_lists_of_other_than_integers() -> None:
    with pytest.raises(InputTypeError, match="input_ids must be one list of integers a text"):
        Packed.from_lists([1, 2, 3])
    with pytest.raises(InputTypeError, match="input_ids must hold integers, not float64"):
        Packed.from_lists([[1.5, 2.0]])


def test_checkpointing_zero_layers_is_refused() -> None:
    with pytest.raises(InputError, match="every_n_layers is 0"):
        make().activation_checkpointing_enable(every_n_layers=0)


def test_an_output_refuses_extra_values() -> None:
    with pytest.raises(TypeError, match="MaskedLMOutput has 4 fields, not 5"):
        bertie.MaskedLMOutput(1, 2, 3, 4, 5)
