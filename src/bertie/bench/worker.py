"""The process of one way to run a model: it reads a job, then commands, and answers each with a line of JSON."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# the maximum number of texts that are run singly in a round
MAX_SINGLE = 32


def peak_memory() -> int:
    """Return the peak memory of this process in bytes; 0 where the system does not tell."""
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(OSError):
        # unlike `ru_maxrss`, this does not include the parent's memory before exec
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return 0


def main() -> None:
    # libraries may print: their output goes to standard error, and only answers go through the pipe
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    from bertie.bench.ways import WAYS

    way = next(way for way in WAYS if way.name == job["way"])
    texts, run = job["texts"], way.open(job["model"], job["task"], job["max_length"])

    def seconds(batch: list[str]) -> float:
        begin = time.perf_counter()
        run(batch)
        return time.perf_counter() - begin

    run(texts[:1])
    print("null", file=pipe, flush=True)  # the first answer is ready
    for command in sys.stdin:
        if command.strip() == "answers":
            found: Any = run(texts).tolist()
        else:
            alone = [seconds([text]) for text in texts[:MAX_SINGLE]]
            found = {"all": seconds(texts), "alone": alone, "peak": peak_memory()}
        print(json.dumps(found), file=pipe, flush=True)


if __name__ == "__main__":
    main()
