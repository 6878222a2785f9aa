"""All GPU benchmarks, the most needed first, as many as fit the time; each writes its figures into ``$OUT``.

PYTHONPATH=src python benchmarks/gpu/run_all.py --seconds 570
PYTHONPATH=src python benchmarks/gpu/run_all.py --seconds 570 --start train
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# name, script and arguments, seconds it may take at most
STEPS = (
    ("parity", ["parity.py"], 150),
    ("query", ["query.py"], 150),
    ("infer", ["infer.py", "--workloads", "mixed", "128", "512"], 240),
    ("train", ["train.py", "--workloads", "128", "128-mixed", "--dropouts", "0", "0.1"], 300),
    ("train-512", ["train.py", "--workloads", "512"], 200),
    ("many", ["many.py"], 200),
    ("fp8", ["fp8.py"], 200),
    ("infer-large", ["infer.py", "--shape", "large", "--workloads", "mixed"], 200),
    ("infer-modes", ["infer.py", "--workloads", "128", "--modes", "max-autotune-no-cudagraphs"], 400),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="All GPU benchmarks")
    parser.add_argument("--seconds", type=float, default=570, help="no step is started that would not fit in")
    parser.add_argument("--start", default=STEPS[0][0], choices=[name for name, _, _ in STEPS])
    options, passed_on = parser.parse_known_args()
    begin, names = time.monotonic(), [name for name, _, _ in STEPS]
    for name, command, most in STEPS[names.index(options.start) :]:
        left = options.seconds - (time.monotonic() - begin)
        if left < min(most, options.seconds) * 0.5:
            print(f"== the rest waits: continue with --start {name}", flush=True)
            return
        print(f"\n== {name}", flush=True)
        try:
            done = subprocess.run(
                [sys.executable, str(HERE / command[0]), *command[1:], *passed_on], timeout=left, check=False
            )
            print(f"== {name}: {'done' if done.returncode == 0 else f'failed ({done.returncode})'}", flush=True)
        except subprocess.TimeoutExpired:
            print(f"== {name}: stopped, the time is over; continue with --start {name}", flush=True)
            return


if __name__ == "__main__":
    main()
