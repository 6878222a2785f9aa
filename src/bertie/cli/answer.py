"""``bertie answer``: the part of a text that answers a question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import Asked, is_interactive, read_asked
from bertie.cli.writing import answer_all
from bertie.data import Format
from bertie.errors import InputError


def answer(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="A question and its context, two by two; with --context, questions alone."),
    ] = None,
    input: options.Input = None,
    context: Annotated[
        Path | None, typer.Option("--context", "-c", help="A file of text in which all questions are answered.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", min=1, help="Give this many answers.")] = None,
    no_answer: Annotated[
        bool | None,
        typer.Option(
            "--no-answer/--always-answer", help="Whether 'none' may be the answer; the default is the model's."
        ),
    ] = None,
    max_answer_len: Annotated[int | None, typer.Option("--max-answer-len", min=1, help="Tokens of an answer.")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", min=0, help="Tokens that windows share.")] = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    question_column: Annotated[
        str, typer.Option("--question-column", help="The field or column that holds the question.")
    ] = "question",
    context_column: Annotated[
        str, typer.Option("--context-column", help="The field or column that holds the context.")
    ] = "context",
    form: Format,
    output: options.Output = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="What to write: jsonl, csv, tsv, or squad, the answer of each id; the default is what the "
            "name of --output ends in.",
        ),
    ] = None,
) -> None:
    """Answer questions with a part of a text: long texts are read in windows. An empty answer means there is none."""
    pair = context_column if context is None else None
    source = read_asked(texts, input, form, question_column, pair=pair, shown=("question",))
    if context is not None:
        source = _with_context(source, context)
    pipe = open_pipeline(
        "question-answering",
        top_k=top_k,
        handle_impossible_answer=no_answer,
        max_answer_len=max_answer_len,
        overlap=overlap,
        max_length=max_length,
    )
    answer_all(pipe, source, is_interactive(texts, input), _form, to, ("squad",), output, [input, context])


def _with_context(questions: Iterator[Asked], path: Path) -> Iterator[Asked]:
    try:
        context = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The file {str(path)!r} is not UTF-8 text; save it as UTF-8.") from error
    for question in questions:
        yield question._replace(text=(question.text, context))


def _form(text: Any, found: Any) -> dict[str, Any]:
    del text
    return found if isinstance(found, dict) else {"answers": found}
