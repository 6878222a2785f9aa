"""``bertie classify``: with the labels that a model was trained on, or labels that the user names."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from typer import Option

from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.cli.writing import ShardedOutput
from bertie.errors import InputError


@dataclass(frozen=True)
class CandidateOptions:
    """Labels for zero-shot classification."""

    labels: Annotated[
        str | None,
        Option(help="Labels to choose from instead of the model's, separated by commas: sport,politics."),
    ] = None
    template: Annotated[str | None, Option(help="The sentence to put each of --labels in: 'This example is {}.'")] = (
        None
    )
    multi_label: Annotated[
        bool, Option("--multi-label", help="Several of --labels may apply: each is scored by itself.")
    ] = False

    def options(self) -> dict[str, Any]:
        """Return them as options of the task; empty without --labels."""
        if self.labels is None and (self.template is not None or self.multi_label):
            raise InputError("--template and --multi-label are for labels of your own; give them with --labels.")
        given = {"candidate_labels": self.labels, "hypothesis_template": self.template, "multi_label": self.multi_label}
        return {} if self.labels is None else given


def classify(
    source: InputOptions,
    top_k: Annotated[int | None, Option("--top-k", "-k", min=1, help="Give this many labels per text.")] = None,
    *,
    candidates: CandidateOptions,
    model: options.WindowOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
    output: ShardedOutput,
) -> None:
    """Give each text its most likely label, with a score.

    With --labels it is zero-shot, by a model of natural-language inference or of sentence vectors; the default is
    all-MiniLM-L6-v2. If the rows have the columns that the model was fine-tuned on, these are read; a model trained on
    pairs takes arguments two by two, or lines with a tab.
    """
    from bertie.tasks.registry import find

    columns, zero_shot = options.text_columns(column, "text", "text_pair"), candidates.options()
    task, given = ("zero-shot-classification", zero_shot) if zero_shot else ("text-classification", {"top_k": top_k})
    pipe = model.pipeline(task, **given)
    trained_columns = find(pipe.task).saved_columns(pipe.model.config)
    pair = columns.get("text_pair") or ("text_pair" if "text_pair" in trained_columns else None)
    rows = source.read(form, columns.get("text", "text"), pair, trained_columns=trained_columns | columns)
    output.write(pipe, source, rows, "labels", partial(_shown, top_k))


def _shown(top_k: int | None, _: Any, found: Any) -> Any:
    """Return a zero-shot answer in the format of text classification."""
    if "labels" not in found:
        return found
    both = zip(found["labels"], found["scores"], strict=True)
    labels = [{"label": label, "score": score} for label, score in both]
    return labels[0] if top_k is None else labels[:top_k]
