"""Foreign names: every parameter of every class, and of siblings, gets the library's name, and its own back."""

import pytest

import bertie
from bertie.checkpoints.foreign_names import FLAX, KERAS, TENSORFLOW_1, Naming
from bertie.checkpoints.names import canonical, to_family
from bertie.checkpoints.parameters import CLASSES, parameters_of
from bertie.families import FAMILIES

ALL = {"tensorflow 1": TENSORFLOW_1, "keras": KERAS, "flax": FLAX}


@pytest.mark.parametrize("naming", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("name", CLASSES)
def test_names_round_trip(naming: Naming, name: str) -> None:
    config = bertie.BertConfig(num_hidden_layers=12, add_cross_attention=True, is_decoder=True)
    ours = [canonical(each) or each for each in parameters_of(name, config).shapes]
    theirs = [naming.to_theirs(each) for each in ours]
    assert [naming.to_ours(each) for each in theirs] == ours
    assert len(set(theirs)) == len(ours)


@pytest.mark.parametrize("naming", [KERAS, FLAX], ids=["keras", "flax"])
@pytest.mark.parametrize("kind", sorted(FAMILIES.keys() - {"bert"}))
def test_names_of_siblings_round_trip(naming: Naming, kind: str) -> None:
    family = FAMILIES[kind]
    config = bertie.BertConfig(model_type=kind, num_hidden_layers=2, **family.fixed)
    for name in ("BertForMaskedLM", "BertForSequenceClassification"):
        stored = [to_family(each, family, name) for each in parameters_of(name, config).shapes]
        assert [naming.to_ours(naming.to_theirs(each)) for each in stored] == stored


@pytest.mark.parametrize(
    ("ours", "tensorflow_1", "keras", "flax"),
    [
        (
            "bert.embeddings.word_embeddings.weight",
            "bert/embeddings/word_embeddings",
            "bert/embeddings/word_embeddings/weight",
            "bert/embeddings/word_embeddings/embedding",
        ),
        (
            "bert.encoder.layer.11.attention.output.LayerNorm.bias",
            "bert/encoder/layer_11/attention/output/LayerNorm/beta",
            "bert/encoder/layer_._11/attention/output/LayerNorm/beta",
            "bert/encoder/layer/11/attention/output/LayerNorm/bias",
        ),
        (
            "cls.seq_relationship.weight",
            "cls/seq_relationship/output_weights",
            "nsp___cls/seq_relationship/kernel",
            "cls/seq_relationship/kernel",
        ),
        ("classifier.weight", "output_weights", "classifier/kernel", "classifier/kernel"),
        ("qa_outputs.bias", "cls/squad/output_bias", "qa_outputs/bias", "qa_outputs/bias"),
        ("cls.predictions.bias", "cls/predictions/output_bias", "mlm___cls/predictions/bias", "cls/predictions/bias"),
    ],
)
def test_names_are_the_libraries(ours: str, tensorflow_1: str, keras: str, flax: str) -> None:
    assert [naming.to_theirs(ours) for naming in ALL.values()] == [tensorflow_1, keras, flax]


def test_unknown_names_are_kept() -> None:
    assert KERAS.to_ours("bert/embeddings/token_embeddings/weight") == "bert/embeddings/token_embeddings/weight"
