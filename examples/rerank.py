"""Train a cross-encoder to rank passages by how well they answer a query.

python examples/rerank.py google-bert/bert-base-uncased
"""

import sys

import bertie

QUESTIONS = {
    "trains to Paris": "The night train reaches Paris at nine.",
    "how to pay": "We send an invoice with each order.",
    "lost parcel": "You can follow a parcel by its number.",
}
# Each query with the passage that answers it, and with those that answer the others.
ROWS = [
    {"query": query, "passage": passage, "label": int(QUESTIONS[query] == passage)}
    for query in QUESTIONS
    for passage in QUESTIONS.values()
]

# With so few rows, all are used for training; from a file (finetune(…, "train.csv", …)), dev and test are held out.
result = bertie.finetune("reranking", ROWS, model=sys.argv[1], dev=0, test=0)
for hit in result.pipeline("Where is my order?", list(QUESTIONS.values()), top_k=2):
    print(hit)
