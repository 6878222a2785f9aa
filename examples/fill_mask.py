"""Predict the word at a [MASK]. Takes a folder, or a name on the hub, of a BERT with a masked-LM head:

python examples/fill_mask.py google-bert/bert-base-uncased
"""

import sys

import bertie

fill = bertie.pipeline("fill-mask", model=sys.argv[1], top_k=3)
for text in ("She opened the [MASK] and walked into the garden.", "He drank a cup of [MASK]."):
    print(text)
    for candidate in fill(text):
        print(f"  {candidate['score']:.2f}  {candidate['token_str']}")
