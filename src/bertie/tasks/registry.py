"""The table of tasks: each row defines a task's names, classes, pipeline and command. Importing it imports no torch."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import InputError, nearest, spelled
from bertie.hub import default_embedding_model, default_pretrained_model


@dataclass(frozen=True)
class Row:
    """One task."""

    name: str  # in pipelines, commands, messages and docs
    aliases: tuple[str, ...]  # other names, including the reference's
    model_class: str  # the auto class of the model with the task's head
    task: str  # ``module:class`` of its `bertie.tasks.task.Task`
    default: Callable[[], Path] | None = None  # returns the folder of the model to use if none is named (decision 32)
    pipeline: str = "Pipeline"  # the class of its pipeline in `bertie.pipelines`
    head: str = ""  # the part of the model that it uses, if it does not call the model as a whole
    learns: bool = False  # whether it learns from labelled data, as `bertie.data.schemas` reads them
    trainable: str = ""  # ``module:class`` of the `TrainableTask` that learns for it, if that is another class
    encoder_task: str = ""  # the name of the task that answers instead if the model is an encoder without a head
    command: str = ""  # the ``bertie`` command that answers, with an example input; the model is added
    call: str = ""  # the arguments of its pipeline for such an input, if that is more than a text
    pair_command: str = ""  # both for a model trained on pairs, if inputs may be texts or pairs
    pair_call: str = ""

    @property
    def architecture(self) -> str:
        """The name of the model's class."""
        default = self.model_class.replace("AutoModelFor", "BertFor").replace("AutoModel", "BertModel")
        return _ARCHITECTURES.get(self.model_class, default)

    def load_task(self) -> Any:
        return _load(self.task)

    def load_trainable(self) -> Any:
        """Return the class of the task that learns; its ``from_inference_task`` makes one from a task that answers."""
        return _load(self.trainable or self.task)

    def saved_options(self, config: Any) -> dict[str, Any]:
        """Return the task's options that are saved in a model's config, in ``task_specific_params``."""
        known = self.load_task().saved
        return {name: value for name, value in self._saved_params(config).items() if name in known}

    def save_options(self, config: Any, task: Any) -> None:
        """Save the task's options that differ from their defaults in a model's config, for `saved_options`."""
        defaults = {field.name: field.default for field in dataclasses.fields(task)}
        saved = {name: getattr(task, name) for name in task.saved if getattr(task, name, None) != defaults.get(name)}
        columns = self.saved_columns(config)
        self._save_params(config, saved | ({"columns": columns} if columns else {}))

    def saved_columns(self, config: Any) -> dict[str, str | list[str]]:
        """Return role → column of the data that the model was trained on, as saved in its config."""
        saved = self._saved_params(config).get("columns")
        columns = saved if isinstance(saved, dict) else {}
        listed = {role: [named] if isinstance(named, str) else named for role, named in columns.items()}
        known = [role for role, names in listed.items() if isinstance(names, list) and set(map(type, names)) <= {str}]
        return {role: columns[role] for role in known}

    def save_columns(self, config: Any, columns: Mapping[str, str | list[str]]) -> None:
        """Save columns in a model's config, for `saved_columns`; unnamed ones are named after their role."""
        named = {role: role if str(name).isdigit() else name for role, name in columns.items()}
        self._save_params(config, {"columns": named})

    def _saved_params(self, config: Any) -> dict[str, Any]:
        saved = (getattr(config, "task_specific_params", None) or {}).get(self.name)
        return saved if isinstance(saved, dict) else {}

    def _save_params(self, config: Any, saved: dict[str, Any]) -> None:
        others = getattr(config, "task_specific_params", None) or {}
        config.task_specific_params = {**others, self.name: saved}

    def starting_model(self) -> Path:
        """Return the folder of the model that training starts from if none is named."""
        return (self.default or default_embedding_model)()

    def default_model(self) -> Path:
        if self.default is None:
            raise InputError(
                f"{self.name!r} has no default model: name a folder or a model on the hub ({spelled('model', '…')})."
            )
        return self.default()


# the classes of auto classes whose names do not follow the rule
_ARCHITECTURES = {"AutoModelForCausalLM": "BertLMHeadModel", "AutoModelForSeq2SeqLM": "EncoderDecoderModel"}
ROWS = (
    Row(
        "embed",
        ("embedding", "embeddings", "sentence-embedding", "sentence-similarity", "similarity", "sts", "bi-encoder"),
        "AutoModel",
        "bertie.tasks.embed:Embed",
        default=default_embedding_model,
        pipeline="EmbedPipeline",
        learns=True,
        command='embed "A text."',
        trainable="bertie.tasks.similarity:Similarity",
    ),
    Row(
        "feature-extraction",
        (),
        "AutoModel",
        "bertie.tasks.feature_extraction:FeatureExtraction",
        pipeline="FeatureExtractionPipeline",
    ),
    Row(
        "fill-mask",
        ("masked-lm", "mlm", "masked-language-modeling"),
        "AutoModelForMaskedLM",
        "bertie.tasks.fill_mask:FillMask",
        default=default_pretrained_model,
        pipeline="FillMaskPipeline",
        head="cls.predictions",
        learns=True,
        command='fill-mask "A [MASK] text."',
        trainable="bertie.tasks.masked_lm:MaskedLM",
    ),
    Row(
        "multiple-choice",
        ("choose",),
        "AutoModelForMultipleChoice",
        "bertie.tasks.multiple_choice:MultipleChoice",
        pipeline="ChoicePipeline",
        learns=True,
        command='choose "A prompt." "One choice." "Another."',
        call='"A prompt.", ["One choice.", "Another."]',
    ),
    Row(
        "pseudo-log-likelihood",
        ("pll", "score", "sentence-scoring"),
        "AutoModelForMaskedLM",
        "bertie.tasks.pseudo_log_likelihood:PseudoLogLikelihood",
        default=default_pretrained_model,
        head="cls.predictions",
    ),
    Row(
        "reranking",
        ("rerank", "cross-encoder", "text-ranking", "ranking"),
        "AutoModelForSequenceClassification",
        "bertie.tasks.reranking:Reranking",
        pipeline="RerankPipeline",
        learns=True,
        command='rerank YOUR-PASSAGES.txt "A question?"',
        call='"A question?", ["A passage.", "Another."]',
    ),
    Row(
        "question-answering",
        ("questions", "answer", "qa", "extractive-qa"),
        "AutoModelForQuestionAnswering",
        "bertie.tasks.question_answering:QuestionAnswering",
        pipeline="QuestionAnsweringPipeline",
        learns=True,
        command='answer "A question?" "A text that answers it."',
        call='question="A question?", context="A text that answers it."',
    ),
    Row(
        "token-classification",
        ("ner", "tag", "tagging", "named-entity-recognition"),
        "AutoModelForTokenClassification",
        "bertie.tasks.token_classification:TokenClassification",
        pipeline="TokenClassificationPipeline",
        learns=True,
        command='tag "A text."',
    ),
    Row(
        "next-sentence",
        ("next-sentence-prediction", "nsp"),
        "AutoModelForNextSentencePrediction",
        "bertie.tasks.next_sentence:NextSentence",
        default=default_pretrained_model,
        head="cls.seq_relationship",
        learns=True,
        command='next-sentence "A text." "What follows."',
        call='[("A text.", "What follows.")]',
    ),
    Row(
        "text-classification",
        ("sequence-classification", "classification", "sentiment-analysis", "sentiment", "classify"),
        "AutoModelForSequenceClassification",
        "bertie.tasks.text_classification:TextClassification",
        pipeline="TextClassificationPipeline",
        learns=True,
        command='classify "A text."',
        pair_command='classify "A text." "The text beside it."',
        pair_call='[("A text.", "The text beside it.")]',
    ),
    Row(
        "text-generation",
        ("causal-lm", "clm"),
        "AutoModelForCausalLM",
        "bertie.tasks.text_generation:TextGeneration",
        pipeline="GenerationPipeline",
    ),
    Row(
        "text2text-generation",
        ("seq2seq", "sequence-to-sequence"),
        "AutoModelForSeq2SeqLM",
        "bertie.tasks.text_generation:Text2TextGeneration",
        pipeline="GenerationPipeline",
        learns=True,
        command='generate "A text."',
        trainable="bertie.tasks.seq2seq:Seq2Seq",
    ),
    Row(
        "summarization",
        ("summarize",),
        "AutoModelForSeq2SeqLM",
        "bertie.tasks.text_generation:Summarization",
        pipeline="GenerationPipeline",
    ),
    Row(
        "zero-shot-classification",
        ("zero-shot",),
        "AutoModelForSequenceClassification",
        "bertie.tasks.zero_shot:ZeroShot",
        default=default_embedding_model,
        pipeline="ZeroShotPipeline",
        encoder_task="zero-shot-similarity",
    ),
    Row(
        "zero-shot-similarity",
        (),
        "AutoModel",
        "bertie.tasks.zero_shot:ZeroShotSimilarity",
        default=default_embedding_model,
        pipeline="ZeroShotSimilarityPipeline",
    ),
)


def _load(path: str) -> Any:
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def name_of(kind: type) -> str:
    """Return the name of the task that a subclass of `bertie.tasks.task.Task` implements, itself or by inheritance."""
    paths = [f"{each.__module__}:{each.__qualname__}" for each in kind.__mro__]
    return next((row.name for path in paths for row in ROWS if path in (row.task, row.trainable)), "")


def find(name: str) -> Row:
    """Return the task of this name or alias."""
    return _named(name, {row.name: row for row in ROWS}, "")


def find_trainable(name: str) -> Row:
    """Return the task of this name or alias, which must learn from labelled data and be scored on it."""
    return _named(name, {row.name: row for row in ROWS if row.learns}, " to learn")


def _named(name: str, known: Mapping[str, Row], what: str) -> Row:
    rows = {alias: row for row in known.values() for alias in (row.name, *row.aliases)}
    if name not in rows:
        listed = ", ".join(map(repr, known))
        raise InputError(f"There is no task {name!r}{what}; the tasks are {listed}.{nearest(str(name), rows)}")
    return rows[name]
