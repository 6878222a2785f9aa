"""Compare cutting long texts with reading them in overlapping windows, in training and use.

python examples/long_texts.py google-bert/bert-base-uncased reviews.csv
"""

import sys

import bertie

cut = bertie.finetune("text-classification", sys.argv[2], model=sys.argv[1], epochs=2)
whole = bertie.finetune("text-classification", sys.argv[2], model=sys.argv[1], epochs=2, windows=True)
print("cut:  ", cut.metrics["accuracy"], *cut.warnings)
print("whole:", whole.metrics["accuracy"], *whole.warnings)
