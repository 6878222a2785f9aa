"""``bertie embed``: a vector for each text."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bertie.cli import options
from bertie.cli.reading import is_interactive, read_asked
from bertie.cli.writing import answer_all, numbers, refuse_input, write_array
from bertie.data import Format
from bertie.errors import counted
from bertie.writing import FORM_OF_SUFFIX, FORMS


def embed(
    texts: options.Texts = None,
    input: options.Input = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all vectors to this .npy, .jsonl, .csv or .tsv file.")
    ] = None,
    prompt_name: Annotated[str | None, typer.Option("--prompt-name", help="One of the model's prompts.")] = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: Format,
) -> None:
    """Turn each text into a vector; texts of like meaning have like vectors. The default model is all-MiniLM-L6-v2."""
    pipe = open_pipeline(
        "embed",
        prompt_name=prompt_name,
        max_length=max_length,
        split_special_tokens=split_special_tokens,
    )
    source = read_asked(texts, input, form, column)
    if output is None or FORM_OF_SUFFIX.get(output.suffix.lower()) in FORMS:
        answer_all(
            pipe,
            source,
            is_interactive(texts, input),
            lambda _, vector: {"embedding": numbers(vector)},
            output=output,
            read=[input],
        )
        return
    refuse_input(output, input)
    vectors = write_array(output, lambda: pipe([asked.text for asked in source]))
    print(
        f"bertie: {counted(vectors.shape[0], 'vector')} of {vectors.shape[1]} numbers in {output}, a .npy file",
        file=sys.stderr,
    )
