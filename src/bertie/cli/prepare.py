"""``bertie prepare``: documents to shards of token ids, for pretraining."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.reading import say_notes
from bertie.cli.verbosity import say
from bertie.errors import counted, plural


def prepare(
    files: Annotated[
        list[str], Argument(help="Documents: .txt, .jsonl, .csv, .tsv, .parquet (also compressed), or folders.")
    ],
    tokenizer: Annotated[str, Option("--tokenizer", "-t", help="A folder or hub name.")],
    out: Annotated[Path, Option("--out", "-o", help="The folder to write; an interrupted run is continued.")],
    documents: Annotated[
        str | None, Option(help="What a document is in plain text: files, blank-lines (between) or lines.")
    ] = None,
    heldout: Annotated[float, Option(min=0, max=0.5, help="The share of documents held out for evaluation.")] = 0.01,
    workers: Annotated[int | None, Option(min=1, help="Processes that tokenize; the default is one per core.")] = None,
    column: options.Column = "text",
    *,
    form: options.FormatOptions,
) -> None:
    """Turn documents into shards of token ids: deduplicated, split into sentences, some held out."""
    import bertie
    from bertie.data.running_text import Documents
    from bertie.pretraining.preparation import prepare
    from bertie.pretraining.shards import PARTS
    from bertie.threads import available_threads

    texts = Documents(files, form.as_format(), column, documents)
    opened = bertie.BertTokenizer.from_pretrained(tokenizer)
    count = workers or available_threads()
    manifest = prepare(texts, opened, out, heldout=heldout, workers=count, sources=", ".join(files))
    say_notes(texts.notes)
    say(*_summary(manifest, PARTS))
    totals = {part: sum(info["tokens"] for info in manifest[part]) for part in PARTS}
    print(json.dumps({"data": str(out), "tokens": totals}))


def _summary(manifest: dict[str, Any], parts: Sequence[str]) -> list[str]:
    read = manifest["documents_read"]
    lines = [
        f"bertie: {counted(read, 'document')} with {counted(manifest['characters'], 'character')} "
        f"{plural(read, 'was', 'were')} read; {counted(manifest['duplicates'], 'duplicate')} and "
        f"{counted(manifest['empty'], 'empty one')} left out"
    ]
    for part, infos in ((part, manifest[part]) for part in parts):
        sums = (counted(sum(info[f"{name}s"] for info in infos), name) for name in ("document", "sentence", "token"))
        lines.append(f"bertie: {part}: {', '.join(sums)}")
    return lines
