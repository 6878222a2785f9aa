"""Fine-tuning: labelled data and a checkpoint in; a model with its true quality, and a folder to forward, out."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.finetuning.api import Finetuned, finetune
from bertie.finetuning.rerun import arguments_of
from bertie.finetuning.searching import Trial
from bertie.finetuning.sweeping import Sweep, sweep

__all__ = ["Finetuned", "Sweep", "Trial", "arguments_of", "finetune", "sweep"]
