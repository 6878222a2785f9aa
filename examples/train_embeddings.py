"""Train an embedding model on pairs of texts that belong together, and search with it.

python examples/train_embeddings.py sentence-transformers/all-MiniLM-L6-v2
"""

import sys

import bertie

PARTNERS = {
    "Where is my parcel?": "You can follow a parcel by its number.",
    "How do I pay?": "We send an invoice with each order.",
    "Can I send it back?": "Within two weeks, at our expense.",
    "Who can help me?": "Call us from nine to five.",
}
ROWS = [{"anchor": question, "positive": answer} for question, answer in PARTNERS.items()]

# With so few rows, all are used for training; from a file (finetune(…, "train.csv", …)), dev and test are held out.
result = bertie.finetune("embed", ROWS, model=sys.argv[1], dev=0, test=0)
index = bertie.SearchIndex(list(PARTNERS.values()), result.pipeline)
for hit in index.search("I want my money back.", top_k=2):
    print(f"{hit.score:.2f} {hit.text}")
