"""A cross-encoder for search: which passages answer a query best?

python examples/rerank.py google-bert/bert-base-uncased
"""

import sys

import bertie

QUESTIONS = {
    "trains to Paris": "The night train reaches Paris at nine.",
    "how to pay": "We send an invoice with each order.",
    "lost parcel": "You can follow a parcel by its number.",
}
# Each query with the passage that answers it, and with those that answer others.
ROWS = [
    {"query": query, "passage": passage, "label": int(QUESTIONS[query] == passage)}
    for query in QUESTIONS
    for passage in QUESTIONS.values()
]

# So few rows are all learned from; of a file, as in finetune(…, "train.csv", …), parts are kept as dev and test.
result = bertie.finetune("reranking", ROWS, model=sys.argv[1], dev=0, test=0)
for hit in result.pipeline("Where is my order?", list(QUESTIONS.values()), top_k=2):
    print(hit)
