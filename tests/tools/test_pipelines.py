"""transformers' own pipelines run our models and tokenizer, with the answers they give for theirs."""

import pytest
import transformers

import bertie

TEXTS = {
    "fill-mask": "The [MASK] of France is Paris.",
    "text-classification": "The sky is blue.",
    "token-classification": "Ada wrote to Charles.",
}
CLASSES = {
    "fill-mask": "BertForMaskedLM",
    "text-classification": "BertForSequenceClassification",
    "token-classification": "BertForTokenClassification",
}


@pytest.mark.parametrize("task", TEXTS)
def test_a_pipeline_gives_the_same_answers(mini, tmp_path, task):
    getattr(bertie, CLASSES[task]).from_pretrained(mini).save_pretrained(tmp_path)
    answers = []
    for library in (bertie, transformers):
        model = getattr(library, CLASSES[task]).from_pretrained(tmp_path)
        tokenizer = library.AutoTokenizer.from_pretrained(mini)
        answers.append(transformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu")(TEXTS[task]))
    scores = [[row.pop("score") for row in rows] for rows in answers]
    assert answers[0] == answers[1]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
