"""Does the second text follow the first? BERT's own second task, with pairs of yours; 0 says that it does.

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

# So few rows are all learned from; of a file, as in finetune(…, "train.csv", …), parts are kept as dev and test.
result = bertie.finetune("next-sentence", ROWS, model=sys.argv[1], dev=0, test=0)
print(result.pipeline([("How do I pay?", "By card, if you like.")]))
