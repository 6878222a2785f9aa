"""Documents to ids: ``bertie prepare`` and ``datasets.map`` with the fast tokenizer of transformers, in turn.

python benchmarks/preparing.py ../shared/data/corpus.jsonl.xz --tokenizer ../shared/models/bertie-mini-uncased

Both start from documents as JSON lines, in one process each. ``datasets.map`` tokenizes the texts and writes the ids to
disk, as in `run_mlm`; it neither splits sentences nor drops duplicates. Seconds are processor time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bertie.data import records

OF_BERTIE = """
import sys
from pathlib import Path
import bertie
from bertie.data.running_text import Documents
from bertie.pretraining.preparation import prepare
file, tokenizer, out = sys.argv[1:]
prepare(Documents([file]), bertie.BertTokenizer.from_pretrained(tokenizer), Path(out), heldout=0)
"""
OF_DATASETS = """
import sys
import datasets
import transformers
file, tokenizer, out = sys.argv[1:]
fast = transformers.BertTokenizerFast.from_pretrained(tokenizer, model_max_length=10**9)
rows = datasets.load_dataset("json", data_files=file, split="train", cache_dir=out)
ids = lambda rows: {"input_ids": fast(rows["text"], add_special_tokens=False)["input_ids"]}
rows.map(ids, batched=True, remove_columns=rows.column_names).save_to_disk(out + "/ids")
"""
WAYS = {"bertie": OF_BERTIE, "datasets": OF_DATASETS}


def seconds_of(program: str, *arguments: str) -> float:
    """Return the processor time of a program in its own process, start included."""
    environment: Mapping[str, str] = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    begin = os.times()
    done = subprocess.run([sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    end = os.times()
    return end.children_user + end.children_system - begin.children_user - begin.children_system


def write_lines(source: Path, folder: Path, characters: int) -> tuple[Path, int]:
    """Write a file's documents as JSON lines, up to so many characters; return the number of characters."""
    path, size = folder / "documents.jsonl", 0
    with path.open("w", encoding="utf-8") as file:
        for row in records(source):
            text = str(row.fields["text"])
            file.write(json.dumps({"text": text}) + "\n")
            size += len(text)
            if size >= characters:
                break
    return path, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="documents with a field 'text'")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--characters", type=int, default=30_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        lines, size = write_lines(asked.file, Path(scratch), asked.characters)
        for number in range(asked.rounds):
            for name, program in WAYS.items():
                out = f"{scratch}/{name}-{number}"
                found[name].append(seconds_of(program, str(lines), asked.tokenizer, out))
    print(f"{size / 1e6:.0f} million characters, {asked.rounds} rounds, one process")
    for name, seconds in found.items():
        print(f"{name:<10} {median(seconds):6.1f} s   {size / 1e6 / median(seconds):5.1f} MB/s")
    print(f"datasets / bertie: {median(found['datasets']) / median(found['bertie']):.2f}")


if __name__ == "__main__":
    main()
