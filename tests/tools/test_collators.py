"""transformers' collators and datasets.map take our tokenizer, and our models take what they make (decision 21)."""

import pytest
import torch
import transformers
from small import TINY

import bertie


@pytest.fixture(scope="session")
def theirs(mini):
    return transformers.AutoTokenizer.from_pretrained(mini)


def features(encoded, *names: str, count: int = 4) -> list[dict]:
    return [{name: encoded[row][name] for name in names} for row in range(count)]


def assert_same_batch(ours, expected) -> None:
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert torch.equal(ours[name], value), name


def make(name: str, **fields):
    torch.manual_seed(0)
    return getattr(bertie, name)(bertie.BertConfig(**TINY, **fields)).eval()


def test_map_makes_the_columns_of_the_reference(sentences, encoded, theirs):
    expected = sentences.map(lambda rows: theirs(rows["text"], truncation=True, max_length=24), batched=True)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert list(encoded[name]) == list(expected[name])


def test_map_takes_several_processes_and_a_fingerprint(sentences, tokenizer):
    """The tokenizer is pickled and hashed by datasets; the same call finds its own cache again."""
    first, second = (sentences.map(lambda row: tokenizer(row["text"]), num_proc=count) for count in (None, 2))
    assert list(first["input_ids"]) == list(second["input_ids"])


@pytest.mark.parametrize("options", [{}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 40}])
def test_padding(tokenizer, theirs, encoded, options):
    rows = features(encoded, "input_ids", "attention_mask", "token_type_ids", "label")
    batch = transformers.DataCollatorWithPadding(tokenizer, **options)([dict(row) for row in rows])
    assert_same_batch(batch, transformers.DataCollatorWithPadding(theirs, **options)(rows))
    assert make("BertForSequenceClassification")(**batch).loss.isfinite()


@pytest.mark.parametrize("options", [{}, {"mlm_probability": 0.5}, {"pad_to_multiple_of": 8}, {"mlm": False}])
def test_language_modelling(tokenizer, theirs, encoded, options):
    rows = features(encoded, "input_ids", "attention_mask", "token_type_ids")
    batches = []
    for each in (tokenizer, theirs):
        torch.manual_seed(0)
        batches.append(transformers.DataCollatorForLanguageModeling(each, **options)([dict(row) for row in rows]))
    assert_same_batch(*batches)
    assert make("BertForMaskedLM")(**batches[0]).loss.isfinite()


def test_token_classification(tokenizer, theirs, encoded):
    rows = features(encoded, "input_ids", "attention_mask", "token_type_ids")
    for row in rows:
        row["labels"] = [index % 3 for index in range(len(row["input_ids"]))]
    batch = transformers.DataCollatorForTokenClassification(tokenizer)([dict(row) for row in rows])
    assert_same_batch(batch, transformers.DataCollatorForTokenClassification(theirs)(rows))
    assert (batch["labels"] == -100).any()
    assert make("BertForTokenClassification", num_labels=3)(**batch).loss.isfinite()


def test_multiple_choice(tokenizer, theirs):
    rows = [
        {**theirs(["Where is it?"] * 2, ["Here.", "On the other side of it."]), "label": 1},
        {**theirs(["Who?"] * 2, ["I.", "You, who else?"]), "label": 0},
    ]
    copies = [dict(row) for row in rows]
    batch = transformers.DataCollatorForMultipleChoice(tokenizer)(copies)
    assert_same_batch(batch, transformers.DataCollatorForMultipleChoice(theirs)(rows))
    assert make("BertForMultipleChoice")(**batch).logits.shape == (2, 2)


def test_a_flattened_batch_is_refused_with_what_to_do(encoded):
    rows = features(encoded, "input_ids")
    collator = transformers.DataCollatorWithFlattening(return_flash_attn_kwargs=True)
    with pytest.raises(TypeError, match=r"pass a bertie\.Packed"):
        make("BertForMaskedLM")(**collator(rows))


def test_packed_is_the_flattened_batch_done_right(encoded, tokenizer):
    rows = features(encoded, "input_ids")
    model = make("BertModel")
    with torch.no_grad():
        packed = model(bertie.Packed.from_lists([row["input_ids"] for row in rows])).last_hidden_state
        batch = transformers.DataCollatorWithPadding(tokenizer)(rows)
        padded = model(**batch).last_hidden_state
    assert torch.equal(padded[batch["attention_mask"].bool()], packed)
