"""TokenClassificationPipeline: texts, or lists of words, in; their tokens or entities out."""

from typing import Any

from bertie.pipelines.running import Pipeline


class TokenClassificationPipeline(Pipeline):
    """As `Pipeline`; a list of strings may be the words of one text."""

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return the entities of a text, or of each of several.

        Args:
            inputs: one text, or a list (or iterator) of them; a text may be a list of its words. With
                ``is_split_into_words=True`` a list of strings is one text; as in the reference, its answer comes in a
                list of one.
            batch_size: the most texts in a batch, in this call.
            **options: ``aggregation_strategy``, ``ignore_labels``, ``scheme``, ``windows`` and the task's others.

        Raises:
            BertieError: as `Pipeline.__call__`.
        """
        task: Any = self.codec.with_options(**options)
        if isinstance(inputs, list | tuple) and all(isinstance(part, str) for part in inputs):
            # two strings are two texts or words, not a pair
            inputs = [list(inputs)] if task.is_split_into_words and inputs else list(inputs)
        return super().__call__(inputs, batch_size=batch_size, **options)
