"""Every example of the reference page runs with only the import and the model's name changed (decision 31)."""

import re
from pathlib import Path

import pytest

PAGE = Path("spec") / "bert_reference_page.md"
# Damage of the page's text: a lost [MASK], and a comparison cut off together with the end of its block.
REPAIRS = {
    '"The capital of France is ."': '"The capital of France is [MASK]."',
    "assert logits[0, 0] \n": "assert logits[0, 0] < logits[0, 1]\n```\n",
}
# heading of the class -> how many examples stand below it
EXPECTED = {
    "BertConfig": 1,
    "BertForPreTraining": 1,
    "BertLMHeadModel": 1,
    "BertForMaskedLM": 1,
    "BertForNextSentencePrediction": 1,
    "BertForSequenceClassification": 2,
    "BertForMultipleChoice": 1,
    "BertForTokenClassification": 1,
    "BertForQuestionAnswering": 1,
}


def examples(text: str) -> dict[str, list[str]]:
    """Return the code of every example by the class it stands under, with the prompts taken off."""
    for damaged, repaired in REPAIRS.items():
        assert damaged in text
        text = text.replace(damaged, repaired)
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        for block in re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            lines = [line[4:] for line in block.splitlines() if line.startswith((">>> ", "... "))]
            found.setdefault(section.split("[")[0], []).append("\n".join(lines))
    return found


@pytest.fixture
def run(shared, mini):
    """Return a function that runs an example and returns the names it leaves behind."""
    found = examples((shared / PAGE).read_text(encoding="utf-8"))

    def run(name: str, number: int = 0) -> dict:
        code = found[name][number].replace("from transformers", "from bertie")
        names: dict = {}
        exec(code.replace("google-bert/bert-base-uncased", str(mini)), names)
        return names

    run.count = {name: len(blocks) for name, blocks in found.items()}
    return run


def test_all_examples_are_known(run):
    assert run.count == EXPECTED


def test_config(run):
    names = run("BertConfig")
    assert names["configuration"].vocab_size == 30522
    assert sum(parameter.numel() for parameter in names["model"].parameters()) == 109_482_240


def test_pretraining(run):
    names = run("BertForPreTraining")
    assert names["prediction_logits"].shape == (1, 8, 30522)
    assert names["seq_relationship_logits"].shape == (1, 2)


def test_causal_lm(run):
    names = run("BertLMHeadModel")
    assert names["logits"].shape == (1, 8, 30522)
    assert names["loss"].isfinite()


def test_masked_lm(run):
    names = run("BertForMaskedLM")
    assert names["mask_token_index"].tolist() == [6]
    assert names["tokenizer"].decode(names["predicted_token_id"]).isalpha()
    assert names["outputs"].loss > 0


def test_next_sentence(run):
    run("BertForNextSentencePrediction")  # it asserts itself that the sentences do not follow each other


def test_single_label_classification(run):
    names = run("BertForSequenceClassification")
    assert names["predicted_class_id"] in names["model"].config.id2label
    assert names["loss"].isfinite()


def test_multi_label_classification(run):
    names = run("BertForSequenceClassification", 1)
    assert names["labels"].shape == (1, 2)
    assert names["model"].config.problem_type == "multi_label_classification"
    assert names["loss"].isfinite()


def test_multiple_choice(run):
    names = run("BertForMultipleChoice")
    assert names["logits"].shape == (1, 2)
    assert names["loss"].isfinite()


def test_token_classification(run):
    names = run("BertForTokenClassification")
    assert set(names["predicted_tokens_classes"]) <= {"LABEL_0", "LABEL_1"}
    assert len(names["predicted_tokens_classes"]) == names["inputs"].input_ids.shape[1]
    assert names["loss"].isfinite()


def test_question_answering(run):
    names = run("BertForQuestionAnswering")
    assert names["inputs"].input_ids.shape[1] == 14  # so that the labels 14 and 15 lie beyond the text
    assert names["loss"].item() == 0
