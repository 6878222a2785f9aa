"""Answer questions with a part of a text, and say so where the text has no answer.

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

# So few rows are all learned from; of a file, as in finetune(…, "squad.json", …), parts are kept as dev and test.
result = bertie.finetune("question-answering", ROWS, model=sys.argv[1], dev=0, test=0)

answer = result.pipeline  # "no answer" is allowed, since some rows have none; long contexts are read in windows
print(answer(question="When did she leave?", context=CONTEXT))
print(answer(question="When did she leave?", context=CONTEXT, handle_impossible_answer=False, top_k=2))
