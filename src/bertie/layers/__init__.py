"""The parts of a BERT, each over packed tokens ``[T, D]``. Module names are those of the checkpoints."""
