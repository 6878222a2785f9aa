"""Fine-tuning: labelled data and a checkpoint in; a model with its true quality, and a folder to forward, out."""

from bertie.finetuning.evaluating import Evaluation, evaluate
from bertie.finetuning.finetuned import Finetuned, finetune

__all__ = ["Evaluation", "Finetuned", "evaluate", "finetune"]
