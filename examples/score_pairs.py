"""Predict how similar two texts are. A file with the same columns works too.

python examples/score_pairs.py google-bert/bert-base-uncased
"""

import sys

import bertie

ROWS = [
    {"sentence1": "A plane is taking off.", "sentence2": "An air plane takes off.", "score": 5.0},
    {"sentence1": "A man is playing a flute.", "sentence2": "A man plays an instrument.", "score": 3.5},
    {"sentence1": "A woman slices an onion.", "sentence2": "Someone is cutting vegetables.", "score": 3.0},
    {"sentence1": "A dog runs on the beach.", "sentence2": "Stocks fell sharply today.", "score": 0.0},
]

# With so few rows, all are used for training; from a file (finetune(…, "train.csv", …)), dev and test are held out.
result = bertie.finetune("text-classification", ROWS, model=sys.argv[1], kind="regression", dev=0, test=0)
pairs = [
    {"text": "A plane is landing.", "text_pair": "An aircraft lands."},
    {"text": "Good morning.", "text_pair": "1917"},
]
print([answer["score"] for answer in result.pipeline(pairs)])
