"""The tokenizer, for programs that import it as from the module of this name that transformers 4 has."""

from bertie.tokenization.fast import BertTokenizerFast

__all__ = ["BertTokenizerFast"]
