"""The name table, in both directions."""

import pytest

from bertie.checkpoints.names import canonical, is_encoder, unwrapped


@pytest.mark.parametrize(
    ("stored", "today"),
    [
        ("embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
        ("bert.encoder.layer.3.output.LayerNorm.beta", "bert.encoder.layer.3.output.LayerNorm.bias"),
        ("cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.weight"),
        ("pooler.dense.weight", "bert.pooler.dense.weight"),
        ("classifier.bias", "classifier.bias"),
        ("bert.embeddings.position_ids", None),
        ("embeddings.position_ids", None),
        ("embeddings.token_type_ids", None),
        ("something.gamma", "something.gamma"),
        ("__class__", "__class__"),
    ],
)
def test_stored_names_become_canonical(stored: str, today: str | None) -> None:
    assert canonical(stored) == today


def test_canonical_names_are_unchanged() -> None:
    for name in (
        "bert.encoder.layer.0.output.LayerNorm.weight",
        "bert.embeddings.LayerNorm.bias",
        "cls.predictions.bias",
    ):
        assert canonical(name) == name


def test_what_counts_as_encoder() -> None:
    assert is_encoder("bert.embeddings.word_embeddings.weight")
    assert is_encoder("bert.encoder.layer.0.attention.self.query.weight")
    for head in (
        "bert.pooler.dense.weight",
        "cls.predictions.bias",
        "bert.encoder.layer.0.crossattention.self.key.bias",
    ):
        assert not is_encoder(head)


@pytest.mark.parametrize("wrapper", ["", "module.", "model.", "model.module."])
def test_wrappers_are_removed_and_restored(wrapper: str) -> None:
    words, other = "bert.embeddings.word_embeddings.weight", "classifier.bias"
    pairs = unwrapped([wrapper + words, wrapper + other, "loss.weight"])
    assert pairs == [(words, wrapper + words), (other, wrapper + other), ("loss.weight", "loss.weight")]
    assert [wrapper + name for name, _ in pairs[:2]] == [stored for _, stored in pairs[:2]]


def test_without_word_embeddings_nothing_is_a_wrapper() -> None:
    assert unwrapped(["module.a", "model.b"]) == [("module.a", "module.a"), ("model.b", "model.b")]
