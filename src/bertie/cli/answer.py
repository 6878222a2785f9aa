"""``bertie answer``: the part of a text that answers a question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.answering import answer_all
from bertie.cli.opening import open_pipeline
from bertie.cli.reading import Text, is_interactive, read_texts
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
    model: options.Model = None,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
    seed: options.Seed = None,
    max_length: options.MaxLength = None,
    question_column: Annotated[
        str, typer.Option("--question-column", help="The field or column that holds the question.")
    ] = "question",
    context_column: Annotated[
        str, typer.Option("--context-column", help="The field or column that holds the context.")
    ] = "context",
    format: options.Format = None,
    output: options.Output = None,
    to: options.To = "jsonl",
) -> None:
    """Answer questions with a part of a text: long texts are read in windows. An empty answer means there is none."""
    if context is None:
        source = read_texts(texts, input, format, question_column, pair=context_column)
    else:
        source = _with_context(read_texts(texts, input, format, question_column), context)
    pipe = open_pipeline(
        "question-answering",
        model,
        device,
        batch_tokens,
        seed,
        top_k=top_k,
        handle_impossible_answer=no_answer,
        max_answer_len=max_answer_len,
        overlap=overlap,
        max_length=max_length,
    )
    answer_all(pipe, source, is_interactive(texts, input), _form, _record, to=to, output=output, read=[input, context])


def _with_context(questions: Iterator[Text], path: Path) -> Iterator[Text]:
    try:
        context = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The file {str(path)!r} is not UTF-8 text; save it as UTF-8.") from error
    for question in questions:
        yield str(question), context


def _form(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {"answers": found}


def _record(pair: tuple[str, str], found: dict[str, Any]) -> dict[str, Any]:
    return {"question": pair[0], **found}
