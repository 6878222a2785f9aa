"""``bertie finetune``: from labelled data and a checkpoint to a model and its metrics, in a folder."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.evaluate import score_table
from bertie.cli.options import one_or_all, parse_pairs, without_none
from bertie.cli.verbosity import say
from bertie.errors import InputError, spelled
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.finetuning import Finetuned

_PARTS = ("to learn from", "to choose by", "to score on")
_MAX_CHARACTERS = 200
# short names of settings, as the options have them
_ALIASES = {"lr": "learning_rate"}
# arguments with another default than None
_DEFAULTS = {"on_bad_row": "error", "resume": False}


@dataclass(frozen=True)
class TrainingOptions:
    """Training settings that have an option of their own."""

    epochs: Annotated[int | None, Option(min=1, help="The default depends on the number of rows.")] = None
    learning_rate: options.LearningRate = None
    batch_size: Annotated[int | None, Option(min=1, help="Rows per step.")] = None
    batch_tokens: Annotated[int | None, Option(min=1, help="Tokens per step, instead of --batch-size.")] = None
    patience: Annotated[
        int | None, Option(min=1, help="Stop early after this many evaluations without a better score.")
    ] = None


@dataclass(frozen=True)
class LearnedOptions(options.ReadingOptions):
    """Task options that have an option of the command."""

    focal: Annotated[float | None, Option(min=0, help="Gamma of the focal loss.")] = None
    label_smoothing: Annotated[
        float | None, Option(min=0, max=1, help="Share of each label's weight spread over all labels.")
    ] = None


@dataclass(frozen=True)
class RunOptions:
    """Options of a single run, not of a sweep."""

    more_epochs: Annotated[
        int | None, Option(min=1, help="Continue the finished run in --out for this many epochs.")
    ] = None
    folds: Annotated[int | None, Option(min=2, help="Cross-validate with this many folds of train.")] = None
    keep: Annotated[int | None, Option(min=1, help="Keep the models of this many last epochs in --out.")] = None
    tensorboard: options.TensorBoard = False


def finetune(
    task: Annotated[
        str | None,
        Argument(
            help="text-classification, token-classification, question-answering, multiple-choice, next-sentence, "
            "fill-mask, embed, reranking or text2text-generation; common names such as ner and seq2seq work too."
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        Option(help="Labelled rows to learn from: a file, a folder or a pattern in quotes; may be repeated."),
    ] = None,
    model: Annotated[
        str | None,
        Option(
            "--model",
            "-m",
            help="The folder or hub name to start from (text2text-generation: a BERT for both halves); the "
            "default is all-MiniLM-L6-v2, and bertie-mini-uncased for fill-mask and next-sentence.",
        ),
    ] = None,
    out: Annotated[Path | None, Option("--out", "-o", help="The new folder for the run; --dry-run needs none.")] = None,
    dev: Annotated[
        str | None,
        Option(help="A file, or the share of train, to choose the best epoch and thresholds by; 0: none."),
    ] = None,
    test: Annotated[str | None, Option(help="A file, or the share of train, to score the model on; 0: none.")] = None,
    tune: Annotated[str | None, Option(hidden=True)] = None,
    kind: Annotated[str | None, Option(help="Of a classification: single-label, multi-label or regression.")] = None,
    class_weights: Annotated[
        str | None, Option(help="auto gives all classes equal weight; or CLASS=2,OTHER=1.")
    ] = None,
    metric: Annotated[str | None, Option(help="The metric that decides which epoch is best.")] = None,
    encoder: Annotated[
        str | None, Option(help="For text2text-generation: the BERT to use as encoder, instead of --model.")
    ] = None,
    decoder: Annotated[
        str | None, Option(help="For text2text-generation: the BERT to use as decoder; default: the encoder's.")
    ] = None,
    seed: Annotated[list[int] | None, Option(help="May be repeated; several give mean and standard deviation.")] = None,
    lora: Annotated[int | None, Option(min=1, help="Train adapters of this rank only.")] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", help="Any other training setting: NAME=VALUE, such as warmup=0.1."),
    ] = None,
    option: Annotated[list[str] | None, Option(help="A task option: NAME=VALUE, such as scheme=BIOES.")] = None,
    *,
    training: TrainingOptions,
    reading: LearnedOptions,
    rows: options.LabelledRowOptions,
    form: options.FormatOptions,
    sweep: Annotated[int | None, Option(min=1, help="Try this many settings and keep the best (needs optuna).")] = None,
    run: RunOptions,
    config: Annotated[
        Path | None, Option(help="A run's run.json or folder: repeat it, except for the other options given.")
    ] = None,
    resume: options.Resume = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only say how the files are read, and show three rows as they will be learned.")
    ] = False,
    device: options.Device = None,
) -> None:
    """Fine-tune a model on labelled rows and score it on rows it has not seen."""
    shared = {
        "model": _starting_model(model, encoder, decoder),
        "dev": _source_or_share(dev),
        "test": _source_or_share(test),
        "tune": _source_or_share(tune),
        "out": out,
        "form": form.as_format(),
        "kind": kind,
        "class_weights": _class_weights(class_weights),
        "lora": lora,
        "metric": metric,
        "resume": resume,
        "device": device,
        "options": parse_assignments(option, "--option") | without_none(vars(reading)),
        "settings": parse_assignments(settings, "--set") | without_none(vars(training)),
        **rows.arguments(),
    }
    given = {"task": task, "train": one_or_all(train or []) or None, "seed": seed, **shared}
    given |= {name: value or None for name, value in vars(run).items()}
    arguments = _resolve(given, config)
    task, source, seeds = arguments.pop("task"), arguments.pop("train"), arguments.pop("seed")
    run_only = [name for name, value in vars(run).items() if value or arguments.get(name)]
    if dry_run:
        _preview(task, source, {name: arguments[name] for name in (*shared, "folds")}, seeds)
    elif out is None:
        raise InputError("--out is missing: name the new folder of the run (--dry-run needs none).")
    elif sweep is None:
        _train(task, source, arguments, seeds)
    elif run_only:
        raise InputError(f"A sweep takes no {' and no '.join(map(spelled, run_only))}.")
    else:
        _sweep(task, source, {name: arguments[name] for name in shared}, seeds, sweep)


def _resolve(given: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """Return all arguments; those that are not given come from the run in ``config``."""
    found, before = given, {"settings": None}
    if config is not None:
        from bertie.finetuning import arguments_of

        before = arguments_of(config)
        found = given | before | {name: value for name, value in given.items() if value != _DEFAULTS.get(name)}
        found["options"] = before.get("options", {}) | given["options"]
    found["settings"] = settings_of(given["settings"], before["settings"])
    for name, what in (("task", "The task"), ("train", "--train")):
        if found[name] is None:
            raise InputError(f"{what} is missing: bertie finetune TASK --train FILE; -h lists the tasks.")
    seed = found["seed"]
    if found.pop("tensorboard"):
        found["report_to"] = "tensorboard"
    return {**found, "seed": [seed] if isinstance(seed, int) else seed or []}


def _preview(task: str, train: str | list[str], arguments: dict[str, Any], seeds: list[int]) -> None:
    from bertie.finetuning.plan import settings_from
    from bertie.finetuning.run import preview

    arguments["settings"] = settings_from(arguments["settings"], {"seed": seeds[0] if seeds else None})
    found = preview(task, train, **arguments)
    parts = ", ".join(f"{count:,} {what}" for what, count in zip(_PARTS, found.counts.values(), strict=True))
    of_folds = f" in the first of {arguments['folds']} folds" if arguments["folds"] else ""
    say(f"bertie: rows {parts}{of_folds}; the first as they will be learned:")
    for row in found.rows:
        label = f"  →  {_in_line(row['label'])}" if "label" in row else ""
        say(printable(f"  {row['where']}: {row['text']:.{_MAX_CHARACTERS}}{label}"))
    print(json.dumps(asdict(found), ensure_ascii=False))


def _in_line(label: Any) -> str:
    return " | ".join(map(str, label)) if isinstance(label, list | tuple) else str(label)


def _train(task: str, train: str | list[str], arguments: dict[str, Any], seeds: list[int]) -> None:
    import bertie
    from bertie.training import is_first

    result = bertie.finetune(task, train, seed=seeds[0] if len(seeds) == 1 else seeds or None, **arguments)
    if is_first():
        _print_result(result, {})


def _sweep(task: str, train: str | list[str], arguments: dict[str, Any], seeds: list[int], trials: int) -> None:
    import bertie

    if len(seeds) > 1:
        raise InputError("A sweep takes only one --seed.")
    found = bertie.sweep(task, train, trials=trials, seed=seeds[0] if seeds else 0, **arguments)
    _print_result(found.best, {"settings": found.values})


def _print_result(result: "Finetuned", more: dict[str, Any]) -> None:
    from bertie.finetuning.model_card import command_of, upload_command
    from bertie.tasks.registry import find

    record = {"model": str(result.folder), "metrics": result.metrics, "intervals": result.intervals}
    print(json.dumps({**record, **({} if result.runs is None else result.runs.to_dict()), **more}))
    if result.runs is not None:
        say(f"mean and standard deviation of {len(result.runs.metrics)} {result.runs.what}s")
    for name, (mean, deviation) in result.spread.items():
        say(f"  {name:<20} {mean:8.4f} ± {deviation:.4f}")
    if result.scored.scores.count and not result.spread:
        say(*score_table(result.scored))
    folder = printable(str(result.folder))
    say(f"bertie: the report is {folder}/report.html (and .md); to use the model, and to share it:")
    say(printable(f"  {command_of(find(result.pipeline.task), result.pipeline.codec, str(result.folder))}"))
    if result.folder is not None:
        say(f"  {upload_command(result.folder)}")


def settings_of(given: dict[str, Any], before: Any = None) -> Any:
    """Return the settings ``before`` with those ``given`` replaced."""
    from bertie.errors import nearest
    from bertie.settings import Settings, describe_settings

    known = describe_settings()
    given = {_ALIASES.get(name, name): value for name, value in given.items()}
    for name in given:
        if name not in known:
            listed = ", ".join(known)
            raise InputError(f"There is no setting {name!r}; there are {listed}.{nearest(name, known)}")
    return replace(before or Settings(), **given) if given else before


def parse_assignments(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Return ``NAME=VALUE`` texts as a dict; a value is parsed as JSON if it is valid JSON, else it is a string."""
    found: dict[str, Any] = {}
    for name, value in parse_pairs(pairs, option, "NAME=VALUE"):
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _starting_model(model: str | None, encoder: str | None, decoder: str | None) -> Any:
    """Return the model to fine-tune, or an encoder and a decoder."""
    if encoder is None and decoder is None:
        return model
    if model is not None:
        raise InputError("--model stands for both --encoder and --decoder; give either it or them.")
    return encoder or decoder, decoder or encoder


def _source_or_share(part: str | None) -> Any:
    try:
        return None if part is None else float(part)
    except ValueError:
        return part


def _class_weights(given: str | None) -> Any:
    if given is None or given == "auto":
        return given
    try:
        if "=" in given:
            pairs = (one.rpartition("=") for one in given.split(","))
            return {name.strip(): float(weight) for name, _, weight in pairs}
        return [float(number) for number in given.split(",")]
    except ValueError:
        raise InputError(
            f"--class-weights is {given!r}; write auto, CLASS=2,OTHER=1, or numbers separated by commas."
        ) from None
