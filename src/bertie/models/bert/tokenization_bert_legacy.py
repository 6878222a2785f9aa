"""The pure-Python tokenizer, for programs that import transformers' module of this name."""

from bertie.tokenization.legacy import BertTokenizerLegacy
from bertie.tokenization.wordpiece import BasicTokenizer

__all__ = ["BasicTokenizer", "BertTokenizerLegacy"]
