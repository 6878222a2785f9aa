"""QuestionAnsweringPipeline: questions and contexts in, answers out."""

from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.pipelines.running import Pipeline


class QuestionAnsweringPipeline(Pipeline):
    """As `Pipeline`; questions and contexts may be given by name."""

    def __call__(
        self,
        inputs: Any = None,
        context: Any = None,
        *,
        question: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Return the answer to a question, or to each of several.

        Args:
            inputs: a mapping with ``question`` and ``context``, a pair of them as a tuple, or a list (or iterator) of
                either; or, with ``context`` beside it, what ``question`` is.
            context: the context of each question, or one for all.
            question: one question or a list of them, instead of ``inputs``.
            batch_size: the most windows in a batch, in this call.
            **options: ``top_k``, ``max_answer_len``, ``handle_impossible_answer`` and the task's others.

        Raises:
            InputTypeError: a question or a context alone, or questions given twice.
            InputError: questions and contexts are not as many.
            BertieError: as `Pipeline.__call__`.
        """
        if inputs is not None and question is not None:
            raise InputTypeError("Give questions as inputs or as question=…, not both.")
        if inputs is None or context is not None:
            inputs = _paired(question if inputs is None else inputs, context)
        return super().__call__(inputs, batch_size=batch_size, **options)


def _paired(question: Any, context: Any) -> Any:
    if question is None or context is None:
        raise InputTypeError("A question needs its context: give both question=… and context=….")
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    if isinstance(question, str):
        raise InputError("There is one question and a list of contexts; give a question for each context.")
    questions = list(question)
    contexts = [context] * len(questions) if isinstance(context, str) else list(context)
    if len(questions) != len(contexts):
        raise InputError(f"There are {len(questions)} questions and {len(contexts)} contexts; give one for each.")
    return [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]
