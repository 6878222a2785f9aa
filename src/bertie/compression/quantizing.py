"""bertie.quantize: an int8 model from a floating-point one, whose vectors stay within a given distance."""

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from bertie.capture import keep_modes
from bertie.compression.groups import Group, groups, word_tables
from bertie.compression.observe import Inputs, cosines, observe, vectors
from bertie.compression.rounding import round_layers, round_table
from bertie.data.bundled_texts import book_texts
from bertie.encoder_decoder_config import EncoderDecoderConfig
from bertie.errors import InputError, InputTypeError, nearest
from bertie.frames import listed_texts
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.quantized import declaration
from bertie.progress import Advance, logger, progress, say_once
from bertie.tasks.features import Features
from bertie.tokenization.auto import AutoTokenizer
from bertie.tokenization.tokenizer import Tokenizer

Model = TypeVar("Model", bound=BertPreTrainedModel)

METHODS = ("int8",)
# texts of other kinds than the calibration texts lose up to this many times as much (benchmarks/int8_quality.py)
_OTHER_TEXTS_FACTOR = 3
# The layer to restore next is chosen by this many of the worst texts, among this many layers with the largest errors.
_WORST_TEXTS = 16
_SUSPECTS = 6


def quantize(
    model: Model,
    method: str = "int8",
    *,
    texts: Iterable[str | tuple[str, str]] | None = None,
    tokenizer: Tokenizer | None = None,
    min_cosine: float = 0.99,
    show_progress: bool | None = None,
) -> Model:
    """Return a new model with int8 weights whose vectors stay close to those of ``model``, which is not modified.

    For every text, the cosines of the mean vector and of the first token's stay at least ``min_cosine``: layers that
    lower them too much round their inputs to 16 bits instead of 8, or stay in floating point; these are logged.
    Calibrate on the kind of machine where the model will run: processors without VNNI round all inputs to 16 bits.

    Args:
        model: a floating-point model of bertie on the CPU.
        method: "int8".
        texts: a few hundred texts (or pairs) of the kind the model will read; None: English sentences that come with
            bertie.
        tokenizer: the model's; None: from ``model.name_or_path``.
        min_cosine: the lowest cosine allowed between a text's vectors and those of ``model``.
        show_progress: True always shows a progress bar, False never, None only on a terminal and for long work.

    Raises:
        InputError: an argument is out of range, or there is no tokenizer.
        InputTypeError: this is not a model of bertie, or it is int8 already or has adapters.
    """
    _check(model, method, min_cosine)
    found = groups(model)
    calibration = encode(book_texts() if texts is None else texts, tokenizer, model)
    if texts is None:
        say_once("quantize has no texts of yours and calibrates on English sentences; give texts=[...]")
    with keep_modes(model), progress("layers", len(found) + 2, show_progress) as advance:
        model.eval()
        inputs = observe(model, found, calibration)
        found = [group for group in found if group in inputs]  # cross-attention does not run on texts alone
        advance(1)
        small, errors = _round_all(model, found, inputs, advance)
        wide, kept = _recover(small, model, errors, inputs, calibration, min_cosine)
        small.tie_weights()
        small.config.quantization_config = declaration(small, None)
        advance(1)
    for changed, what in ((wide, "round their inputs to 16 bits"), (kept, "stay in floating point")):
        if changed:
            logger.log(
                logging.WARNING if len(changed) > len(found) // 4 else logging.INFO,
                "%d of %d groups of layers %s, to keep every text's cosine at %s: %s",
                *(len(changed), len(found), what, min_cosine, "; ".join(map(str, changed))),
            )
    return small


def _check(model: BertPreTrainedModel, method: str, min_cosine: float) -> None:
    if method not in METHODS:
        raise InputError(f"method is {method!r}; allowed: {', '.join(map(repr, METHODS))}.{nearest(method, METHODS)}")
    if not isinstance(model, BertPreTrainedModel):
        raise InputTypeError(
            f"quantize takes a model of bertie, not a {type(model).__name__}; load it with from_pretrained"
        )
    if isinstance(model.config, EncoderDecoderConfig):
        raise InputTypeError("quantize takes a single BERT, not an encoder-decoder; leave it in floating point")
    if model.device.type != "cpu":
        raise InputError(f"the model is on {model.device}; int8 is for the CPU: model.to('cpu')")
    if not 0 <= min_cosine <= 1:
        raise InputError(f"min_cosine is {min_cosine}; allowed: numbers from 0 to 1")


def encode(texts: Iterable[str | tuple[str, str]], tokenizer: Tokenizer | None, model: BertPreTrainedModel) -> Features:
    """Return texts or pairs as ids for ``model``; None: with the model's own tokenizer."""
    given = listed_texts(texts)
    if not given:
        raise InputError("texts is empty; give a few hundred texts of the kind the model will read")
    if tokenizer is None:
        if not model.name_or_path:
            raise InputError("the model does not know the folder it came from: give a tokenizer too")
        tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    limit = min(tokenizer.model_max_length, model.config.max_tokens)
    rows = tokenizer(given, truncation=True, max_length=limit, return_token_type_ids=True)
    return Features.from_lists(rows["input_ids"], rows["token_type_ids"], [0] * len(given), [False] * len(given))


def _round_all(
    model: Model, found: Sequence[Group], inputs: dict[Group, Inputs], advance: Advance
) -> tuple[Model, dict[Group, float]]:
    """Return a copy of the model with every group rounded, and the error of each."""
    tables = list(word_tables(model))
    replaced = [model.get_submodule(name) for name in (*tables, *(name for group in found for name in group.names))]
    # parameters that are replaced below need not be copied
    small = copy.deepcopy(model, {id(each): each for module in replaced for each in module.parameters()}).eval()
    for name in tables:
        small.set_submodule(name, round_table(cast(nn.Embedding, model.get_submodule(name))))
    errors = {}
    for group in found:
        rounded = round_layers(_layers(model, group), inputs[group], group.smoothed)
        errors[group] = rounded.error
        _replace(small, group, rounded.layers)
        advance(1)
    small.tie_weights()
    for parameter in small.parameters():
        parameter.requires_grad_(False)
    return small, errors


def _recover(
    small: Model, model: Model, errors: dict[Group, float], inputs: dict[Group, Inputs], texts: Features, floor: float
) -> tuple[list[Group], list[Group]]:
    """Restore precision until no text is below the floor; return the groups at 16 bits, and in floating point."""
    expected = vectors(model, texts)

    @cache
    def widened(group: Group) -> Sequence[nn.Module]:
        return round_layers(_layers(model, group), inputs[group], group.smoothed, input_bits=16).layers

    @cache
    def original(group: Group) -> Sequence[nn.Module]:
        return [copy.deepcopy(layer).requires_grad_(False).eval() for layer in _layers(model, group)]

    aim = 1 - (1 - floor) / _OTHER_TEXTS_FACTOR
    wide = _improve(small, errors, widened, texts, expected, aim, while_helpful=True)
    kept = _improve(small, errors, original, texts, expected, floor)
    return [group for group in wide if group not in kept], kept


def _improve(
    small: BertPreTrainedModel,
    errors: dict[Group, float],
    rebuild: Callable[[Group], Sequence[nn.Module]],
    texts: Features,
    expected: Tensor,
    floor: float,
    while_helpful: bool = False,
) -> list[Group]:
    """Replace groups of layers, those first that help the worst texts most, until no text is below the floor."""
    changed: list[Group] = []
    suspects = sorted(errors, key=lambda group: -errors[group])
    while suspects:
        found = cosines(vectors(small, texts), expected)
        if float(found.min()) >= floor:
            break
        worst = found.argsort()[:_WORST_TEXTS].tolist()
        part, target = texts.select(worst), expected[worst]
        lowest = {group: _lowest_with(small, group, rebuild(group), part, target) for group in suspects[:_SUSPECTS]}
        best = max(lowest, key=lambda group: lowest[group])
        if while_helpful and lowest[best] <= float(found.min()):
            break
        _replace(small, best, rebuild(best))
        suspects.remove(best)
        changed.append(best)
    return changed


def _lowest_with(
    small: BertPreTrainedModel, group: Group, layers: Sequence[nn.Module], texts: Features, expected: Tensor
) -> float:
    """Return the lowest cosine with these layers in place of the group's."""
    before = _layers(small, group)
    _replace(small, group, layers)
    lowest = float(cosines(vectors(small, texts), expected).min())
    _replace(small, group, before)
    return lowest


def _layers(model: BertPreTrainedModel, group: Group) -> list[Any]:
    return [model.get_submodule(name) for name in group.names]


def _replace(model: BertPreTrainedModel, group: Group, layers: Sequence[nn.Module]) -> None:
    for name, layer in zip(group.names, layers, strict=True):
        model.set_submodule(name, layer)
