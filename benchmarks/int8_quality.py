"""The quality of int8 vectors on texts not used for calibration: the worst cosine to float32 on each instruction set.

python benchmarks/int8_quality.py ../shared/data
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

import bertie
from bertie.engine import Engine
from bertie.hub import default_embedding_model
from bertie.kernels import library
from bertie.tasks.features import Features

# data set → its column of texts
UNSEEN = {"sentiment": "text", "similarity": "sentence1", "reviews": "text", "emotions": "text"}


def texts_of(folder: Path, count: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each data set and ``count`` of its texts, spread evenly, of 250 words at most."""
    for name, column in UNSEEN.items():
        with (folder / name / "dev.csv").open(encoding="utf-8", newline="") as file:
            texts = [" ".join(row[column].split()[:250]) for row in csv.DictReader(file)]
        yield name, texts[:: max(1, len(texts) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=200, help="texts of each data set")
    options = parser.parse_args()
    folder = str(default_embedding_model())
    tokenizer = bertie.AutoTokenizer.from_pretrained(folder)
    model = bertie.BertModel.from_pretrained(folder)
    small = bertie.quantize(model, tokenizer=tokenizer)  # calibrated on the bundled book
    for name, texts in texts_of(options.data, options.count):
        rows = Features.from_rows(tokenizer.rows(texts, truncation=True, max_length=256))
        wanted = vectors(Engine.of(model), rows)
        for instruction_set in library.instruction_sets():
            with patch.object(library, "best", return_value=instruction_set):
                found = vectors(Engine.of(small), rows)
            cosine = (found * wanted).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)
            print(f"{name:<11} {len(texts):>4} texts  {instruction_set.name:<11} worst {cosine.min():.4f}", flush=True)


def vectors(engine: Engine, rows: Features) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return the mean and the first-token vector of each text, ``[N, 2, D]``."""
    parts = rows.by_row(engine.hidden_states(rows))
    return np.stack([np.stack([part.mean(axis=0), part[0]]) for part in parts])


if __name__ == "__main__":
    main()
