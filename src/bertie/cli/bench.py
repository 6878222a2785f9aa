"""``bertie bench``: the speed of your own model on your own texts, in each way to run it here."""

import random
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated

from typer import Option

from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.cli.verbosity import say
from bertie.errors import InputError, counted
from bertie.messages import printable
from bertie.threads import available_threads


def bench(
    model: options.Model = None,
    input: options.Input = None,
    texts: Annotated[int, Option(min=1, help="Texts in a round; a sample is drawn if there are more.")] = 256,
    rounds: Annotated[int, Option(min=1, help="How often each way is timed.")] = 3,
    threads: Annotated[int | None, Option(min=1, help="For each way; the default is all.")] = None,
    max_length: options.MaxLength = None,
    output: Annotated[Path | None, Option("--output", "-o", help="Write all figures to this JSON file.")] = None,
    *,
    column: options.Column = "text",
    form: options.FormatOptions,
) -> None:
    """Time a model on a CPU in each way to run it: throughput, latency of one text, start-up time and peak memory.

    The ways are bertie, bertie in int8, and sentence-transformers or transformers where installed. Each runs in its own
    process, and they take turns. The default model is all-MiniLM-L6-v2.
    """
    given = [row.text for row in islice(InputOptions(None, input).read(form, column), 100_000) if row.text]
    if not given:
        raise InputError("There is no text to run; give a file with --input, or texts on standard input.")
    from bertie.bench.compare import compare, table
    from bertie.compression.folder import open_model
    from bertie.files import write_json
    from bertie.hub import default_embedding_model

    opened = open_model(str(model or default_embedding_model()))
    task = "classify" if type(opened.model).__name__ == "BertForSequenceClassification" else "embed"
    sample = given if len(given) <= texts else random.Random(0).sample(given, texts)
    threads = threads or available_threads()
    counts = [counted(len(sample), "text"), counted(rounds, "round"), counted(threads, "thread")]
    say(f"{task}: {', '.join(counts)}")
    found = compare(opened, sample, task, rounds, threads=threads, max_length=max_length)
    print("\n".join(map(printable, table(found, len(sample)).splitlines())))
    if output is not None:
        write_json(output, {"texts": len(sample), "figures": [asdict(one) for one in found]})
