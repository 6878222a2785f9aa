"""Fine-tuning: from labelled data and a checkpoint to a model, its test metrics, and a folder to share."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.finetuning.api import Finetuned, finetune
from bertie.finetuning.rerun import arguments_of
from bertie.finetuning.searching import Trial
from bertie.finetuning.sweeping import Sweep, sweep

__all__ = ["Finetuned", "Sweep", "Trial", "arguments_of", "finetune", "sweep"]
