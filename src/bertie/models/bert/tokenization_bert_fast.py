"""The tokenizer, for programs that import transformers 4's module of this name."""

from bertie.tokenization.fast import BertTokenizerFast

__all__ = ["BertTokenizerFast"]
