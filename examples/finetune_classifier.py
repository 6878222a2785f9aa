"""From a CSV file to a classifier: fine-tune it, score it on rows it hasn't seen, and use it.

python examples/finetune_classifier.py google-bert/bert-base-uncased train.csv runs/classifier
"""

import sys

import bertie

model, table, folder = sys.argv[1:4]
# A tenth of the rows is held out for scoring, a tenth of the rest to choose the best epoch and the temperature.
result = bertie.finetune("text-classification", table, model=model, out=folder)

accuracy, interval = result.metrics["accuracy"], result.intervals["accuracy"]
print(f"accuracy {accuracy:.3f}, between {interval[0]:.3f} and {interval[1]:.3f} in 95 % of other samples")
print(f"the report: {folder}/report.md")

classify = bertie.pipeline("text-classification", model=folder)  # also in another program, later
for answer in classify(["Not a dull minute.", "Two hours of my life I will not get back."]):
    print(answer)
