"""The config, for programs that import transformers' module of this name."""

from bertie.config import BertConfig

__all__ = ["BertConfig"]
