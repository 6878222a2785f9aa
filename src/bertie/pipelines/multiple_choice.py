"""ChoicePipeline: prompts with their choices in, the best choices out."""

from typing import Any

from bertie.errors import InputTypeError
from bertie.pipelines.running import Pipeline


class ChoicePipeline(Pipeline):
    """As `Pipeline`; a prompt and its choices may be given side by side."""

    def __call__(self, inputs: Any, choices: Any = None, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return the best choice for a prompt, or for each of several.

        Args:
            inputs: one prompt, then with ``choices``; a mapping with ``prompt`` and ``choices``; or a list (or
                iterator) of such mappings or of tuples ``(prompt, [choice, …])``.
            choices: the choices of the one prompt.
            batch_size: the most choices in a batch, in this call.
            **options: ``top_k``, ``windows`` and the task's others.

        Raises:
            InputTypeError: a prompt without choices, or choices without a prompt.
            As `Pipeline.__call__`.
        """
        if isinstance(inputs, str):
            if choices is None:
                raise InputTypeError("A prompt needs its choices: give both, as in choose(prompt, [one, other]).")
            inputs = {"prompt": inputs, "choices": choices}
        elif choices is not None:
            raise InputTypeError(f"choices belong to one prompt, a str, and the input is a {type(inputs).__name__}.")
        return super().__call__(inputs, batch_size=batch_size, **options)
