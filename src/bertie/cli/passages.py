"""``bertie search`` and ``bertie rerank``: the passages of a file that answer a question, best first."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.reading import Asked, read_asked, read_texts
from bertie.cli.writing import OutputOptions, answers_in
from bertie.errors import InputError
from bertie.writing import beside

# A full stop after these ends no sentence.
_ABBREVIATIONS = {
    *("mr", "mrs", "ms", "dr", "st", "prof", "rev", "hon", "capt", "cap", "col", "gen", "lt", "sgt", "jr", "sr"),
    *("no", "vol", "vs", "etc", "e.g", "i.e", "cf", "fig", "messrs", "mt", "ave", "inc", "ltd", "co"),
}
# the end of a sentence, closing quotes and brackets with it, before something that can begin another
_END = re.compile(r"""([.!?…]+["'”’)\]]*)\s+(?=["'“‘(\[]*[A-Z0-9])""")
_INITIALS = re.compile(r"(?!I$)[A-Z](\.[A-Z])*")
_LAST_WORD = re.compile(r"([\w.]+)\.[\"'”’)\]]*$")


def search(
    file: Annotated[Path, typer.Argument(help="What to search: .jsonl, .csv, .tsv, or any text file.")],
    questions: Annotated[list[str] | None, typer.Argument(help="Questions; without any, standard input.")] = None,
    top_k: options.TopK = 5,
    by: Annotated[str, typer.Option("--by", help="Search single 'sentence's of a text file, or its 'line's.")] = "line",
    *,
    model: options.ModelOptions,
    split_special_tokens: options.SplitSpecial = False,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Find the lines or sentences of a file that are nearest in meaning to a question."""
    if by not in ("line", "sentence"):
        raise InputError(f"--by is {by!r}; it is 'line' or 'sentence'.")
    out = output.writer()
    lines: Iterable[Asked] = read_asked(None, file, form.form(), column)
    if by == "sentence":
        lines = (Asked(sentence, {}) for sentence in sentences("\n".join(line.text for line in lines)))
    found = _numbered(lines, file, "text to search")
    pipe = model.pipeline("embed", split_special_tokens=split_special_tokens)
    from bertie.pipelines import SearchIndex

    index = SearchIndex([one.text for _, one in found], pipe)
    asked = list(read_texts(questions))
    with answers_in(output.output, file):
        for question, hits in zip(asked, index.search(asked, top_k), strict=True):
            for rank, hit in enumerate(hits, 1):
                number, one = found[hit.number]
                answer = {"question": question, "rank": rank, "score": round(hit.score, 6), by: number}
                out.write(beside(_rest(one), {**answer, "text": one.text}))


def rerank(
    file: Annotated[Path, typer.Argument(help="The passages: .jsonl, .csv, .tsv, or one a line.")],
    queries: Annotated[list[str] | None, typer.Argument(help="Queries; without any, standard input.")] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", min=1, help="Give this many passages; the default is all.")
    ] = None,
    *,
    model: options.WindowOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Put the passages of a file in the order in which a cross-encoder finds that they answer a query, best first."""
    out = output.writer()
    found = _numbered(read_asked(None, file, form.form(), column), file, "passage to rank")
    pipe = model.pipeline("reranking", top_k=top_k)
    passages = [asked.text for _, asked in found]
    with answers_in(output.output, file):
        for query in read_texts(queries):
            for rank, one in enumerate(pipe(query, passages), 1):
                number, asked = found[one.pop("index")]
                answer = {"query": query, "rank": rank, "score": round(one.pop("score"), 6), "line": number, **one}
                out.write(beside(_rest(asked), answer))


def _numbered(lines: Iterable[Asked], file: Path, wanted: str) -> list[tuple[int, Asked]]:
    """Return the texts that are not empty, each with its number from 1."""
    found = [(number, line) for number, line in enumerate(lines, 1) if line.text.strip()]
    if not found:
        raise InputError(f"The file {str(file)!r} has no {wanted}.")
    return found


def _rest(asked: Asked) -> Mapping[str, Any]:
    """Return the row without the text, which stands in the answer."""
    return {name: value for name, value in asked.row.items() if value != asked.text}


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of ``text``, by rule; an empty line always ends one, a single line break is a space."""
    for paragraph in re.split(r"\n\s*\n", text):
        yield from _of_paragraph(" ".join(paragraph.split()))


def _of_paragraph(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(paragraph):
        sentence = paragraph[start : end.end(1)]
        word = _LAST_WORD.search(sentence)
        if word and (word[1].lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word[1])):
            continue
        yield sentence
        start = end.end()
    if start < len(paragraph):
        yield paragraph[start:]
