"""The parameters that a config determines are those of the class that is built from it."""

from typing import Any

import pytest

import bertie
from bertie.checkpoints.parameters import CLASSES, parameters_of
from bertie.models.model_state import meta_model

SMALL = {
    "vocab_size": 50,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 7,
    "type_vocab_size": 5,
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"is_decoder": True, "add_cross_attention": True},
        {"position_embedding_type": "relative_key_query"},
        {"is_decoder": True, "add_cross_attention": True, "position_embedding_type": "relative_key"},
        {"tie_word_embeddings": False},
        {"num_labels": 5},
    ],
    ids=str,
)
def test_names_shapes_and_ties(name: str, fields: dict[str, Any]) -> None:
    config = bertie.BertConfig(**SMALL, **fields)
    if name == "BertForQuestionAnswering" and "num_labels" in fields:
        with pytest.raises(bertie.ConfigError, match="num_labels is 5, but answers have 2 scores"):
            parameters_of(name, config)
        return
    model = meta_model(lambda: getattr(bertie, name)(config))
    model.tie_weights()
    found = parameters_of(name, config)
    tied = {alias: source for source, aliases in found.aliases.items() for alias in aliases}
    everything = dict(model.named_parameters(remove_duplicate=False))
    assert {each: tuple(parameter.shape) for each, parameter in everything.items() if each not in tied} == found.shapes
    assert all(everything[alias] is everything[source] for alias, source in tied.items())
    assert len({id(parameter) for parameter in everything.values()}) == len(found.shapes)
