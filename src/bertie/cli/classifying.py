"""``bertie classify``: the labels that a model was trained for, or labels that the user names."""

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
    """Labels that no model was trained on, to choose from."""

    labels: Annotated[
        str | None,
        Option(help="Labels to choose from instead of the model's, with commas between them: sport,politics."),
    ] = None
    template: Annotated[
        str | None, Option(help="The sentence that a label of --labels makes: 'This example is {}.'")
    ] = None
    multi_label: Annotated[
        bool, Option("--multi-label", help="Several of --labels may hold: each is judged by itself.")
    ] = False

    def options(self) -> dict[str, Any]:
        """Return them as the task takes them; empty: the model has labels of its own."""
        if self.labels is None and (self.template is not None or self.multi_label):
            raise InputError("--template and --multi-label are for labels of one's own; give them with --labels.")
        given = {"candidate_labels": self.labels, "hypothesis_template": self.template, "multi_label": self.multi_label}
        return {} if self.labels is None else given


def classify(
    source: InputOptions,
    top_k: Annotated[int | None, Option("--top-k", "-k", min=1, help="Give this many labels a text.")] = None,
    *,
    candidates: CandidateOptions,
    model: options.WindowOptions,
    column: options.Columns = None,
    form: options.FormatOptions,
    output: ShardedOutput,
) -> None:
    """Give each text its most likely label, with a score.

    With --labels, labels that no model was trained on, by a model of natural-language inference or of sentence vectors;
    the default is all-MiniLM-L6-v2. Where the rows have the columns that the model was fine-tuned on, these are read;
    one that learned pairs takes texts two by two, or lines with a tab.
    """
    from bertie.tasks.registry import find

    columns, free = options.text_columns(column, "text", "text_pair"), candidates.options()
    task, given = ("zero-shot-classification", free) if free else ("text-classification", {"top_k": top_k})
    pipe = model.pipeline(task, **given)
    learned = find(pipe.task).saved_columns(pipe.model.config)
    pair = columns.get("text_pair") or ("text_pair" if "text_pair" in learned else None)
    asked = source.read(form, columns.get("text", "text"), pair, learned=learned | columns)
    output.write(pipe, source, asked, "labels", partial(_shown, top_k))


def _shown(top_k: int | None, _: Any, found: Any) -> Any:
    """Return an answer for free labels as one for the model's own."""
    if "labels" not in found:
        return found
    both = zip(found["labels"], found["scores"], strict=True)
    labels = [{"label": label, "score": score} for label, score in both]
    return labels[0] if top_k is None else labels[:top_k]
