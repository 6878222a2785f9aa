"""``report.md`` of a pretraining run: data and model, metrics, and training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertie.machine import made_with
from bertie.markdown import number, plain, section, settings_table, table, warnings_section
from bertie.messages import duration
from bertie.pretraining.pretraining_learner import TERMS
from bertie.training import History

_MEANING = {
    "loss": "mean cross-entropy of masked tokens",
    "accuracy": "share of masked tokens predicted correctly",
    "next_sentence_accuracy": "share of pairs classified correctly as consecutive or not",
    "teacher_cosine": "cosine of the model's and the teacher's sentence vectors",
}


@dataclass(frozen=True)
class PretrainingSummary:
    """The contents of the report besides the history."""

    start: str  # the starting point: a size, a config file or a model
    data: str  # the folder of prepared data
    tokens: tuple[int, int]  # of the data, and read in all
    parameters: int  # of the model
    utilization: float | None  # model FLOP utilization of the last steps; None if there were none
    compared: str  # a sentence comparing the loss with published ones; may be empty
    pictures: Mapping[str, str]  # file names with captions


def render(summary: PretrainingSummary, history: History, metrics: Mapping[str, float | None] | None) -> str:
    """Return the report as Markdown."""
    loss = (metrics or {}).get("loss")
    head = f"# Pretraining: loss {number(loss)} on documents held out\n" if metrics else "# Pretraining\n"
    rows = [[plain(name), number(value), _MEANING.get(name, "")] for name, value in (metrics or {}).items()]
    compared = ["", summary.compared] if summary.compared else []
    parts = [
        head,
        warnings_section(history.warnings),
        section("On documents held out", [*table(["metric", "value", "meaning"], rows), *compared]),
        section("Data and model", _origins(summary)),
        section("Training", _training(history, summary.utilization)),
        section("Pictures", [f"![{plain(what)}]({name})" for name, what in summary.pictures.items()]),
    ]
    return "\n".join(part for part in parts if part) + f"\n---\n\n{made_with()}\n"


def _origins(summary: PretrainingSummary) -> Sequence[str]:
    tokens, read = summary.tokens
    return [
        f"{plain(summary.start)} with {summary.parameters:,} parameters, trained on {plain(summary.data)}: {tokens:,} "
        f"tokens; {read:,} were read ({read / max(1, tokens):.2f} epochs)."
    ]


def _training(history: History, used: float | None) -> Sequence[str]:
    lines = [record for record in history.records if "tokens_per_second" in record]
    speed = f" at {lines[-1]['tokens_per_second']:,.0f} tokens a second" if lines else ""
    share = "" if used is None else f", {100 * used:.0f} % model FLOP utilization"
    took = f"{history.step:,} steps in {duration(history.seconds)}{speed}{share}."
    terms = [f"{name} {number(lines[-1][f'{name}_loss'])}" for name in TERMS if lines and f"{name}_loss" in lines[-1]]
    last = [f"The loss of the last steps is the sum of {', '.join(terms)}."] if len(terms) > 1 else []
    return [took, *last, "", *settings_table(history.settings)]
