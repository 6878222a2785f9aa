"""Windows: every token of a long text is read, and owned by the window where it has the most context."""

import numpy as np
import pytest
import torch
from computing import compute
from hypothesis import given
from hypothesis import strategies as st

import bertie
from bertie.errors import InputError
from bertie.tasks.embed import Embed
from bertie.tasks.feature_extraction import FeatureExtraction
from bertie.tasks.features import Features, Outputs
from bertie.tasks.fill_mask import FillMask
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.windows import in_windows, owned_pieces, owned_tokens, tokens_left_out

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
TOKENIZER = bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)})


def text(length: int) -> str:
    return " ".join("abcdefghij"[number % 10] for number in range(length))


def row(first: int, second: int | None = None):
    inputs = text(first) if second is None else (text(first), text(second))
    return next(iter(TOKENIZER.rows([inputs])))


def config(**more):
    return bertie.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=20,
        **more,
    )


def test_a_short_text_is_one_window() -> None:
    whole = row(6)
    assert in_windows(whole, 8, 2) == [whole]


def test_windows_of_a_text() -> None:
    parts = in_windows(row(10), 6, 1)
    spans = [(part.windows[-1].start, part.windows[-1].stop) for part in parts]
    assert spans == [(0, 4), (3, 7), (6, 10)]
    assert [part.tokens for part in parts] == [
        ["[CLS]", *"abcd", "[SEP]"],
        ["[CLS]", *"defg", "[SEP]"],
        ["[CLS]", *"ghij", "[SEP]"],
    ]
    assert owned_pieces(parts) == [range(4), range(4, 7), range(7, 10)]


def test_windows_of_a_pair_are_cut_from_its_second_text() -> None:
    parts = in_windows(row(2, 7), 8, 1)
    assert [part.tokens for part in parts] == [
        ["[CLS]", "a", "b", "[SEP]", *"abc", "[SEP]"],
        ["[CLS]", "a", "b", "[SEP]", *"cde", "[SEP]"],
        ["[CLS]", "a", "b", "[SEP]", *"efg", "[SEP]"],
    ]
    assert [part.type_ids for part in parts] == [[0] * 4 + [1] * 4] * 3


def test_a_long_first_text_is_cut_to_half() -> None:
    whole = row(9, 9)
    parts = in_windows(whole, 13, 1)
    assert parts[0].tokens == ["[CLS]", *"abcde", "[SEP]", *"abcde", "[SEP]"]
    assert tokens_left_out(whole, parts) == 4


def test_windows_of_a_pair_may_be_cut_from_its_first_text() -> None:
    whole = row(7, 2)
    parts = in_windows(whole, 8, 1, windowed=0)
    assert [part.tokens for part in parts] == [
        ["[CLS]", *"abc", "[SEP]", "a", "b", "[SEP]"],
        ["[CLS]", *"cde", "[SEP]", "a", "b", "[SEP]"],
        ["[CLS]", *"efg", "[SEP]", "a", "b", "[SEP]"],
    ]
    assert [part.type_ids for part in parts] == [[0] * 5 + [1] * 3] * 3
    assert tokens_left_out(whole, parts, windowed=0) == 0


def test_a_text_paired_with_a_short_one_gets_the_room_it_leaves() -> None:
    whole = row(9, 2)
    (only,) = in_windows(whole, 13, 3)
    assert only.tokens == ["[CLS]", *"abcdefgh", "[SEP]", "a", "b", "[SEP]"]
    assert tokens_left_out(whole, [only]) == 1


@given(st.integers(0, 60), st.integers(3, 20), st.integers(0, 12))
def test_every_token_has_one_owner(length: int, limit: int, overlap: int) -> None:
    whole = row(length)
    if len(whole) > limit and overlap >= limit - 2:
        with pytest.raises(InputError, match="smaller overlap"):
            in_windows(whole, limit, overlap)
        return
    parts = in_windows(whole, limit, overlap)
    assert all(len(part) <= limit for part in parts)
    pieces = [piece for span in owned_pieces(parts) for piece in span]
    assert pieces == list(range(length))
    kept = np.concatenate([part.ids for part in parts])[owned_tokens(parts)]
    assert kept.tolist() == whole.ids
    for part, span in zip(parts, owned_pieces(parts), strict=True):
        window = part.windows[-1]
        for piece in span:
            mine = min(piece - window.start, window.stop - 1 - piece)
            for other in parts:
                its = other.windows[-1]
                assert min(piece - its.start, its.stop - 1 - piece) <= mine or not its.start <= piece < its.stop


def test_batches_of_rows_and_of_inputs() -> None:
    task = TextClassification(tokenizer=TOKENIZER, config=config(num_labels=2), max_length=6, windows=True, overlap=1)
    features = task.encode([text(10), text(2), "", text(5)])
    assert features.owners is not None
    assert features.owners.tolist() == [0, 0, 0, 1, 2, 3, 3]
    assert features.truncated == [0, 0, 0, 0]
    assert features.empty == [False, False, True, False]
    assert features.input_lengths() == [18, 4, 2, 12]
    labelled = features.with_labels(np.array([5, 6, 7, 8]))
    part = labelled.select_inputs([3, 1])
    assert part.owners is not None
    assert part.labels
    assert part.owners.tolist() == [0, 0, 1]
    assert part.targets.tolist() == [8, 6]
    assert part.input_ids == [features.input_ids[row] for row in (5, 6, 3)]
    rows = labelled.select([6, 0])
    assert rows.labels
    assert rows.targets.tolist() == [8, 5]


@pytest.mark.parametrize("way", ["mean", "max"])
def test_logits_of_windows_are_reduced(way: str) -> None:
    torch.manual_seed(0)
    model = bertie.BertForSequenceClassification(config(num_labels=3)).eval()
    options = {"tokenizer": TOKENIZER, "config": model.config, "max_length": 6, "window_scores": way}
    task = TextClassification(**options, windows=True, overlap=1, top_k=None)
    features = task.encode([text(10), text(3)])
    logits = compute(task, model, features)
    parts = TextClassification(**options).encode(["a b c d", "d e f g", "g h i j", text(3)])
    alone = np.stack(compute(task.with_options(windows=False), model, parts))
    expected = alone[:3].mean(0) if way == "mean" else alone[:3].max(0)
    np.testing.assert_allclose(logits, [expected, alone[3]], atol=1e-6)
    answers = task.decode(Outputs(logits, features))
    assert [sorted(one["label"] for one in answer) for answer in answers] == [["LABEL_0", "LABEL_1", "LABEL_2"]] * 2


def test_vectors_of_windows_are_the_mean_of_all_tokens() -> None:
    torch.manual_seed(0)
    model = bertie.BertModel(config(), add_pooling_layer=False).eval()
    recipe = Recipe(modes=("mean", "max"))
    task = Embed(tokenizer=TOKENIZER, config=model.config, max_length=6, windows=True, overlap=1, recipe=recipe)
    features = task.encode([text(10), text(2)])
    found = np.stack(compute(task, model, features))
    states = FeatureExtraction(
        tokenizer=TOKENIZER, config=model.config, max_length=6, windows=True, overlap=1, return_tensors=True
    )
    tokens = states.decode(Outputs(compute(states, model, states.encode([text(10), text(2)])), features))
    assert [one.shape[1] for one in tokens] == [12, 4]
    for vector, one in zip(found, tokens, strict=True):
        expected = torch.cat([one[0].mean(0), one[0].amax(0)])
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-6)


def test_masks_beyond_the_limit_are_filled() -> None:
    torch.manual_seed(0)
    model = bertie.BertForMaskedLM(config()).eval()
    task = FillMask(tokenizer=TOKENIZER, config=model.config, max_length=6, windows=True, overlap=1, top_k=2)
    inputs = ["a b c d e f g h [MASK] j", "[MASK] b c [MASK] e f"]
    features = task.encode(inputs)
    one, two = task.decode(Outputs(compute(task, model, features), features))
    assert one[0]["sequence"].startswith("a b c d e f g h ")
    assert [len(two), len(two[0])] == [2, 2]
    alone = task.with_options(windows=False)
    window = alone.encode(["g h [MASK] j"])
    assert alone.decode(Outputs(compute(alone, model, window), window))[0][0]["token"] == one[0]["token"]


def test_a_foreign_tokenizer_has_no_windows(mini) -> None:
    import transformers

    foreign = transformers.BertTokenizer.from_pretrained(mini)
    task = TextClassification(tokenizer=foreign, config=config(), windows=True)
    with pytest.raises(bertie.InputTypeError, match="give bertie's tokenizer"):
        task.encode(["a"])


def test_nothing_to_read() -> None:
    task = TextClassification(tokenizer=TOKENIZER, config=config(), windows=True)
    assert task.encode([]).num_inputs == 0
    assert Features.from_lists([], [], [], []).input_lengths() == []
