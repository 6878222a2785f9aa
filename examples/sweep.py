"""Search for the best settings and keep the best model (pip install 'bertie[sweep]'); test is not used to choose.

python examples/sweep.py google-bert/bert-base-uncased train.csv runs/sweep 20
"""

import sys

import bertie

model, table, folder, trials = sys.argv[1:5]
found = bertie.sweep(
    "text-classification",
    table,
    model=model,
    trials=int(trials),
    space={"learning_rate": (1e-5, 2e-4, "log"), "epochs": [1, 2, 3]},
    out=folder,
)
print("best settings:", found.values)
print("accuracy on test:", found.best.metrics["accuracy"])
