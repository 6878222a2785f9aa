"""Choose among texts: which of them goes on with a prompt?

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

# So few rows are all learned from; of a file, as in finetune(…, "train.csv", …), parts are kept as dev and test.
result = bertie.finetune("multiple-choice", ROWS, model=sys.argv[1], dev=0, test=0)
print(result.pipeline("She opened the letter.", ["It was from her sister.", "The soup was cold."]))
