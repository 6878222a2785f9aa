"""The tasks that a checkpoint's head can do, from its files."""

from collections.abc import Mapping

from bertie.config import CONFIG_NAME, BertConfig
from bertie.encoder_decoder_config import is_encoder_decoder
from bertie.errors import InputError
from bertie.hub import resolve
from bertie.tasks.sentence_transformers_config import FILES, MODULES

# a checkpoint's class → the tasks of its head, the main task first
TASKS: Mapping[str, tuple[str, ...]] = {
    "BertModel": ("embed", "feature-extraction"),
    "BertForPreTraining": ("fill-mask", "next-sentence"),
    "BertForMaskedLM": ("fill-mask",),
    "BertForNextSentencePrediction": ("next-sentence",),
    "BertForSequenceClassification": ("text-classification",),
    "BertForTokenClassification": ("token-classification",),
    "BertForQuestionAnswering": ("question-answering",),
    "BertForMultipleChoice": ("multiple-choice",),
    "BertLMHeadModel": ("text-generation",),
    "EncoderDecoderModel": ("text2text-generation",),
}


def tasks_of(source: str) -> tuple[str, ...]:
    """Return the tasks of a checkpoint's head, from its config and sentence-transformers files."""
    folder = resolve(source, files=[CONFIG_NAME, *FILES])
    if is_encoder_decoder(source):
        return TASKS["EncoderDecoderModel"]
    config = BertConfig.from_pretrained(str(source))
    architectures = config.architectures or []
    known = [name for name in architectures if name in TASKS]
    if (folder / MODULES).is_file() or not architectures:
        known = ["BertModel"]
    if not known:
        raise InputError(f"{source!r} is a {architectures[0]}; bertie knows a task for {', '.join(TASKS)}.")
    if known[0] == "BertForSequenceClassification" and config.num_labels == 1 and config.problem_type != "regression":
        return ("reranking", *TASKS[known[0]])
    return TASKS[known[0]]
