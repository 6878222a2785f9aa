"""Adapt a BERT to your own texts (one per line) by predicting masked words, before you fine-tune it for a task.

python examples/adapt_to_texts.py google-bert/bert-base-uncased letters.txt runs/adapted
"""

import sys

import bertie

model, texts, folder = sys.argv[1:4]
before = bertie.evaluate("fill-mask", texts, model=model)
result = bertie.finetune("fill-mask", texts, model=model, out=folder, epochs=1)
print("masked words before:", before.metrics)
print("masked words after, on held-out texts:", result.metrics)
print(f"next: bertie finetune text-classification --model {folder} …")
