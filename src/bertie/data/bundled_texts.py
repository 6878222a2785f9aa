"""The texts that come with the package: a novel, and film sentences labelled as praise or complaint."""

import lzma
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

_BOOK = "treasure_island.txt.xz"
_FILM_SENTENCES = ("film_sentences_train.csv.xz", "film_sentences_dev.csv.xz")
# The numbers of sentences of the texts taken from the book, whose lengths are thus as mixed as in practice.
_SENTENCES = (1, 1, 2, 3, 1, 2, 5, 8)


def book_sentences() -> list[str]:
    """Return the sentences of Treasure Island, in order."""
    return lzma.decompress(_bundled(_BOOK).read_bytes()).decode("utf-8").splitlines()


def book_texts(count: int = 256) -> list[str]:
    """Return texts of one to eight sentences, spread evenly over the book."""
    sentences = book_sentences()
    step = len(sentences) // count
    return [
        " ".join(sentences[number * step : number * step + _SENTENCES[number % len(_SENTENCES)]])
        for number in range(count)
    ]


@contextmanager
def film_sentences() -> Iterator[tuple[Path, Path]]:
    """Yield the files of labelled sentences about films: for training, and for evaluation."""
    with ExitStack() as stack:
        train, test = (stack.enter_context(as_file(_bundled(name))) for name in _FILM_SENTENCES)
        yield train, test


def _bundled(name: str) -> Traversable:
    return files("bertie.data").joinpath("bundled", name)
