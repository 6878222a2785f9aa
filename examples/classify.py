"""Label texts with a fine-tuned classifier, without padding, and see which texts were cut.

python examples/classify.py folder-of-your-classifier
"""

import sys

import bertie

classify = bertie.pipeline("text-classification", model=sys.argv[1])
texts = ["A moving, beautifully acted film.", "Two hours of my life I will not get back.", "good " * 1000]
for text, answer in zip(texts, classify(texts), strict=True):
    note = f"  ({answer['truncated']} tokens did not fit and were cut off)" if "truncated" in answer else ""
    print(f"{answer['label']:<10} {answer['score']:.2f}  {text[:50]}{note}")
