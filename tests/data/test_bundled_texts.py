"""The texts that come with the package are complete and labelled, and their sources are named."""

import csv
import lzma

from bertie.data.bundled_texts import book_sentences, book_texts, film_sentences


def test_the_film_sentences() -> None:
    texts = set()
    with film_sentences() as parts:
        for path, rows in zip(parts, (2400, 500), strict=True):
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                found = list(csv.DictReader(lines))
            assert len(found) == rows
            assert {row["label"] for row in found} == {"positive", "negative"}
            texts |= {row["text"] for row in found}
        about = (parts[0].parent / "film_sentences.md").read_text(encoding="utf-8")
    assert len(texts) > 2890
    assert "Bo Pang and Lillian Lee" in about
    assert "CC BY 4.0" in about


def test_the_book() -> None:
    book = book_sentences()
    assert len(book) == 3117
    assert all(len(line.split()) >= 6 for line in book)


def test_texts_of_several_sentences() -> None:
    texts = book_texts()
    assert len(texts) == 256
    assert sum(len(text.split()) for text in texts) == 15014  # other texts would have other figures in the benchmarks
    assert (texts[0], texts[6]) == (book_sentences()[0], " ".join(book_sentences()[72:77]))
