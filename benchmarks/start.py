"""Process start to first vector, one short query, and peak memory: bertie and scripts that do the same.

Each program is a fresh process, as a shell would start it; they take turns, and the median counts.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
TEXT = "How many people live in Berlin today?"
QUERIES = 200
FIND_MODEL = "from bertie.hub import default_embedding_model\nprint(default_embedding_model())"
CONVERT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import workloads
from comparison.engines.onnx_runtime import convert
from comparison.job import Job
cache = Path(sys.argv[1]) / ".cache"
job = Job(workloads.make("start", True, cache), "start", 1, "cpu", str(cache))
if not job.converted.exists():
    job.converted.mkdir(parents=True)
    convert(job, job.converted)
print(job.converted)
"""
BERTIE = "import bertie\nanswer = bertie.pipeline('embed', {model!r})"
TRANSFORMERS = """
import torch
from transformers import AutoModel, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained({model!r}), AutoModel.from_pretrained({model!r}).eval()
def answer(text):
    with torch.inference_mode():
        hidden = model(**tokenizer(text, return_tensors='pt')).last_hidden_state
        return torch.nn.functional.normalize(hidden.mean(1))[0].numpy()
"""
ONNX_RUNTIME = """
import os
import numpy as np, onnxruntime, tokenizers
tokenizer = tokenizers.Tokenizer.from_file({model!r} + '/tokenizer.json')
tokenizer.no_padding()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ['OMP_NUM_THREADS'])
session = onnxruntime.InferenceSession({onnx!r} + '/model.onnx', options, providers=['CPUExecutionProvider'])
def answer(text):
    ids = np.array([tokenizer.encode(text).ids], np.int64)
    return session.run(None, {{'input_ids': ids, 'attention_mask': np.ones_like(ids)}})[0][0]
"""
TIMED = """
import statistics, time
for _ in range(20):
    answer({text!r})
times = []
for _ in range({queries}):
    begin = time.perf_counter()
    answer({text!r})
    times.append(time.perf_counter() - begin)
print(statistics.median(times))
"""


class Ran(NamedTuple):
    """A process: wall-clock and processor time in seconds, peak memory in MB, and what it printed."""

    seconds: float
    processor: float
    memory: float
    printed: str


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    made = programs()
    starts = {name: [sys.executable, "-c", f"{code}\nanswer({TEXT!r})"] for name, code in made.items()}
    starts["bertie embed"] = [str(Path(sys.executable).with_name("bertie")), "embed", TEXT]
    timed = TIMED.format(text=TEXT, queries=QUERIES)
    queries = {name: [sys.executable, "-c", code + timed] for name, code in made.items()}
    found = in_turn(starts, options.rounds)
    print(f"process start to first vector, {options.threads} threads, medians of {options.rounds} rounds in turn")
    print(f"{'':16}{'seconds':>9}{'×':>7}{'processor':>11}{'peak MB':>9}")
    first = median(ran.seconds for ran in found["bertie"])
    for name, runs in found.items():
        seconds, processor, memory = (median(values) for values in zip(*(run[:3] for run in runs), strict=True))
        print(f"{name:16}{seconds:9.3f}{seconds / first:7.2f}{processor:11.3f}{memory:9.0f}")
    found = in_turn(queries, options.rounds)
    print(f"\none query, median of {QUERIES} in each round")
    print(f"{'':16}{'ms':>9}{'×':>7}")
    times = {name: median(float(run.printed) for run in runs) for name, runs in found.items()}
    for name, seconds in times.items():
        print(f"{name:16}{seconds * 1e3:9.3f}{seconds / times['bertie']:7.2f}")


def programs() -> dict[str, str]:
    """Return the code that defines ``answer``, for each program whose packages are installed."""
    model = printed_by(FIND_MODEL)
    found = {"bertie": BERTIE.format(model=model)}
    if importlib.util.find_spec("transformers"):
        found["transformers"] = TRANSFORMERS.format(model=model)
    if importlib.util.find_spec("onnxruntime"):
        found["onnxruntime"] = ONNX_RUNTIME.format(model=model, onnx=printed_by(CONVERT, str(HERE)))
    return found


def in_turn(commands: dict[str, list[str]], rounds: int) -> dict[str, list[Ran]]:
    """Return the measurements of each command in each round but the first."""
    found: dict[str, list[Ran]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            ran = run(command)
            if number:
                found[name].append(ran)
    return found


def run(command: list[str]) -> Ran:
    """Run a command; this process stays small, since its memory counts as its child's first.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, printed)


def printed_by(code: str, *arguments: str) -> str:
    """Return the last line that a Python program prints."""
    return run([sys.executable, "-c", code, *arguments]).printed.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
