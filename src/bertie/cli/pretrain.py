"""``bertie pretrain``: prepared documents become a BERT of one's own."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from bertie.cli import options
from bertie.cli.options import given_of
from bertie.cli.verbosity import say
from bertie.errors import InputError
from bertie.messages import printable

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class LengthOptions:
    """How long to train."""

    steps: Annotated[int | None, Option(min=1, help="Updates of the model.")] = None
    budget: Annotated[str | None, Option(help="Time for the whole run instead of --steps: 90s, 30m, 2h, 1d.")] = None

    def arguments(self) -> dict[str, Any]:
        """Return them as `bertie.Settings` takes them."""
        return given_of({"steps": self.steps, "budget": None if self.budget is None else _seconds(self.budget)})


@dataclass(frozen=True)
class ExampleOptions:
    """What the model reads, and what it is to guess."""

    length: Annotated[str, Option(help="Most tokens of a text; 128,512 has 512 for the last tenth of the steps.")] = (
        "128"
    )
    masking: Annotated[float, Option(help="The share of the tokens to guess.")] = 0.15
    masked_units: Annotated[str, Option(help="What is masked: tokens, words or spans.")] = "tokens"
    next_sentence: Annotated[
        bool, Option("--next-sentence/--no-next-sentence", help="Learn from pairs, or from stretches of text.")
    ] = True

    def arguments(self) -> dict[str, Any]:
        """Return them as `Recipe` takes them."""
        from bertie.tasks.masking import Masking

        try:
            lengths = tuple(int(part) for part in self.length.split(","))
        except ValueError:
            raise InputError(f"--length is {self.length!r}; write a number, or several with commas: 128,512.") from None
        masking = Masking(self.masking, self.masked_units)
        return {"length": lengths, "masking": masking, "next_sentence": self.next_sentence}


@dataclass(frozen=True)
class UpdateOptions:
    """Settings of the training that have an option of their own."""

    batch_tokens: Annotated[int | None, Option(min=1, help="About how many tokens of a step; default 16,384.")] = None
    batch_warmup: Annotated[int | None, Option(min=0, help="Steps until a step has all of them.")] = None
    learning_rate: options.LearningRate = None
    schedule: Annotated[
        str | None, Option(help="linear, cosine, constant, wsd (constant, then decay) or triangle.")
    ] = None
    warmup: Annotated[float | None, Option(min=0, help="Share or number of steps; default 0.1.")] = None
    optimizer: Annotated[str | None, Option(help="adamw, or muon for the matrices of the blocks.")] = None
    weight_decay: Annotated[float | None, Option(min=0, help="Default 0.01.")] = None
    precision: Annotated[str | None, Option(help="bf16 or fp32; default: as the GPU has it.")] = None
    gradient_checkpointing: Annotated[
        bool | None, Option("--gradient-checkpointing", help="Less memory, a third more time.")
    ] = None
    shard: Annotated[bool | None, Option("--shard", help="Each process of torchrun keeps a part of the model.")] = None
    evaluate_every: Annotated[int | None, Option(min=1, help="Steps between metrics on the documents held out.")] = None
    save_every: Annotated[int | None, Option(min=1, help="Steps between saved states; ten minutes anyway.")] = None
    keep_states: Annotated[int | None, Option(min=1, help="So many last states are kept.")] = None
    keep_every: Annotated[int | None, Option(min=1, help="Steps between states that are never removed.")] = None
    seed: options.Seed = None


def pretrain(
    data: Annotated[Path, Option("--data", "-d", help="A folder of bertie prepare.")],
    out: Annotated[Path, Option("--out", "-o", help="The new folder of the run, for the model, too.")],
    config: Annotated[str | None, Option(help="A new model: base, large, mini, or a config file.")] = None,
    start: Annotated[
        str | None, Option("--from", help="Instead, the folder or hub name of a model to go on from.")
    ] = None,
    teacher: Annotated[str | None, Option(help="A model of sentence vectors to learn from, too.")] = None,
    teacher_weight: Annotated[float, Option(help="What the teacher's loss is multiplied by.")] = 1.0,
    dropout: Annotated[float | None, Option(min=0, max=0.99, help="Default: as the config says; 0: none.")] = None,
    *,
    length: LengthOptions,
    examples: ExampleOptions,
    updates: UpdateOptions,
    compile: Annotated[bool, Option("--compile", help="Compile what lies between attentions (GPUs).")] = False,
    resume: options.Resume = False,
    tensorboard: options.TensorBoard = False,
    device: options.Device = None,
) -> None:
    """Train a BERT on prepared documents: masked words and next sentences, from nothing or from a model."""
    began = time.perf_counter()  # a budget has room for the import of PyTorch
    from bertie.pretraining.pretrain import pretrain
    from bertie.pretraining.recipe import Recipe
    from bertie.settings import Settings

    settings = Settings(**length.arguments(), **given_of(vars(updates)))
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
