"""All models and their parts in one module, for programs that import transformers' module of this name."""

from bertie.layers.attention import BertAttention, BertCrossAttention, BertSelfAttention, BertSelfOutput
from bertie.layers.block import BertIntermediate, BertLayer, BertOutput
from bertie.layers.embeddings import BertEmbeddings
from bertie.layers.encoder import BertEncoder
from bertie.layers.heads import (
    BertLMPredictionHead,
    BertOnlyMLMHead,
    BertOnlyNSPHead,
    BertPooler,
    BertPredictionHeadTransform,
    BertPreTrainingHeads,
)
from bertie.models.bert import BertModel
from bertie.models.causal_lm import BertLMHeadModel
from bertie.models.masked_lm import BertForMaskedLM
from bertie.models.multiple_choice import BertForMultipleChoice
from bertie.models.next_sentence import BertForNextSentencePrediction
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.pretraining import BertForPreTraining
from bertie.models.question_answering import BertForQuestionAnswering
from bertie.models.sequence_classification import BertForSequenceClassification
from bertie.models.token_classification import BertForTokenClassification
from bertie.outputs import BertForPreTrainingOutput

__all__ = [
    "BertAttention",
    "BertCrossAttention",
    "BertEmbeddings",
    "BertEncoder",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForPreTrainingOutput",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertIntermediate",
    "BertLMHeadModel",
    "BertLMPredictionHead",
    "BertLayer",
    "BertModel",
    "BertOnlyMLMHead",
    "BertOnlyNSPHead",
    "BertOutput",
    "BertPooler",
    "BertPreTrainedModel",
    "BertPreTrainingHeads",
    "BertPredictionHeadTransform",
    "BertSelfAttention",
    "BertSelfOutput",
]
