"""The options that commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

Texts = Annotated[list[str] | None, typer.Argument(help="Texts; without any, --input or standard input is read.")]
Input = Annotated[
    Path | None,
    typer.Option("--input", "-i", help="A file: .jsonl, .csv, .tsv or .parquet (see --column), else one text a line."),
]
Format = Annotated[
    str | None, typer.Option("--format", help="lines, jsonl, csv, tsv, … where the file's name does not say it.")
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="What parts the columns of a table, such as '|', ';' or tab.")
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Of files that are not UTF-8, such as cp1252.")]
Quoting = Annotated[
    str | None, typer.Option("--quoting", help="csv; or none, where quotation marks in a table are plain text.")
]
Column = Annotated[str, typer.Option("--column", help="The field or column that holds the text.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="A folder, or a model's name in the hub.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; the default is CUDA if there is any.")]
BatchTokens = Annotated[
    int | None, typer.Option("--batch-tokens", min=1, help="The most tokens in a batch; the default suits the device.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of all random numbers.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many answers to give.")]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", min=3, help="Tokens read of a text; the default is the model's limit.")
]
SplitSpecial = Annotated[
    bool,
    typer.Option("--split-special-tokens", help="Read \\[SEP] and the like in a text as plain text."),
]
PairColumn = Annotated[str, typer.Option("--pair-column", help="The field or column that holds the second text.")]
Windows = Annotated[
    bool | None,
    typer.Option("--windows/--no-windows", help="Read long texts in windows that overlap, or cut them."),
]
Overlap = Annotated[int | None, typer.Option("--overlap", min=0, help="Tokens that neighbouring windows share.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="What a column is: ROLE=NAME, such as text=Body; may be repeated.")
]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="The column of the text.")]
TextPairColumn = Annotated[str | None, typer.Option("--text-pair-column", help="The column of the second text.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="The column of the label.")]
LabelNames = Annotated[
    str | None,
    typer.Option("--label-names", help="What lists of 0 and 1, or class numbers, stand for, with commas: spam,ham."),
]
LabelMap = Annotated[
    list[str] | None,
    typer.Option("--label-map", help="What a label is called: WRITTEN=NAME, such as 1=spam; may be repeated."),
]
FirstChoice = Annotated[
    int | None, typer.Option("--first-choice", help="Whether labels count choices from 0 or from 1.")
]
OnBadRow = Annotated[str, typer.Option("--on-bad-row", help="error, or skip to leave out and count what is unusable.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the answers to this file, which is replaced when all are there."),
]
To = Annotated[
    str | None,
    typer.Option("--to", help="What to write: jsonl, csv or tsv; the default is what the name of --output ends in."),
]
