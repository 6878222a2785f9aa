"""``bertie pretrain``: trains a `BertForPreTraining` on prepared documents."""

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bertie.errors import InputError
from bertie.files import make_folder, write_json, write_text
from bertie.metrics.streaming import MetricValues
from bertie.models.pretraining import BertForPreTraining
from bertie.pretraining.heldout import heldout_figures
from bertie.pretraining.pretraining_learner import MASKED_LM, PretrainingLearner
from bertie.pretraining.pretraining_report import PretrainingSummary, render
from bertie.pretraining.published_losses import compare
from bertie.pretraining.recipe import Recipe
from bertie.pretraining.shards import MANIFEST, Corpus
from bertie.pretraining.starting_model import start_model, start_teacher, teacher_digest
from bertie.pretraining.utilization import Utilization
from bertie.progress import logger
from bertie.run_files import REPORT, RESULTS, RUN, STATE
from bertie.tokenization.fast import BertTokenizer
from bertie.training import History, Phase, drawing, is_first, train
from bertie.training.curves import draw_curves
from bertie.training.fingerprint import digest, digest_of_tensors
from bertie.training.logs import logs
from bertie.training.run_directory import exclusive_run, refuse_other_content
from bertie.training.state import States


@dataclass
class Pretrained:
    """A pretrained model."""

    model: BertForPreTraining  # in eval mode
    tokenizer: BertTokenizer  # the data's
    metrics: MetricValues | None  # on the held-out documents, at the end; None if there are none
    compared: str  # a sentence comparing the loss with published ones; empty if there are none
    history: History
    recipe: Recipe  # with the settings used


def pretrain(recipe: Recipe, began: float | None = None) -> Pretrained | None:
    """Train a model by a recipe, and write it to ``recipe.out``; all processes but the first get None.

    Args:
        recipe: the data, the model, and how to train it.
        began: the time, by ``time.perf_counter``, from which a budget counts; None: from this call.

    Raises:
        InputError: data, model and recipe do not fit together, or the run to be resumed is a different one.
        CheckpointError: data, model or state are missing or damaged, or ``out`` cannot be written.
        BertieError: the training diverged.
        KeyboardInterrupt: it was stopped; ``resume`` continues from there.
    """
    began = time.perf_counter() if began is None else began
    with exclusive_run(recipe.out, partial(refuse_other_content, recipe.out)):
        model, tokenizer = start_model(recipe)
        recipe = dataclasses.replace(recipe, settings=recipe.settings_for(model.config.hidden_size))
        lengths, precision = recipe.length, recipe.settings.precision
        used = Utilization(model.config, lengths, recipe.masking.rate, model.device, precision)
        corpus = Corpus(recipe.data)
        history = _train(recipe, model, tokenizer, corpus, used, began)
        if not is_first():
            return None
        metrics, tokens = history.last("metrics"), (corpus.tokens, history.last("tokens") or 0)
        loss = (metrics or {}).get("loss")
        compared = "" if loss is None else compare(loss, min(tokens))
        found = Pretrained(model.eval(), tokenizer, metrics, compared, history, recipe)
        _write(found, tokens, used)
        return found


def _train(
    recipe: Recipe,
    model: BertForPreTraining,
    tokenizer: BertTokenizer,
    corpus: Corpus,
    used: Utilization,
    began: float,
) -> History:
    identity = _identity(recipe, model)  # with the initial weights
    teacher = start_teacher(recipe, model.device)
    learner = partial(
        PretrainingLearner,
        model,
        tokenizer=tokenizer,
        next_sentence=recipe.next_sentence,
        masking=recipe.masking,
        teacher=teacher,
        teacher_weight=recipe.teacher_weight,
    )
    learners = [
        learner(corpus, length=length, mask_sentences=True, seed=recipe.settings.seed) for length in recipe.length
    ]
    # only now, so that a recipe that does not fit leaves no folder behind
    if is_first() and not States(recipe.out / STATE).exist():
        write_json(make_folder(recipe.out) / RUN, recipe.to_dict())
    with logs(recipe.out, ["tensorboard"] if recipe.tensorboard else ()) as log:
        return train(
            [Phase(*pair) for pair in zip(learners, recipe.shares, strict=True)],
            recipe.settings,
            evaluate=_evaluation(recipe, learner),
            metric="loss",
            folder=recipe.out / STATE,
            resume=recipe.resume,
            data=identity,
            log=None if log is None else used.with_utilization(log),
            show_progress=recipe.show_progress,
            began=began,
        )


def _evaluation(recipe: Recipe, learner: Callable[..., PretrainingLearner]) -> Callable[[], dict[str, float]] | None:
    """Return the evaluation on the documents held out; None, with a warning, if there are too few."""
    try:
        heldout = learner(Corpus(recipe.data, "heldout"), length=recipe.length[0], seed=0)
    except InputError as error:
        if is_first():
            logger.warning("The model is not evaluated, as there are too few documents held out: %s", error)
        return None
    return partial(heldout_figures, heldout)


def _identity(recipe: Recipe, model: BertForPreTraining) -> dict[str, Any]:
    """Return what identifies this run's data and model, before training changes the model."""
    names_of_origin = ("_name_or_path", "architectures", "dtype")
    config = {name: value for name, value in model.config.to_dict().items() if name not in names_of_origin}
    return {
        "the data": digest([(recipe.data / MANIFEST).read_bytes()]),
        "the weights to start from": digest_of_tensors(model.state_dict()),
        "length": list(recipe.length),
        "masking": dataclasses.asdict(recipe.masking),
        "next_sentence": recipe.next_sentence,
        "the teacher's files": teacher_digest(recipe.teacher),
        "teacher_weight": recipe.teacher_weight,
        "dropout": [model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob],
        "compile": recipe.compile,
        "the values of the config": digest([json.dumps(config, sort_keys=True).encode()]),
    }


def _write(found: Pretrained, tokens: tuple[int, int], used: Utilization) -> None:
    """Write everything into the run's folder; the report comes last, so a folder that has one is complete."""
    out, history = found.recipe.out, found.history
    found.model.save_pretrained(out)
    found.tokenizer.save_pretrained(out)
    write_json(out / RUN, {**found.recipe.to_dict(), "settings": history.settings})
    lines = [record for record in history.records if "tokens" in record]
    summary = PretrainingSummary(
        start=str(found.recipe.start or found.recipe.config),
        data=str(found.recipe.data),
        tokens=tokens,
        parameters=found.model.num_parameters(),
        utilization=used.of(lines[-1]) if lines else None,
        compared=found.compared,
        pictures=_draw(history, out),
    )
    write_json(out / RESULTS, {"heldout": found.metrics, "steps": history.step, "tokens": tokens[1]})
    write_text(out / REPORT, render(summary, history, found.metrics))


def _draw(history: History, out: Path) -> dict[str, str]:
    if why := drawing.why_no_plots():
        logger.warning("No curves were drawn: %s", why)
        return {}
    draw_curves(history.records, "accuracy", None, out / "curves.png", "documents held out", f"{MASKED_LM}_loss")
    return {"curves.png": "masked-LM loss in training and on documents held out, and accuracy on the latter, by step"}
