"""The parts of a BERT, each over packed tokens ``[T, D]``. Module names are those of the checkpoints."""

from bertie.extras import need_torch

need_torch(__name__)
