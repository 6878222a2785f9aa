"""Build a summariser from two BERTs (arXiv 1907.12461): an encoder, and a decoder that attends to it.

python examples/bert2bert_summarize.py google-bert/bert-base-uncased articles.jsonl runs/summariser

Without arguments, it starts from the model that comes with bertie and trains on rows generated below. The
cross-attention starts as a copy of the decoder's self-attention.
"""

import sys
from itertools import product

import bertie

NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Shelley", "Niels Bohr", "Lise Meitner")
PLACES = ("Paris", "London", "Rome", "Berlin", "Vienna", "Prague")
DRINKS = ("tea", "coffee", "water")
ROWS = [
    {
        "document": f"In spring {name} took the train to {place}. It rained. There they had {drink} and a rest.",
        "summary": f"{name.split()[1]} went to {place} and had {drink}.",
    }
    for name, place, drink in product(NAMES, PLACES, DRINKS)
]

model, train, folder = sys.argv[1:] or ("bertie-mini-uncased", ROWS, "runs/bert2bert")
result = bertie.finetune(
    "text2text-generation",
    train,
    model=model,  # or (encoder, decoder)
    out=folder,
    options={"label_smoothing": 0.1, "generation": {"num_beams": 4, "no_repeat_ngram_size": 3}},
)
print({name: round(figure, 3) for name, figure in result.metrics.items()})

# the model itself, used as in transformers
sources = result.tokenizer([row["document"] for row in ROWS[:2]], return_tensors="packed")
for summary in result.tokenizer.batch_decode(result.model.generate(sources), skip_special_tokens=True):
    print(summary)
