"""Find names in texts: fine-tune on tagged words, or on a CoNLL file, and get spans of your own text.

python examples/finetune_tagger.py google-bert/bert-base-cased
"""

import sys

import bertie

WORDS = ["Ada", "Lovelace", "went", "to", "Paris", "."]
TAGS = ["B-person", "I-person", "O", "O", "B-place", "O"]
ROWS = [
    {"words": WORDS, "tags": TAGS},
    {"words": ["Grace", "Hopper", "stayed", "in", "London", "."], "tags": TAGS},
    {"words": ["Nobody", "went", "home", "."], "tags": ["O", "O", "O", "O"]},
]

# With so few rows, all are used for training; from a file (finetune(…, "train.conll", …)), dev and test are held out.
result = bertie.finetune("token-classification", ROWS, model=sys.argv[1], dev=0, test=0)

text = "Mary Shelley went to Rome."
for entity in result.pipeline(text, aggregation_strategy="first"):
    print(entity["entity_group"], repr(text[entity["start"] : entity["end"]]), round(entity["score"], 2))
