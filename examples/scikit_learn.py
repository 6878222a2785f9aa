"""Use a BERT with scikit-learn (pip install 'bertie[sklearn]'), here with cross-validation.

python examples/scikit_learn.py google-bert/bert-base-uncased train.csv
"""

import csv
import sys

from sklearn.model_selection import cross_val_score

from bertie import BertClassifier

with open(sys.argv[2], encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]

classifier = BertClassifier(model=sys.argv[1], epochs=3)
print("accuracy of each fold:", cross_val_score(classifier, texts, labels, cv=3))
print(classifier.fit(texts, labels).predict(["Not a dull minute.", "The ending is dull."]))
