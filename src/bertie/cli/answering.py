"""Commands that answer each text by itself; each opens its pipeline and names the field of its answers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.reading import InputOptions, InputRow, standard_input
from bertie.cli.verbosity import say
from bertie.cli.writing import OutputOptions, ShardedOutput, format_option, refuse_input, shortest_floats, write_array
from bertie.errors import InputError, counted
from bertie.messages import wrong_byte
from bertie.writing import FORMAT_OF_SUFFIX, FORMATS, refuse_workbook


@dataclass(frozen=True)
class VectorOutput(ShardedOutput):
    """`OutputOptions`, and all vectors as one array, which is the default for a file of any other suffix."""

    to: Annotated[str | None, format_option("jsonl, csv, tsv, parquet, or npy, all vectors as one array")] = None
    extra_forms: ClassVar = ("npy",)

    def array_file(self) -> Path | None:
        """Return the file for all vectors as one array; None: each vector is written beside its text."""
        if self.to is None:
            refuse_workbook(self.output)
        named = None if self.output is None else FORMAT_OF_SUFFIX.get(self.output.suffix.lower())
        form = self.to or ("jsonl" if self.output is None or named in FORMATS else "npy")
        if form == "npy" and self.output is None:
            raise InputError("--to npy needs --output, the file of the array.")
        return self.output if form == "npy" else None


def embed(
    source: InputOptions,
    prompt_name: Annotated[str | None, Option(help="One of the model's prompts.")] = None,
    truncate_dim: Annotated[int | None, Option(min=1, help="Keep this many leading numbers of each vector.")] = None,
    precision: Annotated[
        str, Option(help="Of a .npy file: float32, int8, uint8, or packed bits: binary, ubinary.")
    ] = "float32",
    *,
    model: options.TextOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: VectorOutput,
) -> None:
    """Turn each text into a vector; texts of similar meaning get similar vectors.

    The default model is all-MiniLM-L6-v2.
    """
    from bertie.tasks.embedding_precision import PRECISIONS, quantize_embeddings
    from bertie.tokenization.arguments import one_of

    one_of("--precision", precision, PRECISIONS)
    rows = source.read(form, column)
    pipe = model.pipeline("embed", prompt_name=prompt_name, truncate_dim=truncate_dim)
    file = output.array_file()
    if file is None:
        if precision != "float32":
            raise InputError(
                f"--precision {precision} is only for vectors written as one array; add --output FILE.npy."
            )
        output.write(pipe, source, rows, "embedding", lambda _, vector: shortest_floats(vector))
        return
    refuse_input(file, source.input)
    vectors = write_array(file, lambda: quantize_embeddings(pipe([one.text for one in rows]), precision))
    say(f"bertie: {counted(vectors.shape[0], 'vector')} of {vectors.shape[1]} numbers in {file}, a .npy file")


def next_sentence(
    source: InputOptions,
    *,
    model: options.LengthOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Predict whether one text follows another: two arguments, fields 'text' and 'text_pair', or lines with a tab.

    The default model is bertie-mini-uncased, which comes with bertie.
    """
    columns = {"text": "text", "text_pair": "text_pair"} | options.text_columns(column, "text", "text_pair")
    rows = source.read(form, columns["text"], columns["text_pair"])
    output.write(model.pipeline("next-sentence"), source, rows, "answer")


@dataclass(frozen=True)
class TagOptions(options.WindowOptions):
    """`WindowOptions`, with windows by default."""

    windows: options.Windows = True


@dataclass(frozen=True)
class TagOutput(ShardedOutput):
    """`OutputOptions`, and CoNLL."""

    to: Annotated[str | None, format_option("jsonl, csv, tsv, parquet, or conll: words with their tags")] = None
    extra_forms: ClassVar = ("conll",)


def tag(
    source: InputOptions,
    aggregation: Annotated[
        str | None,
        Option(
            help="How word pieces are combined: first, average or max; simple joins pieces; none shows every token. "
            "The default is the one saved with the model, or first."
        ),
    ] = None,
    scheme: Annotated[
        str | None, Option(help="Keep tags within BIO, BIOES, IO, IOB1 or plain; the default is the model's.")
    ] = None,
    *,
    model: TagOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: TagOutput,
) -> None:
    """Find the entities in each text, with type, character offsets and score; or tag lists of words."""
    rows = source.read(form, column, words=True)
    pipe = model.pipeline("token-classification", aggregation_strategy=aggregation, scheme=scheme)
    if aggregation is None and pipe.codec.aggregation_strategy == "none":
        pipe.codec = pipe.codec.with_options(aggregation_strategy="first")
    first = next(rows, None)
    if first is not None and isinstance(first.text, list):
        from bertie.tasks.token_classification import WordTags

        pipe.codec = WordTags.from_inference_task(pipe.codec).prepare_labels(())
    output.write(pipe, source, rows if first is None else chain((first,), rows), "entities", _entities)


def _entities(text: str | list[str], found: Any) -> Any:
    if isinstance(text, list):
        return {"predicted_tags": found}
    return [
        {
            "type": one.get("entity_group", one.get("entity")),
            "text": text[one["start"] : one["end"]],
            "start": one["start"],
            "end": one["end"],
            "score": one["score"],
        }
        for one in found
    ]


@dataclass(frozen=True)
class QuestionInput(InputOptions):
    """Questions with their contexts."""

    texts: Annotated[
        list[str] | None,
        Argument(help="A question and its context, two by two; with --context, questions alone."),
    ] = None


@dataclass(frozen=True)
class AnswerOutput(OutputOptions):
    """`OutputOptions`, and the format of SQuAD's evaluation script."""

    to: Annotated[str | None, format_option("jsonl, csv, tsv, parquet, or squad, the answer of each id")] = None
    extra_forms: ClassVar = ("squad",)


def answer(
    source: QuestionInput,
    context: Annotated[
        Path | None, Option("--context", "-c", help="A text file in which to answer all questions.")
    ] = None,
    top_k: Annotated[int | None, Option("--top-k", "-k", min=1, help="Give this many answers.")] = None,
    no_answer: Annotated[
        bool | None,
        Option("--no-answer/--always-answer", help="Whether there may be no answer; the default is the model's."),
    ] = None,
    max_answer_len: Annotated[int | None, Option(min=1, help="Maximum number of tokens in an answer.")] = None,
    overlap: options.Overlap = None,
    *,
    model: options.LengthOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
    output: AnswerOutput,
) -> None:
    """Answer questions with a span of a text. Long texts are read in windows. An empty answer means there is none."""
    columns = {"question": "question", "context": "context"} | options.text_columns(column, "question", "context")
    pair = columns["context"] if context is None else None
    rows = source.read(form, columns["question"], pair, shown=("question",))
    if context is not None:
        rows = _with_context(rows, context)
    pipe = model.pipeline(
        "question-answering",
        top_k=top_k,
        handle_impossible_answer=no_answer,
        max_answer_len=max_answer_len,
        overlap=overlap,
    )
    output.write(pipe, source, rows, "answers", read=[context])


def _with_context(questions: Iterator[InputRow], path: Path) -> Iterator[InputRow]:
    try:
        context = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        where = wrong_byte(error, path.stat().st_size - len(error.object))
        raise InputError(f"The file {str(path)!r} is not UTF-8 text ({where}); save it as UTF-8.") from error
    for question in questions:
        yield question._replace(text=(question.text, context))


@dataclass(frozen=True)
class ChoiceInput(InputOptions):
    """A prompt with its choices, or a file of several."""

    texts: Annotated[
        list[str] | None,
        Argument(help="A prompt and its choices; without any, --input or standard input is read."),
    ] = None
    input: Annotated[
        Path | None,
        Option("--input", "-i", help="A file of rows with 'prompt' and 'choices' (a list, or one column per choice)."),
    ] = None


def choose(
    source: ChoiceInput,
    top_k: Annotated[int | None, Option("--top-k", "-k", min=1, help="Give this many choices, best first.")] = None,
    *,
    model: options.WindowOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Choose the text that best fits a prompt: the prompt and its choices as arguments, or JSON lines with both."""
    pipe = model.pipeline("multiple-choice", top_k=top_k)
    output.write(pipe, source, _prompts(source, form, options.parse_columns(column)), "best")


def _prompts(
    source: InputOptions, form: options.FormatOptions, columns: dict[str, str | list[str]] | None
) -> Iterator[InputRow]:
    if source.texts:
        if source.input is not None:
            raise InputError("Give a prompt and its choices as arguments or a file with --input, not both.")
        if len(source.texts) < 3:
            last = source.texts[-1]
            raise InputError(f"Give a prompt and at least two choices; there is only {last!r:.60}.")
        question = {"prompt": source.texts[0], "choices": source.texts[1:]}
        yield InputRow(question, question)
        return
    from bertie.data import Format, stream_records
    from bertie.data.dataset import ExampleReader

    written = Format.of(form.as_format())
    rows = ExampleReader(
        "multiple-choice",
        form=written,
        columns=columns,
        needs_label=False,
        name="standard input",
        sample=1,
        keeps_fields=True,
    )
    data: Any = source.input
    if source.is_stream():
        lines = replace(written, name=written.name or "jsonl")
        data = (record.fields for record in stream_records(standard_input(), "standard input", lines))
    for example in rows.read(data):
        yield InputRow(example.text, {**(example.fields or {}), **example.text})
