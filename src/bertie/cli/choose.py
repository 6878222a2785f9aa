"""``bertie choose``: which of several texts fits a prompt."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.options import columns_of
from bertie.cli.reading import Asked, is_interactive, standard_input
from bertie.cli.writing import answer_all
from bertie.data import Format, stream_records
from bertie.errors import InputError


def choose(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="A prompt and its choices; without any, --input or standard input is read."),
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="A file of rows with 'prompt' and 'choices' (a list, or a column a choice)."
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, help="Give this many choices, best first.")
    ] = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    windows: options.Windows = None,
    overlap: options.Overlap = None,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Columns = None,
    form: Format,
    output: options.Output = None,
    to: options.To = None,
) -> None:
    """Choose the text that fits a prompt best: an argument for the prompt and each choice, or JSON lines with both."""
    pipe = open_pipeline(
        "multiple-choice",
        top_k=top_k,
        max_length=max_length,
        windows=windows,
        overlap=overlap,
        split_special_tokens=split_special_tokens,
    )
    answer_all(
        pipe,
        _questions(texts, input, form, columns_of(column)),
        is_interactive(texts, input),
        _form,
        to,
        output=output,
        read=[input],
    )


def _questions(
    texts: list[str] | None, path: Path | None, form: Format, columns: dict[str, str | list[str]] | None
) -> Iterator[Asked]:
    """Yield each prompt with its choices.

    Raises:
        InputError: there are fewer than two choices, or a row that has no prompt or choices.
    """
    if texts:
        if path is not None:
            raise InputError("Give a prompt and its choices as arguments or a file with --input, not both.")
        if len(texts) < 3:
            raise InputError(f"Give a prompt and two choices at least; there is only {texts[-1]!r:.60} beside it.")
        question = {"prompt": texts[0], "choices": texts[1:]}
        yield Asked(question, question)
        return
    from bertie.data.dataset import ExampleReader

    rows = ExampleReader(
        "multiple-choice",
        form=form,
        columns=columns,
        needs_label=False,
        name="standard input",
        sample=1,
        keeps_fields=True,
    )
    source: Any = path
    if path is None or str(path) == "-":
        written = replace(form, name=form.name or "jsonl")
        source = (record.fields for record in stream_records(standard_input(), "standard input", written))
    for example in rows.read(source):
        yield Asked(example.text, {**(example.fields or {}), **example.text})


def _form(text: Any, answer: Any) -> dict[str, Any]:
    del text
    return answer if isinstance(answer, dict) else {"best": answer}
