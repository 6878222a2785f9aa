"""The reference's Auto classes: ``AutoModelForX`` loads BERT's class for X, also for BERT's siblings."""

import os
from typing import Any, ClassVar

from bertie.config import BertConfig
from bertie.errors import BertieError
from bertie.models.bert import BertModel
from bertie.models.causal_lm import BertLMHeadModel
from bertie.models.encoder_decoder import EncoderDecoderModel
from bertie.models.masked_lm import BertForMaskedLM
from bertie.models.multiple_choice import BertForMultipleChoice
from bertie.models.next_sentence import BertForNextSentencePrediction
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.pretraining import BertForPreTraining
from bertie.models.question_answering import BertForQuestionAnswering
from bertie.models.sequence_classification import BertForSequenceClassification
from bertie.models.token_classification import BertForTokenClassification


class AutoModel:
    """``AutoModel`` is ``BertModel``, for BERT's siblings (RoBERTa, DistilBERT and others) as well."""

    model_class: ClassVar[type[BertPreTrainedModel]] = BertModel

    def __init_subclass__(cls) -> None:
        cls.__doc__ = cls.__doc__ or f"``{cls.__name__}`` is ``{cls.model_class.__name__}``."

    def __init__(self) -> None:
        name = type(self).__name__
        raise BertieError(f"{name} cannot be instantiated: use {name}.from_pretrained(...) or from_config(...).")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load the model (arguments and errors as in ``BertPreTrainedModel.from_pretrained``)."""
        return cls.model_class.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)

    @classmethod
    def from_config(cls, config: BertConfig, **kwargs: Any) -> Any:
        """Make the model with new weights (arguments and errors as in `bertie.models.loading.Loading`)."""
        return cls.model_class._from_config(config, **kwargs)


class AutoModelForTextEncoding(AutoModel):
    """``AutoModelForTextEncoding`` is ``BertModel``."""


class AutoModelForPreTraining(AutoModel):
    model_class = BertForPreTraining


class AutoModelForCausalLM(AutoModel):
    model_class = BertLMHeadModel


class AutoModelForSeq2SeqLM(AutoModel):
    model_class = EncoderDecoderModel


class AutoModelForMaskedLM(AutoModel):
    model_class = BertForMaskedLM


class AutoModelForNextSentencePrediction(AutoModel):
    model_class = BertForNextSentencePrediction


class AutoModelForSequenceClassification(AutoModel):
    model_class = BertForSequenceClassification


class AutoModelForMultipleChoice(AutoModel):
    model_class = BertForMultipleChoice


class AutoModelForTokenClassification(AutoModel):
    model_class = BertForTokenClassification


class AutoModelForQuestionAnswering(AutoModel):
    model_class = BertForQuestionAnswering
