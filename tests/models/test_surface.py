"""What programs use besides ``forward``: methods of the base class, copies, hooks, outputs (decisions 17, 20 to 22)."""

import copy
import inspect
import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import transformers
from harness import pair
from torch import nn

import bertie

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
CLASSES = (
    "BertModel",
    "BertForPreTraining",
    "BertLMHeadModel",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)
WITH_DECODER = ("BertForPreTraining", "BertLMHeadModel", "BertForMaskedLM")
every_class = pytest.mark.parametrize("name", CLASSES)
IDS = torch.tensor([[1, 7, 3, 9], [1, 5, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def make(name: str = "BertForMaskedLM", **fields) -> bertie.BertPreTrainedModel:
    torch.manual_seed(0)
    return getattr(bertie, name)(bertie.BertConfig(**SIZES, **fields)).eval()


def hidden(model: bertie.BertPreTrainedModel) -> torch.Tensor:
    return model.base_model(IDS, attention_mask=MASK).last_hidden_state


# Signatures.


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls.forward).parameters)


@every_class
def test_forward_takes_the_arguments_of_the_reference_in_its_order(name):
    ours, theirs = arguments(getattr(bertie, name)), arguments(getattr(transformers, name))
    expected = [(each.name, each.default) for each in theirs.values() if each.kind != each.VAR_KEYWORD]
    assert [(each.name, each.default) for each in ours.values() if each.kind != each.KEYWORD_ONLY] == expected
    assert not any(each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in ours.values())
    assert {"output_attentions", "output_hidden_states", "return_dict"} <= ours.keys()
    assert ("num_items_in_batch" in ours) == getattr(bertie, name).accepts_loss_kwargs == (name == "BertLMHeadModel")


@every_class
def test_a_misspelt_argument_is_refused_with_the_nearest_name(name):
    with pytest.raises(TypeError, match="Did you mean 'input_ids'"):
        make(name)(inptu_ids=IDS)


@every_class
def test_empty_unknown_arguments_are_accepted(name):
    model = make(name)
    ids = IDS[None] if name == "BertForMultipleChoice" else IDS
    answer = model(ids, head_mask=None, cache_position=None, cu_seq_lens_q=None)
    assert torch.equal(answer[0], model(ids)[0])
    with pytest.raises(TypeError, match="takes no argument 'head_mask'"):
        model(ids, head_mask=torch.ones(4, 2))


# Attributes.


class Handing(bertie.BertPreTrainedModel):
    """A user-defined model that passes unknown arguments on to the encoder."""

    def __init__(self, config: bertie.BertConfig) -> None:
        super().__init__(config)
        self.bert = bertie.BertModel(config)
        self.post_init()

    def forward(self, input_ids=None, **kwargs):
        return self.bert(input_ids, **kwargs).pooler_output


def test_a_user_defined_model_may_take_any_argument():
    model = Handing(bertie.BertConfig(**SIZES)).eval()
    assert torch.equal(model(IDS, attention_mask=MASK), model.bert(IDS, MASK).pooler_output)
    with pytest.raises(bertie.InputTypeError, match="BertModel takes no argument 'atention_mask'"):
        model(IDS, atention_mask=MASK)


@every_class
def test_attributes_of_a_model(name):
    model = make(name)
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.to(torch.bfloat16).dtype == torch.bfloat16
    assert model.base_model is (model if name == "BertModel" else model.bert)
    assert model.name_or_path == ""
    assert model.main_input_name == "input_ids"
    assert model._keys_to_ignore_on_save is None
    assert model.config_class is bertie.BertConfig
    assert all(isinstance(getattr(model.base_model.encoder.layer[0].attention.self, part), nn.Linear)
               for part in ("query", "key", "value"))  # fmt: skip


@every_class
def test_parameters_are_named_and_counted_as_in_the_reference(name):
    ours, theirs = make(name), getattr(transformers, name)(transformers.BertConfig(**SIZES))
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()
    for model in (ours, theirs):
        model.base_model.embeddings.requires_grad_(False)
    for options in ({}, {"exclude_embeddings": True}, {"only_trainable": True}):
        assert ours.num_parameters(**options) == theirs.num_parameters(**options)


@pytest.mark.parametrize("library", [bertie, transformers], ids=["bertie", "transformers"])
def test_auto_classes_build_models_from_configs(library):
    config = library.BertConfig(**SIZES, dtype="float64")
    door = library.AutoModel
    made = door.from_config(config, dtype=torch.bfloat16, attn_implementation="eager", add_pooling_layer=False)
    assert type(made) is library.BertModel
    assert (made.dtype, made.pooler, made.config._attn_implementation) == (torch.bfloat16, None, "eager")
    assert made.config is config
    assert config.dtype == torch.bfloat16
    assert door.from_config(config, torch_dtype="float16").dtype == torch.float16
    assert library.BertModel._from_config(config, attn_implementation="eager").config._attn_implementation == "eager"
    with pytest.raises(TypeError, match="pooling_layer"):
        door.from_config(config, pooling_layer=False)


def test_from_config_uses_the_configs_dtype_only_on_request():
    config = bertie.BertConfig(**SIZES, dtype="float64")
    assert bertie.AutoModel.from_config(config, dtype="auto").dtype == torch.float64
    assert bertie.AutoModel.from_config(config).dtype == config.dtype == torch.float32
    with pytest.raises(bertie.ConfigError, match="made from a BertConfig, not from dict"):
        bertie.AutoModel.from_config({})


def test_the_attention_implementation_can_be_changed():
    model = make()
    assert model.get_submodule("bert.encoder.layer.0.attention.self").backend is None
    model.set_attn_implementation("eager")
    assert model.config._attn_implementation == "eager"
    assert all(layer.attention.self.backend == "dense" for layer in model.bert.encoder.layer)
    model.set_attn_implementation("sdpa")
    assert all(layer.attention.self.backend is None for layer in model.bert.encoder.layer)
    with pytest.raises(bertie.InputError, match=r"'egar'.*Did you mean 'eager'"):
        model.set_attn_implementation("egar")


@every_class
def test_memory_is_counted_as_in_the_reference(name):
    ours, theirs = make(name), getattr(transformers, name)(transformers.BertConfig(**SIZES))
    assert ours.get_memory_footprint(return_buffers=False) == theirs.get_memory_footprint(return_buffers=False)
    assert ours.can_generate() == theirs.can_generate()
    assert type(ours).can_generate() == type(theirs).can_generate()


@pytest.mark.parametrize("items", [None, 5])
def test_labels_that_are_shifted_already(items):
    model = make("BertLMHeadModel", is_decoder=True)
    labels = torch.tensor([[1, 7, 3, 9], [1, 5, -100, -100]])
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    theirs = transformers.BertLMHeadModel(transformers.BertConfig(**SIZES, is_decoder=True)).eval()
    theirs.load_state_dict(model.state_dict(), strict=False)
    theirs.tie_weights()
    given = {"attention_mask": MASK, "num_items_in_batch": items}
    expected = theirs(IDS, labels=labels, shift_labels=shifted, **given).loss
    torch.testing.assert_close(model(IDS, labels=labels, shift_labels=shifted, **given).loss, expected)
    torch.testing.assert_close(model(IDS, shift_labels=shifted, **given).loss, expected)
    torch.testing.assert_close(model(IDS, labels=labels, **given).loss, expected)
    other = shifted.roll(1, 0)
    assert not torch.allclose(model(IDS, labels=labels, shift_labels=other).loss, expected)


def test_a_model_without_a_pooler():
    model = bertie.BertModel(bertie.BertConfig(**SIZES), add_pooling_layer=False)
    assert not any("pooler" in name for name, _ in model.named_parameters())
    assert list(model(IDS)) == ["last_hidden_state"]


@every_class
def test_new_weights_follow_the_config(name):
    model = make(name, initializer_range=0.5)
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
        elif isinstance(module, nn.Linear | nn.Embedding) and module.weight.numel() > 100:
            assert module.weight.std().item() == pytest.approx(0.5, rel=0.25), path
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            assert not module.bias.any(), path
    assert not model.get_input_embeddings().weight[0].any()  # the row of [PAD]


def test_init_weights_initialises_nothing_twice_and_keeps_ties():
    model = make()
    before = model.get_input_embeddings().weight.clone()
    model.init_weights()
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_config_fields_are_assignable_and_printable():
    config = make().config
    config.use_cache = False
    assert {"model_type": "bert", "tie_word_embeddings": True, "use_cache": False}.items() <= config.to_dict().items()
    assert bertie.BertConfig.from_dict(config.to_dict()).to_json_string() == config.to_json_string()
    assert config.get_text_config() is config


# Embeddings.


@every_class
def test_embeddings_can_be_taken_and_replaced(name):
    model = make(name)
    assert model.get_input_embeddings() is model.base_model.embeddings.word_embeddings
    model.set_input_embeddings(new := nn.Embedding(60, 16))
    assert model.get_input_embeddings() is new
    assert (model.get_output_embeddings() is None) == (name not in WITH_DECODER)


@pytest.mark.parametrize("name", WITH_DECODER)
def test_a_replaced_decoder_is_the_one_that_runs(name):
    model = make(name, tie_word_embeddings=False)
    model.set_output_embeddings(new := nn.Linear(16, 50))
    assert model.get_output_embeddings() is new
    assert model.cls.predictions.bias is new.bias
    nn.init.zeros_(new.weight)
    nn.init.constant_(new.bias, 3.0)
    logits = model(IDS)["prediction_logits" if name == "BertForPreTraining" else "logits"]
    assert (logits == 3).all()


@pytest.mark.parametrize(
    ("size", "multiple", "rows"), [(53, None, 53), (53, 8, 56), (None, 32, 64), (40, None, 40), (None, None, 50)]
)
def test_resizing_the_vocabulary(size, multiple, rows):
    model = make()
    with torch.no_grad():
        model.cls.predictions.bias.normal_()
    old, bias = model.get_input_embeddings().weight.clone(), model.cls.predictions.bias.clone()
    new = model.resize_token_embeddings(size, pad_to_multiple_of=multiple)
    decoder, kept = model.get_output_embeddings(), min(rows, 50)
    assert new is model.get_input_embeddings()
    assert new.num_embeddings == model.config.vocab_size == decoder.out_features == rows
    assert decoder.weight is new.weight
    assert decoder.bias is model.cls.predictions.bias
    assert torch.equal(new.weight[:kept], old[:kept])
    assert torch.equal(new.weight[kept:], old.mean(dim=0).expand(rows - kept, -1))
    assert torch.equal(decoder.bias[:kept], bias[:kept])
    assert torch.equal(decoder.bias[kept:], bias.mean().expand(rows - kept))
    assert model(torch.full((1, 3), rows - 1)).logits.shape == (1, 3, rows)


def test_resizing_an_untied_decoder_takes_its_own_mean():
    model = make(tie_word_embeddings=False)
    old = model.get_output_embeddings().weight.clone()
    model.resize_token_embeddings(52)
    assert torch.equal(model.get_output_embeddings().weight[50:], old.mean(dim=0).expand(2, -1))
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", WITH_DECODER)
def test_resizing_the_encoder_first_and_then_the_model(name, tied):
    model, expected = make(name, tie_word_embeddings=tied), make(name, tie_word_embeddings=tied)
    expected.resize_token_embeddings(60)
    model.bert.resize_token_embeddings(60)
    model.resize_token_embeddings(60)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert model.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(IDS)[0], expected(IDS)[0])


def test_resizing_to_the_same_size_keeps_the_parameters():
    model = make(tie_word_embeddings=False)
    before = list(model.parameters())
    model.resize_token_embeddings(50)
    assert all(now is then for now, then in zip(model.parameters(), before, strict=True))


def test_tying_to_embeddings_of_another_size_fits_the_bias():
    model = make()
    model.set_input_embeddings(nn.Embedding(60, 16))
    model.tie_weights()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model(IDS).logits.shape == (2, 4, 60)


def test_resizing_can_initialise_new_rows_randomly():
    model = make("BertModel", initializer_range=0.5)
    rows = model.resize_token_embeddings(1050, mean_resizing=False).weight[50:]
    assert rows.std().item() == pytest.approx(0.5, rel=0.1)
    with pytest.raises(bertie.InputError, match="-1"):
        model.resize_token_embeddings(-1)


def test_resized_weights_keep_dtype_and_whether_they_are_trained():
    model = make("BertModel").to(torch.bfloat16)
    model.get_input_embeddings().weight.requires_grad_(False)
    new = model.resize_token_embeddings(60)
    assert new.weight.dtype == torch.bfloat16
    assert not new.weight.requires_grad
    assert new.padding_idx == 0


# Ties and state dicts.


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", WITH_DECODER)
def test_tied_aliases_are_left_out_and_filled_in(name, assign):
    model, other = make(name), make(name)
    with torch.no_grad():
        other.get_input_embeddings().weight.add_(1)
    state = other.state_dict()
    assert not any("decoder" in key for key in state)
    model.load_state_dict(state, strict=True, assign=assign)
    assert torch.equal(model.get_output_embeddings().weight, other.get_input_embeddings().weight)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.get_output_embeddings().bias is model.cls.predictions.bias


def test_a_state_dict_with_aliases_loads_too():
    model = make()
    state = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).state_dict()
    assert "cls.predictions.decoder.weight" in state
    model.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match=r"Missing key.*encoder\.layer\.0"):
        model.load_state_dict({key: value for key, value in state.items() if "layer.0" not in key})


@pytest.mark.parametrize("assign", [False, True])
def test_a_decoder_untied_by_hand_keeps_its_weights(assign):
    model, other = make(), make()
    for each in (model, other):
        each.get_output_embeddings().weight = nn.Parameter(torch.randn(50, 16))
    state = model.state_dict()
    assert "cls.predictions.decoder.weight" in state
    assert "cls.predictions.decoder.bias" not in state
    other.load_state_dict(state, assign=assign)
    assert torch.equal(other(IDS).logits, model(IDS).logits)
    assert other.get_output_embeddings().bias is other.cls.predictions.bias


def test_a_decoder_without_a_bias():
    model = make()
    model.set_output_embeddings(nn.Linear(16, 50, bias=False))
    model.tie_weights()
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.resize_token_embeddings(60)
    assert model(IDS).logits.shape == (2, 4, 60)


def test_untied_decoders_are_saved():
    model = make(tie_word_embeddings=False)
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    assert "cls.predictions.decoder.weight" in model.state_dict()


# Copies.


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_models_and_configs_are_copied_and_pickled(name, duplicate):
    model = make(name)
    model.gradient_checkpointing_enable()
    twin = duplicate(model)
    assert torch.equal(hidden(twin), hidden(model))
    assert twin.config.to_dict() == model.config.to_dict()
    assert twin.config is not model.config
    with torch.no_grad():
        twin.get_input_embeddings().weight.add_(1)
    assert not torch.equal(hidden(twin), hidden(model))
    if name in WITH_DECODER:
        assert twin.get_output_embeddings().weight is twin.get_input_embeddings().weight
        assert twin.state_dict().keys() == model.state_dict().keys()
    twin.gradient_checkpointing_disable()
    assert model.is_gradient_checkpointing is model.is_activation_checkpointing is True
    assert not twin.is_gradient_checkpointing
    assert duplicate(model.config).to_dict() == model.config.to_dict()


# Activation checkpointing.


def gradients(model: bertie.BertPreTrainedModel) -> list[torch.Tensor]:
    torch.manual_seed(1)  # the same dropout in every run
    model.zero_grad()
    loss = model(IDS, attention_mask=MASK, labels=IDS, use_cache=True, return_dict=True).loss
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize(
    "options", [{}, {"every_n_layers": 2}, {"offload": True}, {"every_n_layers": 3, "offload": True}]
)
@pytest.mark.parametrize("method", ["activation", "gradient"])
def test_checkpointing_changes_no_gradient(method, options):
    model = make("BertLMHeadModel", is_decoder=True).train()
    runs = []
    first = model.bert.encoder.layer[0].register_forward_pre_hook(lambda *_: runs.append(0))
    second = model.bert.encoder.layer[1].register_forward_pre_hook(lambda *_: runs.append(1))
    expected = gradients(model)
    runs.clear()
    getattr(model, f"{method}_checkpointing_enable")(**options)
    assert model.is_gradient_checkpointing is model.is_activation_checkpointing is True
    torch.testing.assert_close(gradients(model), expected, atol=1e-6, rtol=0)
    assert runs.count(0) == 2  # once forward, once recomputed
    assert runs.count(1) == (2 if "every_n_layers" not in options else 1)
    runs.clear()
    getattr(model, f"{method}_checkpointing_disable")()
    torch.testing.assert_close(gradients(model), expected, atol=1e-6, rtol=0)
    assert runs == [0, 1]
    first.remove(), second.remove()


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_takes_the_arguments_of_pytorch(reentrant):
    model = make("BertLMHeadModel", is_decoder=True).train()
    expected = gradients(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    torch.testing.assert_close(gradients(model), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("library", [bertie, transformers], ids=["bertie", "transformers"])
@pytest.mark.parametrize("name", CLASSES)
def test_checkpointing_that_the_config_asks_for(name, library, tmp_path):
    asked = library.BertConfig(**SIZES, gradient_checkpointing=True)
    model = getattr(library, name)(asked)
    assert model.is_gradient_checkpointing
    model.save_pretrained(tmp_path)
    assert not getattr(library, name).from_pretrained(tmp_path).is_gradient_checkpointing
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "gradient_checkpointing": True}))
    model = getattr(library, name).from_pretrained(tmp_path)
    assert model.is_gradient_checkpointing
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_inputs_of_a_frozen_model_can_require_gradients():
    model = make()
    model.requires_grad_(False)
    assert not hidden(model).requires_grad
    model.enable_input_require_grads()
    model.enable_input_require_grads()  # peft and a trainer may both call it
    assert hidden(model).requires_grad
    model.disable_input_require_grads()
    assert not hidden(model).requires_grad
    model.disable_input_require_grads()


# Hooks.


def test_hooks_see_rectangles_inside_and_outside():
    model, seen = make("BertModel"), {}
    for path in ("embeddings.word_embeddings", "encoder.layer.0", "encoder.layer.1.attention.self.query", ""):
        model.get_submodule(path).register_forward_hook(lambda _m, _i, output, path=path: seen.update({path: output}))
    output = model(IDS, attention_mask=MASK)
    assert seen[""] is output
    assert output.last_hidden_state.shape == (2, 4, 16)
    for path in ("embeddings.word_embeddings", "encoder.layer.0", "encoder.layer.1.attention.self.query"):
        assert seen[path].shape == (2, 4, 16)


def test_a_hook_that_changes_an_activation_changes_the_answer():
    model = make("BertModel")
    before = hidden(model)
    handle = model.encoder.layer[2].attention.self.value.register_forward_hook(lambda _m, _i, output: output * 2)
    assert not torch.allclose(hidden(model), before)
    handle.remove()
    assert torch.equal(hidden(model), before)


# Outputs.


def test_outputs_are_built_as_other_tools_build_them():
    loss, logits = torch.ones(()), torch.ones(2, 3)
    for output in (
        bertie.MaskedLMOutput(loss=loss, logits=logits),
        bertie.MaskedLMOutput(loss, logits),
        bertie.MaskedLMOutput({"loss": loss, "logits": logits}),
        bertie.MaskedLMOutput([("loss", loss), ("logits", logits)]),
        bertie.MaskedLMOutput((("loss", loss), ("logits", logits))),
    ):
        assert isinstance(output, OrderedDict)
        assert list(output) == ["loss", "logits"]
        assert output.logits is output["logits"] is output[1] is output.to_tuple()[1] is logits
        assert output[:1] == (loss,)
        assert output.hidden_states is None
        assert "hidden_states" not in output
    with pytest.raises(TypeError, match="no field 'logit'"):
        bertie.MaskedLMOutput(logit=logits)


@every_class
def test_tuples_have_the_order_of_the_output(name):
    model = make(name)
    ids = IDS[None] if name == "BertForMultipleChoice" else IDS
    named = model(ids, output_hidden_states=True, output_attentions=True)
    bare = model(ids, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert isinstance(bare, tuple)
    for value, expected in zip(bare, named.to_tuple(), strict=True):
        torch.testing.assert_close(value, expected)
    model.config.return_dict = False
    assert isinstance(model(ids), tuple)


def test_linear_layers_are_explained() -> None:
    model = bertie.BertModel(bertie.BertConfig(num_hidden_layers=1, hidden_size=24, num_attention_heads=2)).eval()
    assert bertie.explain_linear(model).startswith("7 linear layers of torch.float32 on cpu: PyTorch's product")
    model.bfloat16()
    assert bertie.explain_linear(model) == "7 linear layers of torch.bfloat16 on cpu: PyTorch's product"


@pytest.mark.parametrize("function", ["explain_linear", "explain_attention", "make_deterministic"])
def test_functions_for_pytorch_models_refuse_engines_pipelines_and_names(function: str, mini: Path) -> None:
    pipe = bertie.pipeline("fill-mask", mini)
    more = [IDS] if function == "explain_attention" else []
    for given in (pipe, pipe.model, "a name"):
        with pytest.raises(
            bertie.InputTypeError, match=f"{function} takes a PyTorch model, not a {type(given).__name__};"
        ):
            getattr(bertie, function)(given, *more)


def test_a_decoder_that_is_given_labels_keeps_no_cache() -> None:
    ours, reference = pair("BertLMHeadModel", {"is_decoder": True})
    ids = torch.tensor([[5, 6, 7]])
    for model in (ours, reference):
        assert model(input_ids=ids).past_key_values is not None
        assert model(input_ids=ids, labels=ids).past_key_values is None
