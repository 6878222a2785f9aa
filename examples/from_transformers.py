"""Run a program written for transformers on bertie by changing its import, then remove padding with a `Packed` batch.

python examples/from_transformers.py google-bert/bert-base-uncased
"""

import sys

import torch

from bertie import AutoModelForMaskedLM, AutoTokenizer  # was: from transformers import ...

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1])
texts = ["The capital of France is [MASK].", "He sat down at the [MASK] and wrote a long letter to his old friend."]

# The familiar way: padded tensors in, padded tensors out. Inside, padding is not computed.
inputs = tokenizer(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits  # [B, S, V]
rows, columns = (inputs["input_ids"] == tokenizer.mask_token_id).nonzero(as_tuple=True)
print("padded:", tokenizer.batch_decode(logits[rows, columns].argmax(-1).unsqueeze(1)))

# The packed way: no padding anywhere, and outputs with one row per token.
packed = tokenizer(texts, return_tensors="packed")
with torch.no_grad():
    logits = model(packed).logits  # [T, V]
masks = packed.input_ids == tokenizer.mask_token_id
print("packed:", tokenizer.batch_decode(logits[masks].argmax(-1).unsqueeze(1)))
print(f"{packed.num_tokens} tokens instead of {inputs['input_ids'].numel()} cells")
