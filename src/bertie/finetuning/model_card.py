"""The model card of a fine-tuned model, ``README.md`` as the hub shows it: its metrics, data and use."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

from bertie.files import write_text
from bertie.finetuning.plan import StartModel, source_name
from bertie.finetuning.run_report import RunSummary, head_section, metrics_section
from bertie.hub import DEFAULT_EMBEDDING_MODEL, DEFAULT_PRETRAINED_MODEL, is_hub_name, usual_name
from bertie.markdown import plain, section, table
from bertie.run_files import MODEL_CARD, RUN
from bertie.tasks.registry import Row
from bertie.tasks.task import Task

# not to be uploaded: reports and predictions quote the data, run.json and sweep.log contain local paths
_NOT_SHARED = (
    *("report.*", "predictions.jsonl", RUN, "sweep.log"),
    *("state/*", "seed-*", "fold-*", "epoch-*", "tensorboard/*"),
)
# a task → its pipeline tag in the hub, if it has one
_PIPELINE_TAGS = {
    **{name: name for name in ("fill-mask", "question-answering", "text-classification", "token-classification")},
    "embed": "sentence-similarity",
    "reranking": "text-ranking",
}


def write_card(summary: RunSummary, row: Row, task: Task, model: StartModel | None, folder: Path) -> None:
    """Write the card of a model in ``folder`` that was fine-tuned from ``model``; the licence is left to its owner."""
    models = model if isinstance(model, tuple) else (model,)
    origins = [(in_hub(one), Path(source_name(one)).name) for one in models]
    summary = replace(summary, model=" and ".join(dict.fromkeys(hub or name for hub, name in origins)))
    sections = (
        head_section(summary),
        _use(row, task, folder.resolve().name),
        metrics_section(summary),
        _data(summary),
        f"---\n\n{plain(summary.made_with)}\n",
    )
    front = _front_matter(summary, row, [hub for hub, _ in origins if hub is not None], folder)
    write_text(folder / MODEL_CARD, f"---\n{front}\n---\n\n" + "\n".join(sections))


def command_of(row: Row, task: Task, model: str) -> str:
    """Return an example command for a fine-tuned model, with an input of the kind that it was trained on."""
    words, _ = _words_and_call(row, task)
    return f"bertie {words} --model {shlex.quote(model)}"


def call_of(row: Row, task: Task) -> str:
    """Return the arguments of an example call of a fine-tuned model's pipeline."""
    words, call = _words_and_call(row, task)
    return call or json.dumps(shlex.split(words)[1], ensure_ascii=False)


def _words_and_call(row: Row, task: Task) -> tuple[str, str]:
    if row.pair_command and "text_pair" in row.saved_columns(task.config):
        return row.pair_command, row.pair_call
    return row.command.replace("[MASK]", task.tokenizer.mask_token or "[MASK]"), row.call


def upload_command(folder: Path) -> str:
    """Return the command that uploads a run's model to the hub, without its state and private files."""
    left_out = [pattern for pattern in _NOT_SHARED if next(folder.glob(pattern), None) is not None]
    excluded = " ".join(f"--exclude '{pattern}'" for pattern in left_out)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name)
    return f"hf upload YOUR-NAME/{name} {shlex.quote(str(folder))} {excluded}"


def in_hub(model: StartModel | None) -> str | None:
    """Return the hub name of the starting model; None if it is only a folder or an object."""
    name = usual_name(source_name(model))
    if name == DEFAULT_EMBEDDING_MODEL.partition("/")[2]:
        return DEFAULT_EMBEDDING_MODEL
    return name if is_hub_name(name) and name != DEFAULT_PRETRAINED_MODEL else None


def _front_matter(summary: RunSummary, row: Row, origins: list[str], folder: Path) -> str:
    from huggingface_hub import ModelCardData

    is_sentence_transformer = (folder / "modules.json").exists()
    data = ModelCardData(
        base_model=origins or None,
        library_name="sentence-transformers" if is_sentence_transformer else "transformers",
        metrics=[name for name, value in summary.metrics.items() if value is not None] or None,
        pipeline_tag=_PIPELINE_TAGS.get(row.name),
        tags=["bertie", row.name],
    )
    return str(data.to_yaml())


def _use(row: Row, task: Task, name: str) -> str:
    """Return the section on using the model, by folder or hub name, in bertie and in transformers."""
    command, quoted = command_of(row, task, name), json.dumps(name, ensure_ascii=False)
    ours = [
        *("import bertie", ""),
        f'pipe = bertie.pipeline("{row.name}", {quoted})',
        f"print(pipe({call_of(row, task)}))",
    ]
    theirs = [
        f"from transformers import {row.model_class}, AutoTokenizer",
        "",
        f"model = {row.model_class}.from_pretrained({quoted})",
        f"tokenizer = AutoTokenizer.from_pretrained({quoted})",
    ]
    lines = [
        *(f"{plain(name)} is the model's folder or hub name. With bertie:", ""),
        *("```python", *ours, "```", "", "or on the command line:", ""),
        *("```console", f"$ {command}", "```", ""),
        "With transformers, which ignores what was tuned besides the weights (temperature, thresholds):",
        *("", "```python", *theirs, "```"),
    ]
    return section("Use", lines)


def _data(summary: RunSummary) -> str:
    # a card is public, but folder names may not be
    rows = [[part.named, plain(re.sub(r"[^\s,]*/", "", part.source)), f"{part.rows:,}"] for part in summary.data]
    return section("Data", table(["split", "from", "rows"], rows))
