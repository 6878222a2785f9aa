"""Assign any number of labels to a text, each with its own threshold.

python examples/several_labels.py google-bert/bert-base-uncased emotions.csv
"""

import sys

import bertie

model, table = sys.argv[1:3]  # the table has the columns text and labels, such as joy|surprise
result = bertie.finetune("text-classification", table, model=model, class_weights="auto")
print("thresholds:", result.pipeline.codec.thresholds)
print(result.pipeline(["What a surprise, how lovely!"]))  # the labels that reach their thresholds
print(result.pipeline(["What a surprise, how lovely!"], top_k=None))  # all of them
