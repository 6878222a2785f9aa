"""``bertie finetune``: labelled data and a checkpoint become a model, its quality, and a folder with both."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.evaluate import score_table
from bertie.cli.options import given_of, one_or_all, pairs_of
from bertie.cli.verbosity import say
from bertie.errors import InputError, spelled
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.finetuning import Finetuned

_PARTS = ("to learn from", "to choose by", "to score on")
_WIDTH = 200
# what settings are called for short, as by the options of their own
_SHORT = {"lr": "learning_rate"}
# what arguments are where the user says nothing; the others are None
_LEFT_OPEN = {"on_bad_row": "error", "resume": False}


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of the training that have an option of their own."""

    epochs: Annotated[int | None, Option(min=1, help="Default: by the number of rows.")] = None
    learning_rate: options.LearningRate = None
    batch_size: Annotated[int | None, Option(min=1, help="Rows of a step.")] = None
    batch_tokens: Annotated[int | None, Option(min=1, help="Tokens of a step instead.")] = None
    patience: Annotated[int | None, Option(min=1, help="Evaluations without a better score before the end.")] = None


@dataclass(frozen=True)
class LearnedOptions(options.ReadingOptions):
    """Options of the task that have one of the command."""

    focal: Annotated[float | None, Option(min=0, help="Gamma of the focal loss.")] = None
    label_smoothing: Annotated[float | None, Option(min=0, max=1, help="Share of each label spread over all.")] = None


@dataclass(frozen=True)
class RunOptions:
    """What a single run, and no sweep, can do."""

    more_epochs: Annotated[int | None, Option(min=1, help="Go on with the finished run in --out for so many.")] = None
    folds: Annotated[
        int | None, Option(min=2, help="Cross-validate: score each of so many parts of train in turn.")
    ] = None
    keep: Annotated[int | None, Option(min=1, help="Keep the models of this many last epochs in --out.")] = None
    tensorboard: options.TensorBoard = False


def finetune(
    task: Annotated[
        str | None,
        Argument(
            help="text-classification, token-classification, question-answering, multiple-choice, next-sentence, "
            "fill-mask, embed, reranking or text2text-generation; other usual names such as ner and seq2seq will do."
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
            help="The folder or hub name to start from, of text2text-generation a BERT that is both; the default is "
            "all-MiniLM-L6-v2, and bertie-mini-uncased for fill-mask and next-sentence.",
        ),
    ] = None,
    out: Annotated[Path | None, Option("--out", "-o", help="The new folder of the run; --dry-run needs none.")] = None,
    dev: Annotated[
        str | None,
        Option(help="A file, or the share of train, to choose the best epoch and thresholds by; 0: nothing is."),
    ] = None,
    test: Annotated[
        str | None, Option(help="A file, or the share of train, to score the model on; 0: it is not scored.")
    ] = None,
    tune: Annotated[str | None, Option(hidden=True)] = None,
    kind: Annotated[str | None, Option(help="Of a classification: single-label, multi-label or regression.")] = None,
    class_weights: Annotated[str | None, Option(help="auto lets all classes weigh alike; or CLASS=2,OTHER=1.")] = None,
    metric: Annotated[str | None, Option(help="The metric that decides which epoch is best.")] = None,
    encoder: Annotated[
        str | None, Option(help="Of text2text-generation: the BERT that reads; instead of --model.")
    ] = None,
    decoder: Annotated[
        str | None, Option(help="Of text2text-generation: the BERT that writes; default: the encoder's.")
    ] = None,
    seed: Annotated[list[int] | None, Option(help="Several give mean and deviation.")] = None,
    lora: Annotated[int | None, Option(min=1, help="Train adapters of this rank only.")] = None,
    settings: Annotated[
        list[str] | None,
        Option("--set", help="Any other setting of the training: NAME=VALUE, such as warmup=0.1."),
    ] = None,
    option: Annotated[list[str] | None, Option(help="An option of the task: NAME=VALUE, such as scheme=BIOES.")] = None,
    *,
    training: TrainingOptions,
    reading: LearnedOptions,
    rows: options.LabelledRowOptions,
    form: options.FormatOptions,
    sweep: Annotated[int | None, Option(min=1, help="Try this many settings and keep the best (needs optuna).")] = None,
    keeping: RunOptions,
    config: Annotated[
        Path | None, Option(help="A run's run.json or folder: do it again, but for what else is given.")
    ] = None,
    resume: options.Resume = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only say what is read as what, with three rows as they will be learned.")
    ] = False,
    device: options.Device = None,
) -> None:
    """Fine-tune a model on labelled rows and say how good it is on rows it has not seen."""
    said = {
        "model": _start(model, encoder, decoder),
        "dev": _source_or_share(dev),
        "test": _source_or_share(test),
        "tune": _source_or_share(tune),
        "out": out,
        "form": form.as_format(),
        "kind": kind,
        "class_weights": _weights(class_weights),
        "lora": lora,
        "metric": metric,
        "resume": resume,
        "device": device,
        "options": assigned(option, "--option") | given_of(vars(reading)),
        "settings": assigned(settings, "--set") | given_of(vars(training)),
        **rows.arguments(),
    }
    asked = {"task": task, "train": one_or_all(train or []) or None, "seed": seed, **said}
    asked |= {name: value or None for name, value in vars(keeping).items()}
    asked = _asked(asked, config)
    task, source, seeds = asked.pop("task"), asked.pop("train"), asked.pop("seed")
    kept = [name for name, value in vars(keeping).items() if value or asked.get(name)]
    if dry_run:
        _preview(task, source, {name: asked[name] for name in (*said, "folds")}, seeds)
    elif out is None:
        raise InputError("--out is missing: name the new folder of the run (--dry-run needs none).")
    elif sweep is None:
        _train(task, source, asked, seeds)
    elif kept:
        raise InputError(f"A sweep takes no {' and no '.join(map(spelled, kept))}.")
    else:
        _sweep(task, source, {name: asked[name] for name in said}, seeds, sweep)


def _asked(given: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """Return all arguments: those given, and of those left open the ones of the run in ``config``."""
    asked, before = given, {"settings": None}
    if config is not None:
        from bertie.finetuning import arguments_of

        before = arguments_of(config)
        asked = given | before | {name: value for name, value in given.items() if value != _LEFT_OPEN.get(name)}
        asked["options"] = before.get("options", {}) | given["options"]
    asked["settings"] = settings_of(given["settings"], before["settings"])
    for name, what in (("task", "The task"), ("train", "--train")):
        if asked[name] is None:
            raise InputError(f"{what} is missing: bertie finetune TASK --train FILE; -h lists the tasks.")
    seed = asked["seed"]
    if asked.pop("tensorboard"):
        asked["report_to"] = "tensorboard"
    return {**asked, "seed": [seed] if isinstance(seed, int) else seed or []}


def _preview(task: str, train: str | list[str], said: dict[str, Any], seeds: list[int]) -> None:
    from bertie.finetuning.plan import settings_from
    from bertie.finetuning.run import preview

    said["settings"] = settings_from(said["settings"], {"seed": seeds[0] if seeds else None})
    found = preview(task, train, **said)
    parts = ", ".join(f"{count:,} {what}" for what, count in zip(_PARTS, found.counts.values(), strict=True))
    of_folds = f" in the first of {said['folds']} folds" if said["folds"] else ""
    say(f"bertie: rows {parts}{of_folds}; the first as they will be learned:")
    for row in found.rows:
        label = f"  →  {_in_line(row['label'])}" if "label" in row else ""
        say(printable(f"  {row['where']}: {row['text']:.{_WIDTH}}{label}"))
    print(json.dumps(asdict(found), ensure_ascii=False))


def _in_line(label: Any) -> str:
    return " | ".join(map(str, label)) if isinstance(label, list | tuple) else str(label)


def _train(task: str, train: str | list[str], said: dict[str, Any], seeds: list[int]) -> None:
    import bertie
    from bertie.training import is_first

    result = bertie.finetune(task, train, seed=seeds[0] if len(seeds) == 1 else seeds or None, **said)
    if is_first():
        _tell(result, {})


def _sweep(task: str, train: str | list[str], said: dict[str, Any], seeds: list[int], trials: int) -> None:
    import bertie

    if len(seeds) > 1:
        raise InputError("A sweep has one --seed.")
    found = bertie.sweep(task, train, trials=trials, seed=seeds[0] if seeds else 0, **said)
    _tell(found.best, {"settings": found.values})


def _tell(result: "Finetuned", more: dict[str, Any]) -> None:
    from bertie.finetuning.model_card import command_of, upload_command
    from bertie.tasks.registry import find

    record = {"model": str(result.folder), "metrics": result.metrics, "intervals": result.intervals}
    print(json.dumps({**record, **({} if result.runs is None else result.runs.to_dict()), **more}))
    if result.runs is not None:
        say(f"mean and deviation of {len(result.runs.metrics)} {result.runs.what}s")
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
    """Return the settings that are named, in the place of those ``before``; these if none is."""
    from bertie.errors import nearest
    from bertie.settings import Settings, describe_settings

    known = describe_settings()
    given = {_SHORT.get(name, name): value for name, value in given.items()}
    for name in given:
        if name not in known:
            listed = ", ".join(known)
            raise InputError(f"There is no setting {name!r}; there are {listed}.{nearest(name, known)}")
    return replace(before or Settings(), **given) if given else before


def assigned(pairs: list[str] | None, option: str) -> dict[str, Any]:
    """Return ``NAME=VALUE`` texts as a dict; a value that is JSON is read as such, any other as text."""
    found: dict[str, Any] = {}
    for name, value in pairs_of(pairs, option, "NAME=VALUE"):
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _start(model: str | None, encoder: str | None, decoder: str | None) -> Any:
    """Return what a fine-tuning begins with: a model, or an encoder and a decoder."""
    if encoder is None and decoder is None:
        return model
    if model is not None:
        raise InputError("--model says what both halves begin with, --encoder and --decoder each; give one or two.")
    return encoder or decoder, decoder or encoder


def _source_or_share(part: str | None) -> Any:
    try:
        return None if part is None else float(part)
    except ValueError:
        return part


def _weights(given: str | None) -> Any:
    if given is None or given == "auto":
        return given
    try:
        if "=" in given:
            pairs = (one.rpartition("=") for one in given.split(","))
            return {name.strip(): float(weight) for name, _, weight in pairs}
        return [float(number) for number in given.split(",")]
    except ValueError:
        raise InputError(
            f"--class-weights is {given!r}; write auto, CLASS=2,OTHER=1, or numbers with commas."
        ) from None
