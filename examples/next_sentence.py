"""Predict whether the second text follows the first (label 0): BERT's second pretraining task, on your own pairs.

python examples/next_sentence.py google-bert/bert-base-uncased
"""

import sys

import bertie

ROWS = [
    {"sentence1": "How do I pay?", "sentence2": "We send an invoice with each order.", "label": 0},
    {"sentence1": "How do I pay?", "sentence2": "You can follow it by its number.", "label": 1},
    {"sentence1": "Where is my parcel?", "sentence2": "You can follow it by its number.", "label": 0},
    {"sentence1": "Where is my parcel?", "sentence2": "We send an invoice with each order.", "label": 1},
]

# With so few rows, all are used for training; from a file (finetune(…, "train.csv", …)), dev and test are held out.
result = bertie.finetune("next-sentence", ROWS, model=sys.argv[1], dev=0, test=0)
print(result.pipeline([("How do I pay?", "By card, if you like.")]))
