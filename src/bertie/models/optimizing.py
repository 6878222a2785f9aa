"""``bertie.optimize``: a snapshot of a PyTorch model as an engine."""

from typing import Any

import numpy as np
import torch

from bertie.capture import has_hooks
from bertie.engine import Engine
from bertie.engine.activations import Array
from bertie.engine.engine import GENERATIVE
from bertie.errors import InputError, InputTypeError
from bertie.models.hooks import observers
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.quantized import int8_names
from bertie.models.task_model import TaskModel
from bertie.packing import Packed
from bertie.tasks.features import Features

# the largest difference of outputs, relative to max(1, the largest); int8 layers need more, as a last bit can flip the
# rounding of their inputs
TOLERANCE, TOLERANCE_INT8 = 1e-4, 5e-2
_LONGEST = 9


def optimize(model: BertPreTrainedModel) -> Engine:
    """Return a snapshot of ``model`` that is as fast as a pipeline made from a folder.

    It is an engine with copies of the weights, laid out for this processor: later changes to the model do not affect
    it, and it cannot be trained. `bertie.pipeline` accepts it in place of a model, whereas a pipeline made from the
    model itself uses the model's current weights in each call.

    Raises:
        InputTypeError: it is not one of bertie's models, or has further parts or parameters, such as adapters.
        ConfigError: the engine does not support the model, such as one with a user-defined activation.
        InputError: the model is in training mode, on a GPU, in half precision or has hooks, or the engine's outputs
            differ from the model's, because a part of it is not what the config says.
    """
    if not isinstance(model, BertPreTrainedModel):
        raise InputTypeError(
            f"optimize takes one of bertie's models, not a {type(model).__module__}.{type(model).__name__}; for one "
            "with adapters, pass the result of merge_and_unload()."
        )
    if why := _why_not(model):
        raise InputError(f"The engine cannot replace this model: {why}.")
    engine = Engine.of(model)
    _check_outputs(model, engine)
    return engine


def _why_not(model: BertPreTrainedModel) -> str:
    """Return why an engine would not equal the model, or an empty string."""
    if model.training:
        return "it is in training mode; call model.eval() first"
    devices = {each.device for each in model.parameters()}
    if other := next((each for each in devices if each.type != "cpu"), None):
        return f"it is on {other}, and the engine computes on the CPU"
    if model.dtype != torch.float32:
        return f"its weights are {model.dtype}, and the engine computes in torch.float32; call model.float() first"
    if has_hooks(model):
        return "it has hooks, or a replaced forward"
    if seen := next(observers(model), None):
        return f"there is {seen}"
    return ""


@torch.inference_mode()
def _check_outputs(model: BertPreTrainedModel, engine: Engine) -> None:
    """Raise InputError if the model's outputs for two texts differ from the engine's."""
    rows = two_texts(model)
    if engine.architecture in GENERATIVE:
        _check_generated(model, engine, rows)
        return
    packed = TaskModel(model).packed(rows)
    more = {"num_choices": 1} if engine.architecture == "BertForMultipleChoice" else {}
    expected = model(packed, return_dict=True, **more)
    tolerance = TOLERANCE_INT8 if int8_names(model) else TOLERANCE
    for name, found in _outputs(engine, rows).items():
        own = expected[name].numpy()
        difference = float(np.abs(own - found).max())
        if not difference <= tolerance * max(1.0, float(np.abs(own).max())):  # NaN is refused too
            raise InputError(
                f"The engine cannot replace this model: its {name} differ by {difference:.2g}, so a part of the "
                "model is not what its config says."
            )


def _check_generated(model: Any, engine: Engine, rows: Features) -> None:
    """Raise InputError if the model generates other tokens than the engine."""
    packed = Packed.from_flat(rows.ids, rows.lengths, rows.types)
    asked = {"max_new_tokens": 2, "bos_token_id": 0}
    if not np.array_equal(model.generate(packed, **asked).numpy(), engine.generate(rows, asked)):
        raise InputError(
            "The engine cannot replace this model: its tokens differ, so a part of it is not what its config says."
        )


def _outputs(engine: Engine, rows: Features) -> dict[str, Array]:
    """Return the engine's outputs under the names of the model's ``forward``."""
    places = np.arange(len(rows.ids))
    match engine.architecture:
        case "BertModel":
            return {"last_hidden_state": engine.hidden_states(rows)}
        case "BertForPreTraining":
            logits = engine.masked_lm(rows, places)
            return {"prediction_logits": logits, "seq_relationship_logits": engine.next_sentence(rows)}
        case "BertForMaskedLM":
            return {"logits": engine.masked_lm(rows, places)}
        case "BertForNextSentencePrediction":
            return {"logits": engine.next_sentence(rows)}
        case "BertForQuestionAnswering":
            start, end = engine.logits(rows).T
            return {"start_logits": start, "end_logits": end}
    return {"logits": engine.logits(rows)}


def two_texts(model: Any) -> Features:
    """Return two random texts, the same for all models of the same sizes."""
    draw, config = np.random.default_rng(0), model.config.get_text_config(encoder=True)
    lengths = [min(most, config.max_tokens) for most in (_LONGEST, 4)]
    total = sum(lengths)
    return Features(
        ids=draw.integers(config.vocab_size, size=total),
        types=draw.integers(config.type_vocab_size or 1, size=total),
        lengths=lengths,
        truncated=[0, 0],
        empty=[False, False],
    )
