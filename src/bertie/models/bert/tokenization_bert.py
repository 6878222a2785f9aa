"""The tokenizers, for programs that import transformers' module of this name."""

from bertie.tokenization.fast import BertTokenizer, BertTokenizerFast
from bertie.tokenization.legacy import BertTokenizerLegacy
from bertie.tokenization.wordpiece import BasicTokenizer

__all__ = ["BasicTokenizer", "BertTokenizer", "BertTokenizerFast", "BertTokenizerLegacy"]
