"""EmbedPipeline: texts in, one float32 array of vectors out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bertie.errors import InputTypeError
from bertie.pipelines.running import Pipeline, as_list, is_single

if TYPE_CHECKING:
    from bertie.tasks.embed import Embed


class EmbedPipeline(Pipeline):
    """As `Pipeline`, with the answers of all texts in one array."""

    codec: "Embed"

    def __call__(
        self, inputs: Any, *, return_truncated: bool = False, batch_size: int | None = None, **options: Any
    ) -> Any:
        """Return the vectors of texts, as sentence-transformers' ``encode`` does.

        Args:
            inputs: one text, a list of them, or a column or table as for `Pipeline.__call__`.
            return_truncated: True returns ``(vectors, truncated)``, the latter the number of tokens cut off each text.
            batch_size: the most texts in a batch, in this call.
            **options: ``prompt``, ``prompt_name``, ``normalize``, ``truncate_dim``, ``max_length`` and the task's
                others.

        Returns:
            float32 ``[N, D]``, or ``[D]`` for one text; ``truncated`` is int64 ``[N]``, or an int for one text.

        Raises what `Pipeline.__call__` does.
        """
        if isinstance(inputs, Iterator):
            raise InputTypeError("embed returns one array of all texts: give a list, or use .stream() for an iterator.")
        inputs = self.rows_of(inputs)
        single = is_single(inputs)
        answered = self.answered([inputs] if single else as_list(inputs), batch_size, options)
        task: Any = self.task_with(options)
        vectors = np.zeros((len(answered), task.dimension), dtype=np.float32)
        for row, one in zip(vectors, answered, strict=True):
            row[:] = one.answer
        truncated = np.array([one.truncated for one in answered], dtype=np.int64)
        if single:
            return (vectors[0], int(truncated[0])) if return_truncated else vectors[0]
        return (vectors, truncated) if return_truncated else vectors

    @property
    def dimension(self) -> int:
        """D, the dimension of a vector."""
        return self.codec.dimension
