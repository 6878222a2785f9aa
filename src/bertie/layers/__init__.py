"""The parts of a BERT, on packed tokens ``[T, D]``. Modules have the names in checkpoints."""

from bertie.extras import need_torch

need_torch(__name__)
