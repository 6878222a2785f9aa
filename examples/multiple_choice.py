"""Choose the text that continues a prompt.

python examples/multiple_choice.py google-bert/bert-base-uncased
"""

import sys

import bertie

ROWS = [
    {
        "prompt": "She took the train to Paris.",
        "choices": ["Soon she saw the Seine.", "The soup was cold."],
        "label": 0,
    },
    {
        "prompt": "He opened the tin.",
        "choices": ["It began to snow.", "The cat came at once.", "He woke up."],
        "label": 1,
    },
]

# With so few rows, all are used for training; from a file (finetune(…, "train.csv", …)), dev and test are held out.
result = bertie.finetune("multiple-choice", ROWS, model=sys.argv[1], dev=0, test=0)
print(result.pipeline("She opened the letter.", ["It was from her sister.", "The soup was cold."]))
