"""``bertie tag``: the entities in each text."""

from itertools import chain
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import is_interactive, read_asked
from bertie.cli.writing import answer_all
from bertie.data import Format


def tag(
    texts: options.Texts = None,
    input: options.Input = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            "--aggregation",
            help="How pieces make words: first, average or max; simple joins pieces; none shows every token. "
            "The default is what the model was saved with, or first.",
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option("--scheme", help="Keep tags within BIO, BIOES, IO, IOB1 or plain; the default is the model's."),
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows/--no-windows", help="Read long texts in windows that overlap, or cut them.")
    ] = True,
    overlap: Annotated[int | None, typer.Option("--overlap", min=0, help="Tokens that windows share.")] = None,
    *,
    open_pipeline: options.OpenPipeline,
    max_length: options.MaxLength = None,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: Format,
    output: options.Output = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="What to write: jsonl, csv, tsv, or of words conll: their tags as a last column; the default is "
            "what the name of --output ends in.",
        ),
    ] = None,
) -> None:
    """Find the entities in each text: their type, their characters, and a score; or the tags of words."""
    pipe = open_pipeline(
        "token-classification",
        aggregation_strategy=aggregation,
        scheme=scheme,
        windows=windows,
        overlap=overlap,
        max_length=max_length,
        split_special_tokens=split_special_tokens,
    )
    if aggregation is None and pipe.codec.aggregation_strategy == "none":
        pipe.codec = pipe.codec.with_options(aggregation_strategy="first")
    source = read_asked(texts, input, form, column, words=True)
    first = next(source, None)
    if first is not None and isinstance(first.text, list):
        from bertie.tasks.token_classification import WordTags

        pipe.codec = WordTags.from_inference_task(pipe.codec).prepare_labels(())
    asked = source if first is None else chain((first,), source)
    answer_all(pipe, asked, is_interactive(texts, input), _form, to, ("conll",), output, [input])


def _form(text: Any, found: Any) -> dict[str, Any]:
    if isinstance(text, list):
        return {"predicted_tags": found}
    return {"entities": [_entity(text, entity) for entity in found]}


def _entity(text: str, entity: dict[str, Any]) -> dict[str, Any]:
    start, end = entity["start"], entity["end"]
    kind = entity.get("entity_group", entity.get("entity"))
    return {"type": kind, "text": text[start:end], "start": start, "end": end, "score": entity["score"]}
