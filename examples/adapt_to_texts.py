"""Let a BERT guess hidden words of your own texts, one a line, before it learns anything else.

python examples/adapt_to_texts.py google-bert/bert-base-uncased letters.txt runs/adapted
"""

import sys

import bertie

model, texts, folder = sys.argv[1:4]
before = bertie.evaluate("fill-mask", texts, model=model)
result = bertie.finetune("fill-mask", texts, model=model, out=folder, epochs=1)
print("hidden words guessed before:", before.metrics)
print("and now, on texts kept for it:", result.metrics)
print(f"go on with: bertie finetune text-classification --model {folder} …")
