"""Making a pipeline: its class, the name of its task, and the check that the model has the head it needs."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import bertie
from bertie.tasks.registry import ROWS

TINY = {
    "vocab_size": 30522,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
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
WORDS = {"BertForMaskedLM", "BertForPreTraining", "BertLMHeadModel"}
SERVE = {
    "embed": set(CLASSES),
    "feature-extraction": set(CLASSES),
    "fill-mask": WORDS,
    "pseudo-log-likelihood": WORDS,
    "multiple-choice": {"BertForMultipleChoice"},
    "reranking": {"BertForSequenceClassification"},
    "question-answering": {"BertForQuestionAnswering"},
    "token-classification": {"BertForTokenClassification"},
    "next-sentence": {"BertForNextSentencePrediction", "BertForPreTraining"},
    "text-classification": {"BertForSequenceClassification"},
    "text-generation": {"BertLMHeadModel"},
    "text2text-generation": set(),
    "summarization": set(),
    "zero-shot-classification": {"BertModel", "BertForSequenceClassification"},
    "zero-shot-similarity": set(CLASSES),
}


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Any:
    return bertie.BertTokenizer.from_pretrained(minilm)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    # a reranker has one label, and text generation needs a decoder
    one = {"BertForSequenceClassification": {"num_labels": 1}, "BertLMHeadModel": {"is_decoder": True}}
    return {name: getattr(bertie, name)(bertie.BertConfig(**TINY, **one.get(name, {}))) for name in CLASSES}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_model_with_another_head_is_refused_when_the_pipeline_is_made(row: Any, models: Any, tokenizer: Any) -> None:
    for name, model in models.items():
        if name in SERVE[row.name]:
            assert bertie.pipeline(row.name, model, tokenizer=tokenizer).task == row.name
        else:
            wanted = getattr(bertie, row.model_class).model_class.__name__
            with pytest.raises(bertie.InputTypeError, match=f"needs a bertie.{wanted}, but the model is a {name};"):
                bertie.pipeline(row.name, model, tokenizer=tokenizer)


@pytest.mark.parametrize("how", [{}, {"model_kwargs": {"attn_implementation": "eager"}}], ids=["engine", "PyTorch"])
@pytest.mark.parametrize("row", [row for row in ROWS if row.name in SERVE], ids=lambda row: row.name)
def test_a_folder_with_another_head_or_none_is_refused(
    row: Any, how: dict[str, Any], models: Any, tokenizer: Any, tmp_path: Path
) -> None:
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        if name in SERVE[row.name]:
            assert bertie.pipeline(row.name, tmp_path / name, tokenizer=tokenizer, **how).task == row.name
        else:
            said = "never trained|needs a decoder|an EncoderDecoderModel is of type"
            with pytest.raises((bertie.CheckpointError, bertie.ConfigError, bertie.InputError), match=said):
                bertie.pipeline(row.name, tmp_path / name, tokenizer=tokenizer, **how)


def test_without_a_class_in_the_config_the_weights_determine_the_head(
    models: Any, tokenizer: Any, tmp_path: Path
) -> None:
    models["BertForTokenClassification"].save_pretrained(tmp_path)
    config = bertie.BertConfig.from_pretrained(tmp_path)
    for named in (None, ["MyTagger"], ["TFBertForTokenClassification"], ["BertModel"]):
        config.architectures = named
        config.save_pretrained(tmp_path)
        assert bertie.pipeline("ner", tmp_path, tokenizer=tokenizer)("Berlin") is not None


class Wrapped(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner, self.config, self.device = model, model.config, model.device

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


def test_wrapped_models_and_custom_classes(models: Any, tokenizer: Any) -> None:
    own = type("Own", (bertie.BertPreTrainedModel,), {})(bertie.BertConfig(**TINY))
    own.bert = models["BertModel"]
    bertie.pipeline("text-classification", Wrapped(models["BertForSequenceClassification"]), tokenizer=tokenizer)
    bertie.pipeline("text-classification", own, tokenizer=tokenizer)
    with pytest.raises(bertie.InputTypeError, match="needs a bertie.BertForMaskedLM, but the model is a Own"):
        bertie.pipeline("fill-mask", own, tokenizer=tokenizer)
    with pytest.raises(bertie.InputTypeError, match="the model is a BertForTokenClassification"):
        bertie.pipeline("text-classification", Wrapped(models["BertForTokenClassification"]), tokenizer=tokenizer)
    theirs = transformers.BertForTokenClassification(transformers.BertConfig(**TINY))
    with pytest.raises(bertie.InputTypeError, match=r"load it with bertie.BertForTokenClassification.from_pretrained"):
        bertie.pipeline("ner", theirs, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("task", "model", "kind"),
    [
        ("feature-extraction", "BertModel", "FeatureExtractionPipeline"),
        ("fill-mask", "BertForMaskedLM", "FillMaskPipeline"),
        ("sentiment-analysis", "BertForSequenceClassification", "TextClassificationPipeline"),
        ("ner", "BertForTokenClassification", "TokenClassificationPipeline"),
    ],
)
@pytest.mark.parametrize("library", [bertie, transformers], ids=["bertie", "transformers"])
def test_task_names_and_pipeline_classes(
    library: types.ModuleType, task: str, model: str, kind: str, tokenizer: Any
) -> None:
    made = getattr(library, model)(library.BertConfig(**TINY))
    words = tokenizer if library is bertie else transformers.BertTokenizer(tokenizer.get_vocab())
    pipe = library.pipeline(task, model=made, tokenizer=words)
    assert pipe.task == task
    assert type(pipe) is getattr(library, kind)
    assert isinstance(pipe, library.Pipeline)
    assert pipe.device == torch.device("cpu")


def test_question_answering_has_its_own_class(models: Any, tokenizer: Any) -> None:
    pipe = bertie.pipeline("question-answering", models["BertForQuestionAnswering"], tokenizer=tokenizer)
    assert type(pipe) is bertie.QuestionAnsweringPipeline


def numbers(answer: Any) -> list[float]:
    """Return all numbers in an answer, whatever its form."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, str | int | float):
        return [] if isinstance(answer, str) else [answer]
    return [number for part in answer for number in (numbers(part) if not hasattr(part, "item") else [part.item()])]


@pytest.mark.parametrize("task", [row.name for row in ROWS])
def test_output_options_in_the_config_do_not_change_answers(task: str, tokenizer: Any) -> None:
    wanted = getattr(bertie, next(row for row in ROWS if row.name == task).model_class).model_class
    more = {"is_decoder": True} if wanted is bertie.BertLMHeadModel else {}
    config: Any = bertie.BertConfig(**TINY, num_labels=1 if task == "reranking" else 2, **more)
    if wanted is bertie.EncoderDecoderModel:
        config = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(config, bertie.BertConfig(**TINY))
    model = wanted(config)
    inputs = {
        "fill-mask": "a [MASK]",
        "multiple-choice": {"prompt": "a", "choices": ["b", "c"]},
        "question-answering": {"question": "a", "context": "b c"},
        "reranking": ("a", "b"),
        "next-sentence": ("a", "b"),
    }.get(task, "a b")
    options = {"candidate_labels": ["c", "d"]} if task.startswith("zero-shot") else {}
    pipe = bertie.pipeline(task, model, tokenizer=tokenizer, device="cpu", **options)
    before = pipe(inputs)
    config.update({"return_dict": False, "output_attentions": True, "output_hidden_states": True})
    after = pipe(inputs)
    assert numbers(after) == pytest.approx(numbers(before), rel=1e-4, abs=1e-6)
    assert numbers(before) or after == before


def test_empty_arguments_of_other_programs_are_accepted(tiny: Callable[..., Path]) -> None:
    pipe = bertie.pipeline("fill-mask", tiny("BertForMaskedLM"), framework=None, feature_extractor=None, processor=None)
    assert pipe.task == "fill-mask"


def test_default_pooling_is_reported(minilm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bertie.BertModel(bertie.BertConfig(**TINY)).save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path)
    caplog.set_level("INFO", "bertie")
    said = f"{str(tmp_path)!r} does not say how to pool tokens into a vector; mean pooling is used."
    bertie.pipeline("embed", minilm)
    bertie.pipeline("feature-extraction", tmp_path)
    assert said not in caplog.messages
    bertie.pipeline("embed", tmp_path)
    assert said in caplog.messages
