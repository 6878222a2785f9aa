"""``bertie.models.bert…`` has the modules and names of ``transformers.models.bert…``."""

import importlib

import pytest

import bertie

MODULES = ("modeling_bert", "configuration_bert", "tokenization_bert", "tokenization_bert_legacy")


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_the_classes_of_the_reference(module):
    theirs = importlib.import_module(f"transformers.models.bert.{module}")
    ours = importlib.import_module(f"bertie.models.bert.{module}")
    classes = {
        name for name, value in vars(theirs).items() if isinstance(value, type) and value.__module__ == theirs.__name__
    }
    for name in classes - {"WordpieceTokenizer"}:  # a part of the pure-Python tokenizer that bertie lacks
        assert isinstance(getattr(ours, name), type)
        assert name not in bertie.__all__ or getattr(ours, name) is getattr(bertie, name)


def test_the_package_has_all_classes():
    from bertie.models.bert import BertConfig, BertForMaskedLM, BertLayer, BertModel, BertTokenizer, modeling_bert

    assert (BertConfig, BertForMaskedLM) == (bertie.BertConfig, bertie.BertForMaskedLM)
    assert (BertModel, BertTokenizer) == (bertie.BertModel, bertie.BertTokenizer)
    assert BertLayer is modeling_bert.BertLayer
    with pytest.raises(AttributeError, match="has no attribute 'BertForEverything'"):
        importlib.import_module("bertie.models.bert").BertForEverything  # noqa: B018


def test_the_module_of_transformers_4():
    from bertie.models.bert.tokenization_bert_fast import BertTokenizerFast

    assert BertTokenizerFast is bertie.BertTokenizerFast


@pytest.mark.parametrize("name", ["AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification"])
def test_auto_classes_are_where_the_reference_has_them(name):
    from bertie.models import auto

    assert getattr(auto, name) is getattr(bertie, name)
