"""Shared prepared data: a book, in documents of eight paragraphs."""

import pytest

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.pretraining.preparation import prepare
from bertie.pretraining.shards import Corpus


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, bertie.BertTokenizer]:
    folder = tmp_path_factory.mktemp("book")
    texts = book_texts()
    documents = [" ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    tokenizer = bertie.BertTokenizer().train_new_from_iterator(documents, 800)
    prepare(documents, tokenizer, folder, heldout=0)
    return Corpus(folder), tokenizer
