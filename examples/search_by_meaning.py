"""Turn texts into vectors and find the nearest to a question. The default model is all-MiniLM-L6-v2.

python examples/search_by_meaning.py
"""

import bertie

NOTES = [
    "The invoice for March is due on Friday.",
    "Grandma's birthday party starts at three.",
    "The boiler makes a strange noise again.",
    "Pick up the children from football practice.",
    "The dentist moved my appointment to Tuesday.",
]

embed = bertie.pipeline("embed")
vectors = embed(NOTES)  # one float32 array [N, D]
print(f"{len(NOTES)} notes became an array of shape {vectors.shape}.")

index = bertie.SearchIndex(NOTES, embed)
for question in ("What do I have to pay?", "Something at home is broken.", "a visit to the doctor"):
    best = index.search(question, top_k=1)[0]
    print(f"{question:<30} {best.score:.2f}  {best.text}")
