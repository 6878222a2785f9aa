"""A training run that may be stopped at any time: the same call continues it and ends with the same weights.

python examples/resume.py google-bert/bert-base-uncased train.csv runs/long
"""

import sys

import bertie

model, table, folder = sys.argv[1:4]
settings = bertie.Settings(epochs=3, save_minutes=1.0, seed=7)
try:
    # resume=True starts a new run if there is none in the folder
    result = bertie.finetune("text-classification", table, model=model, out=folder, settings=settings, resume=True)
except KeyboardInterrupt:
    sys.exit(f"Stopped. Run this again to continue in {folder}.")
print(f"{result.history.step} steps, accuracy {result.metrics['accuracy']}")
