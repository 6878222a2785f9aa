"""Distil a model into one with fewer layers, and see how close it comes. Needs a model of yours and a file of texts.

python examples/distil.py TEACHER TEXTS LAYERS OUT
"""

import sys
from pathlib import Path

import bertie

teacher, texts, layers, out = sys.argv[1:]
lines = Path(texts).read_text(encoding="utf-8").splitlines()
found = bertie.distil(teacher, lines, out, layers=int(layers), settings=bertie.Settings(epochs=3), force=True)
print(f"{found.speed_up:.2f} times as fast; mean cosine of {found.texts} texts: {found.cosine_mean:.3f}")
