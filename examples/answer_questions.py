"""Answer questions with a span of a text, or say that the text has no answer.

python examples/answer_questions.py google-bert/bert-base-uncased
"""

import sys

import bertie

CONTEXT = "In spring Ada left for Paris. The journey took two days."
ROWS = [
    {"question": "Where did she go?", "context": CONTEXT, "answers": [{"text": "Paris", "answer_start": 23}]},
    {"question": "How long did it take?", "context": CONTEXT, "answers": [{"text": "two days", "answer_start": 47}]},
    {"question": "What did it cost?", "context": CONTEXT, "answers": []},
]

# With so few rows, all are used for training; from a file (finetune(…, "squad.json", …)), dev and test are held out.
result = bertie.finetune("question-answering", ROWS, model=sys.argv[1], dev=0, test=0)

answer = result.pipeline  # "no answer" is possible, because some rows have none; long contexts are read in windows
print(answer(question="When did she leave?", context=CONTEXT))
print(answer(question="When did she leave?", context=CONTEXT, handle_impossible_answer=False, top_k=2))
