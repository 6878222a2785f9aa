"""Run a program written for sentence-transformers on bertie's engine, with one more line.

python examples/accelerate.py sentence-transformers/all-MiniLM-L6-v2
"""

import sys
import time

import numpy as np
from sentence_transformers import SentenceTransformer

import bertie

texts = ["How do I bake bread without yeast?", "Soda bread rises without any.", "The boiler is leaking again."] * 20
model = SentenceTransformer(sys.argv[1], device="cpu")


def timed() -> np.ndarray:
    """Return the vectors of the texts, and print how long they took."""
    begun = time.process_time()
    vectors = model.encode(texts)
    print(f"{time.process_time() - begun:.2f} s of processor time")
    return vectors


before = timed()
bertie.accelerate(model)  # the one line
print("equal:", np.allclose(before, timed(), rtol=0, atol=1e-5))
