"""``bertie pretrain``: a BERT of your own from prepared documents."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from bertie.cli import options
from bertie.cli.options import without_none
from bertie.cli.verbosity import say
from bertie.errors import InputError
from bertie.messages import printable

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class DurationOptions:
    """How long to train."""

    steps: Annotated[int | None, Option(min=1, help="Optimiser steps.")] = None
    budget: Annotated[str | None, Option(help="Time for the whole run instead of --steps: 90s, 30m, 2h, 1d.")] = None

    def arguments(self) -> dict[str, Any]:
        """Return them as arguments of `bertie.Settings`."""
        return without_none({"steps": self.steps, "budget": None if self.budget is None else _seconds(self.budget)})


@dataclass(frozen=True)
class ExampleOptions:
    """How training examples are made."""

    length: Annotated[
        str, Option(help="Maximum tokens of an example; 128,512 uses 512 for the last tenth of the steps.")
    ] = "128"
    masking: Annotated[float, Option(help="The share of the tokens to predict.")] = 0.15
    masked_units: Annotated[str, Option(help="What is masked: tokens, words or spans.")] = "tokens"
    next_sentence: Annotated[
        bool, Option("--next-sentence/--no-next-sentence", help="Learn from pairs, or from single runs of text.")
    ] = True

    def arguments(self) -> dict[str, Any]:
        """Return them as arguments of `Recipe`."""
        from bertie.tasks.masking import Masking

        try:
            lengths = tuple(int(part) for part in self.length.split(","))
        except ValueError:
            raise InputError(
                f"--length is {self.length!r}; write a number, or several separated by commas: 128,512."
            ) from None
        masking = Masking(self.masking, self.masked_units)
        return {"length": lengths, "masking": masking, "next_sentence": self.next_sentence}


@dataclass(frozen=True)
class UpdateOptions:
    """Training settings that have an option of their own."""

    batch_tokens: Annotated[int | None, Option(min=1, help="About how many tokens per step; default 16,384.")] = None
    batch_warmup: Annotated[int | None, Option(min=0, help="Steps over which the batch grows to full size.")] = None
    learning_rate: options.LearningRate = None
    schedule: Annotated[
        str | None, Option(help="linear, cosine, constant, wsd (constant, then decay) or triangle.")
    ] = None
    warmup: Annotated[float | None, Option(min=0, help="Share or number of steps; default 0.1.")] = None
    optimizer: Annotated[str | None, Option(help="adamw, or muon for the matrices of the blocks.")] = None
    weight_decay: Annotated[float | None, Option(min=0, help="Default 0.01.")] = None
    precision: Annotated[str | None, Option(help="bf16 or fp32; the default suits the GPU.")] = None
    gradient_checkpointing: Annotated[
        bool | None, Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = None
    shard: Annotated[bool | None, Option("--shard", help="Shard the model over the processes of torchrun.")] = None
    evaluate_every: Annotated[
        int | None, Option(min=1, help="Steps between evaluations on the held-out documents.")
    ] = None
    save_every: Annotated[
        int | None, Option(min=1, help="Steps between saved states; also saved every ten minutes.")
    ] = None
    keep_states: Annotated[int | None, Option(min=1, help="Keep this many last states.")] = None
    keep_every: Annotated[int | None, Option(min=1, help="Steps between states that are never removed.")] = None
    seed: options.Seed = None


def pretrain(
    data: Annotated[Path, Option("--data", "-d", help="A folder of bertie prepare.")],
    out: Annotated[Path, Option("--out", "-o", help="The new folder for the run and its model.")],
    config: Annotated[str | None, Option(help="A new model: base, large, mini, or a config file.")] = None,
    start: Annotated[
        str | None, Option("--from", help="Instead, the folder or hub name of a model to continue from.")
    ] = None,
    teacher: Annotated[str | None, Option(help="An embedding model to learn from too.")] = None,
    teacher_weight: Annotated[float, Option(help="The weight of the teacher's loss.")] = 1.0,
    dropout: Annotated[float | None, Option(min=0, max=0.99, help="Default: the config's.")] = None,
    *,
    length: DurationOptions,
    examples: ExampleOptions,
    updates: UpdateOptions,
    compile: Annotated[bool, Option("--compile", help="Compile all but the attention (GPUs).")] = False,
    resume: options.Resume = False,
    tensorboard: options.TensorBoard = False,
    device: options.Device = None,
) -> None:
    """Train a BERT on prepared documents with masked words and next sentences, from scratch or from a model."""
    began = time.perf_counter()  # importing PyTorch counts towards the budget
    from bertie.pretraining.pretrain import pretrain
    from bertie.pretraining.recipe import Recipe
    from bertie.settings import Settings

    settings = Settings(**length.arguments(), **without_none(vars(updates)))
    recipe = Recipe(
        data=data,
        out=out,
        config=config,
        start=start,
        **examples.arguments(),
        teacher=teacher,
        teacher_weight=teacher_weight,
        dropout=dropout,
        compile=compile,
        settings=settings,
        resume=resume,
        tensorboard=tensorboard,
        device=device,
    )
    found = pretrain(recipe, began)
    if found is not None:
        print(json.dumps({"model": str(out), "steps": found.history.step, "heldout": found.metrics}))
        if found.compared:
            say(f"bertie: {found.compared}")
        say(f"bertie: the report is {printable(str(out))}/report.md")


def _seconds(text: str) -> float:
    try:
        return float(text[:-1]) * _SECONDS[text[-1:]]
    except (ValueError, KeyError):
        raise InputError(f"--budget is {text!r}; write a number and s, m, h or d, such as 30m.") from None
