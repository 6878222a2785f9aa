"""User-defined models: weights are initialised once, loaded ones never overwritten, arguments passed on."""

import copy
import inspect
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import bertie
from bertie.models.initialization import Protected

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}
IDS = torch.tensor([[1, 7, 3, 9]])
both = pytest.mark.parametrize("library", [bertie, transformers], ids=["bertie", "transformers"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    bertie.BertModel(bertie.BertConfig(**SIZES)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def words_of(folder: Path) -> torch.Tensor:
    return bertie.BertModel.from_pretrained(folder).embeddings.word_embeddings.weight


def own_class(library: types.ModuleType, init: Any, parent: str = "BertPreTrainedModel", **members: Any) -> Any:
    """Return a user-defined class based on a library's classes; ``init(self, library, config, …)`` names its parts."""
    base = getattr(library, parent)

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        base.__init__(self, config)
        init(self, library, config, *args, **kwargs)
        self.post_init()

    return type("Mine", (base,), {"__init__": __init__, "forward": lambda self, input_ids=None: None, **members})


# Loading in every way, with any number of calls of post_init.


@both
def test_a_loaded_model_keeps_its_weights_under_any_name(library, saved):
    def init(self, library, config):
        self.encoder = library.BertModel.from_pretrained(saved)
        self.towers = nn.ModuleDict({"one": library.BertModel.from_pretrained(saved)})
        self.head = nn.Linear(16, 2)

    model = own_class(library, init)(library.BertConfig(**SIZES))
    for loaded in (model.encoder, model.towers["one"]):
        assert torch.equal(loaded.embeddings.word_embeddings.weight, words_of(saved))
    assert not model.head.bias.any()  # the new head is initialised by the config
    assert model.head.weight.std() < 0.05


@pytest.mark.parametrize(("outer", "inner"), [(bertie, transformers), (transformers, bertie)], ids=["ours", "theirs"])
def test_models_of_one_library_inside_the_other_keep_their_weights(outer, inner, saved):
    def init(self, _library, config):
        self.encoder = inner.BertModel.from_pretrained(saved)

    model = own_class(outer, init)(outer.BertConfig(**SIZES))
    assert torch.equal(model.encoder.embeddings.word_embeddings.weight, words_of(saved))


@both
@pytest.mark.parametrize("method", ["post_init", "init_weights"])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_loaded_or_trained_model_is_not_initialised_again(library, method, duplicate, saved):
    model = library.BertForSequenceClassification.from_pretrained(saved)
    with torch.no_grad():
        model.classifier.weight.fill_(3)  # trained meanwhile
    model = duplicate(model)
    getattr(model, method)()
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, words_of(saved))
    assert (model.classifier.weight == 3).all()


def test_a_loaded_state_dict_is_kept():
    model = bertie.BertForSequenceClassification(bertie.BertConfig(**SIZES))
    model.classifier = nn.Linear(16, 2)
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    model.post_init()
    assert all((parameter == 0.5).all() for parameter in model.parameters())


def test_what_a_state_dict_lacks_is_initialised():
    model = bertie.BertForSequenceClassification(bertie.BertConfig(**SIZES))
    model.classifier = nn.Linear(16, 2)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "classifier.bias"}
    model.load_state_dict(state, strict=False)
    weight = model.classifier.weight.clone()
    model.post_init()
    assert torch.equal(model.classifier.weight, weight)
    assert not model.classifier.bias.any()


@both
def test_a_resized_untied_output_is_kept(library):
    model = library.BertForMaskedLM(library.BertConfig(**SIZES, tie_word_embeddings=False))
    model.resize_token_embeddings(60)
    before = [parameter.clone() for parameter in model.parameters()]
    model.post_init()
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))


@both
def test_a_head_added_later_is_initialised_once(library):
    model = library.BertForSequenceClassification(library.BertConfig(**SIZES))
    model.classifier = nn.Linear(16, 2)
    model.post_init()
    assert not model.classifier.bias.any()
    drawn = model.classifier.weight.clone()
    model.post_init()
    assert torch.equal(model.classifier.weight, drawn)


def test_a_new_decoder_does_not_overwrite_tied_embeddings():
    model = bertie.BertForMaskedLM(bertie.BertConfig(**SIZES))
    words = model.get_input_embeddings().weight.clone()
    model.set_output_embeddings(nn.Linear(16, 50))
    model.tie_weights()
    model.post_init()
    assert torch.equal(model.get_input_embeddings().weight, words)


def test_a_model_loaded_inside_one_that_is_loaded(saved, tmp_path, caplog):
    def init(self, library, config):
        self.encoder = library.BertForSequenceClassification.from_pretrained(saved)  # with a new head

    mine = own_class(bertie, init)
    first = mine(bertie.BertConfig(**SIZES))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    first.save_pretrained(tmp_path / "mine")
    again, info = mine.from_pretrained(tmp_path / "mine", output_loading_info=True)
    assert info["missing_keys"] == set()
    assert all(torch.equal(now, then) for now, then in zip(again.parameters(), first.parameters(), strict=True))


def test_a_loaded_part_that_the_file_lacks_keeps_its_weights(saved):
    def init(self, library, config):
        self.bert = library.BertModel(config)
        self.teacher = library.BertModel.from_pretrained(saved)
        self.head = nn.Linear(16, 2)

    model, info = own_class(bertie, init).from_pretrained(saved, output_loading_info=True)
    assert info["missing_keys"] == {"head.weight", "head.bias"}
    assert torch.equal(model.teacher.embeddings.word_embeddings.weight, words_of(saved))
    assert 0 < model.head.weight.std() < 0.05


# A user-defined _init_weights.


def transitions(self: Any, _library: Any, config: Any) -> None:
    self.bert = _library.BertModel(config)
    self.transitions = nn.Parameter(torch.empty(3, 3))


def drawing(parent: type) -> Any:
    def _init_weights(self: Any, module: nn.Module) -> None:
        parent._init_weights(self, module)
        if module is self and hasattr(self, "transitions"):
            nn.init.constant_(self.transitions, 7.0)
            nn.init.zeros_(self.bert.embeddings.word_embeddings.weight)  # loaded or initialised already: it is kept

    return _init_weights


@both
def test_an_own_initialiser_is_called_for_the_model_itself(library, saved):
    mine = own_class(library, transitions, _init_weights=drawing(library.BertPreTrainedModel))
    made = mine(library.BertConfig(**SIZES))
    assert (made.transitions == 7).all()
    loaded = mine.from_pretrained(saved)
    assert (loaded.transitions == 7).all()
    assert torch.equal(loaded.bert.embeddings.word_embeddings.weight, words_of(saved))


def test_an_own_initialiser_sees_what_a_subclass_of_a_task_model_adds(saved):
    mine = own_class(
        bertie,
        lambda self, _, config: setattr(self, "transitions", nn.Parameter(torch.empty(3, 3))),
        "BertForTokenClassification",
        _init_weights=drawing(bertie.BertPreTrainedModel),
    )
    assert (mine(bertie.BertConfig(**SIZES)).transitions == 7).all()
    assert (mine.from_pretrained(saved).transitions == 7).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda weight: nn.init.xavier_uniform_(weight),
        lambda weight: nn.init.orthogonal_(weight),
        lambda weight: weight.data.normal_(),
        lambda weight: weight[0].zero_(),
        lambda weight: weight.__setitem__(0, 0.0),
        lambda weight: nn.init.constant_(tensor=weight, val=1.0),
    ],
)
@torch.no_grad()
def test_no_initialiser_changes_protected_weights(draw):
    kept, other = nn.Linear(4, 4), nn.Linear(4, 4)
    before, changed = kept.weight.clone(), other.weight.clone()
    with Protected([kept.weight]):
        draw(kept.weight)
        draw(other.weight)
        kept.requires_grad_(False)
    assert torch.equal(kept.weight, before)
    assert not torch.equal(other.weight, changed)
    assert not kept.weight.requires_grad


@both
def test_convolutions_are_initialised_by_the_config(library):
    config = library.BertConfig(**SIZES, initializer_range=0.5)
    model = own_class(library, lambda self, _, __: setattr(self, "reader", nn.Conv1d(16, 64, 3)))(config)
    assert model.reader.weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert not model.reader.bias.any()


# Arguments of a user-defined __init__.


def remember(self: Any, library: Any, config: Any, *args: Any, **kwargs: Any) -> None:
    self.bert = library.BertModel(config)
    self.given = (args, kwargs)


@both
def test_arguments_of_init_are_passed_on(library, saved):
    model = own_class(library, remember).from_pretrained(saved, 1, [2], num_labels=5, model_args="x")
    assert model.given == ((1, [2]), {"model_args": "x"})
    assert model.config.num_labels == 5


class Named(bertie.BertPreTrainedModel):
    def __init__(self, config: bertie.BertConfig, num_tags: int, bias: bool = True) -> None:
        super().__init__(config)
        self.bert = bertie.BertModel(config)
        self.tags = nn.Linear(16, num_tags, bias=bias)
        self.post_init()


def test_named_arguments_of_init_are_passed_on_and_others_refused(saved):
    model = Named.from_pretrained(saved, num_tags=4, bias=False)
    assert model.tags.weight.shape == (4, 16)
    assert model.tags.bias is None
    with pytest.raises(bertie.InputTypeError, match=r"'num_tag'\. Did you mean 'num_tags'"):
        Named.from_pretrained(saved, num_tag=4)


@both
def test_with_a_config_object_arguments_go_to_init(library, saved):
    def init(self, library, config, num_labels=0):
        self.bert = library.BertModel(config)
        self.given = num_labels

    mine = own_class(library, init)
    mine.__init__.__signature__ = inspect.signature(lambda self, config, num_labels=0: None)
    config = library.BertConfig(**SIZES)
    model = mine.from_pretrained(saved, config=config, num_labels=5)
    assert (model.given, model.config.num_labels) == (5, 2)


# Without a folder.


@both
def test_weights_may_be_given_as_a_state_dict(library, saved):
    weights = bertie.BertForSequenceClassification.from_pretrained(saved).state_dict()
    config = library.BertConfig(**SIZES)
    model = library.BertForSequenceClassification.from_pretrained(None, config=config, state_dict=weights)
    assert torch.equal(model.classifier.weight, weights["classifier.weight"])
    assert model.classifier.weight.data_ptr() != weights["classifier.weight"].data_ptr() or library is transformers
    assert not model.training
    with pytest.raises(ValueError, match="state_dict"):
        library.BertModel.from_pretrained(saved, state_dict=weights)


def test_a_state_dict_needs_a_config(saved):
    with pytest.raises(bertie.InputError, match="give its config too"):
        bertie.BertModel.from_pretrained(None, state_dict={})
    config = bertie.BertConfig(**SIZES)
    with pytest.raises(bertie.InputTypeError, match=r"state_dict\['a'\] is of type int"):
        bertie.BertModel.from_pretrained(None, config=config, state_dict={"a": 3})
    with pytest.raises(bertie.CheckpointError, match="'state_dict' is not a BERT"):
        bertie.BertModel.from_pretrained(None, config=config, state_dict={})
