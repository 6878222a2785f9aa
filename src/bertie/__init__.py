"""bertie: BERT, whole and fast. The public names, imported when they are first used."""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULE_OF = {
    "Packed": "bertie.packing",
    "Cache": "bertie.attention.cache",
    "EncoderDecoderCache": "bertie.attention.cache",
    "compile": "bertie.models.compiling",
    "explain_attention": "bertie.models.explain",
    "explain_linear": "bertie.models.explain",
    "make_deterministic": "bertie.layers.linear",
    **dict.fromkeys(("average", "quantize"), "bertie.compression"),
    **dict.fromkeys(("evaluate", "Evaluation"), "bertie.evaluation"),
    **dict.fromkeys(("finetune", "sweep", "Finetuned", "Sweep"), "bertie.finetuning"),
    **dict.fromkeys(("BertClassifier", "BertRegressor", "BertTagger", "BertEmbedder"), "bertie.estimators"),
    "Settings": "bertie.training",
    **dict.fromkeys(("plot_attention", "plot_entities", "Picture"), "bertie.pictures"),
    **dict.fromkeys(
        (
            "pipeline",
            "Pipeline",
            "EmbedPipeline",
            "FeatureExtractionPipeline",
            "FillMaskPipeline",
            "QuestionAnsweringPipeline",
            "TextClassificationPipeline",
            "TokenClassificationPipeline",
            "SearchIndex",
        ),
        "bertie.pipelines",
    ),
    **dict.fromkeys(("BertConfig", "AutoConfig"), "bertie.config"),
    **dict.fromkeys(("BertTokenizer", "BertTokenizerFast"), "bertie.tokenization.fast"),
    "BertTokenizerLegacy": "bertie.tokenization.legacy",
    "BertJapaneseTokenizer": "bertie.tokenization.japanese",
    "BatchEncoding": "bertie.tokenization.batch_encoding",
    "AutoTokenizer": "bertie.tokenization.auto",
    **dict.fromkeys(("BertieError", "ConfigError", "CheckpointError", "InputError", "InputTypeError"), "bertie.errors"),
    **dict.fromkeys(
        (
            "ModelOutput",
            "BaseModelOutputWithPastAndCrossAttentions",
            "BaseModelOutputWithPoolingAndCrossAttentions",
            "BertForPreTrainingOutput",
            "CausalLMOutputWithCrossAttentions",
            "MaskedLMOutput",
            "NextSentencePredictorOutput",
            "SequenceClassifierOutput",
            "MultipleChoiceModelOutput",
            "TokenClassifierOutput",
            "QuestionAnsweringModelOutput",
        ),
        "bertie.outputs",
    ),
    "BertPreTrainedModel": "bertie.models.pretrained",
    "BertModel": "bertie.models.bert",
    "BertForPreTraining": "bertie.models.pretraining",
    "BertLMHeadModel": "bertie.models.causal_lm",
    "BertForMaskedLM": "bertie.models.masked_lm",
    "BertForNextSentencePrediction": "bertie.models.next_sentence",
    "BertForSequenceClassification": "bertie.models.sequence_classification",
    "BertForMultipleChoice": "bertie.models.multiple_choice",
    "BertForTokenClassification": "bertie.models.token_classification",
    "BertForQuestionAnswering": "bertie.models.question_answering",
    **dict.fromkeys(
        (
            "AutoModel",
            "AutoModelForTextEncoding",
            "AutoModelForPreTraining",
            "AutoModelForCausalLM",
            "AutoModelForMaskedLM",
            "AutoModelForNextSentencePrediction",
            "AutoModelForSequenceClassification",
            "AutoModelForMultipleChoice",
            "AutoModelForTokenClassification",
            "AutoModelForQuestionAnswering",
        ),
        "bertie.models.auto",
    ),
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bertie' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
