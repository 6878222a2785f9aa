"""Training a vocabulary with bertie and with ``tokenizers``, in turn: time, size, and whether it is reproducible.

python benchmarks/vocabulary.py ../shared/data/corpus.jsonl.xz --rounds 3
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

import bertie
from bertie.data import records

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def of_bertie(texts: list[str], size: int) -> list[str]:
    return sorted(bertie.BertTokenizer().train_new_from_iterator(texts, size).get_vocab())


def of_tokenizers(texts: list[str], size: int) -> list[str]:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return sorted(tokenizer.get_vocab())


TRAINERS: dict[str, Callable[[list[str], int], list[str]]] = {"bertie": of_bertie, "tokenizers": of_tokenizers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="documents with a field 'text'")
    parser.add_argument("--size", type=int, default=30_522)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    texts = [str(row.fields["text"]) for row in records(asked.file)]
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    found: dict[str, list[list[str]]] = {name: [] for name in TRAINERS}
    for _ in range(asked.rounds):
        for name, train in TRAINERS.items():
            begin = time.perf_counter()
            found[name].append(train(texts, asked.size))
            seconds[name].append(time.perf_counter() - begin)
    print(f"{sum(map(len, texts)) / 1e6:.0f} million characters, {asked.size} entries asked, {asked.rounds} rounds")
    for name in TRAINERS:
        sizes = sorted({len(one) for one in found[name]})
        different = len({tuple(one) for one in found[name]})
        print(f"{name:<12} {median(seconds[name]):6.1f} s   sizes {sizes}   different vocabularies: {different}")
    print(f"tokenizers / bertie: {median(seconds['tokenizers']) / median(seconds['bertie']):.2f}")


if __name__ == "__main__":
    main()
