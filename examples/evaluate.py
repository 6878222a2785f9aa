"""Score a model on labelled rows, with confidence intervals. Files of any size are read in constant memory.

python examples/evaluate.py runs/classifier test.csv
"""

import sys

import bertie

found = bertie.evaluate("text-classification", sys.argv[2], model=sys.argv[1], worst=3)
for name, value in found.metrics.items():
    print(f"{name:<12} {value}  {found.intervals[name]}")
for row in found.table:
    print(row)
print("the worst mistakes:")
for mistake in found.scored.mistakes:
    print(f"  {mistake.where}: {mistake.text!r} is {mistake.gold}, not {mistake.predicted}")
