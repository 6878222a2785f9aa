"""Pipelines whose inputs have two parts: question and context, prompt and choices, query and passages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.frames import is_frame
from bertie.pipelines.running import Pipeline, as_list, marked


class QuestionAnsweringPipeline(Pipeline):
    """A `Pipeline` that also takes questions and contexts as separate arguments."""

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
                either; or, with ``context``, the same as ``question``.
            context: the context of each question, or one for all.
            question: one question or a list of them, instead of ``inputs``.
            batch_size: the most windows in a batch, in this call.
            **options: ``top_k``, ``max_answer_len``, ``handle_impossible_answer`` and the task's others.

        Raises:
            InputTypeError: a question or a context is missing, or questions are given twice.
            InputError: the numbers of questions and contexts differ.
            BertieError: as for `Pipeline.__call__`.
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
    questions = as_list(question)
    contexts = [context] * len(questions) if isinstance(context, str) else as_list(context)
    if len(questions) != len(contexts):
        raise InputError(f"There are {len(questions)} questions and {len(contexts)} contexts; give one for each.")
    return [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]


class ChoicePipeline(Pipeline):
    """A `Pipeline` that also takes a prompt and its choices as separate arguments."""

    def __call__(self, inputs: Any, choices: Any = None, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return the best choice for a prompt, or for each of several.

        Args:
            inputs: one prompt, with ``choices``; a mapping with ``prompt`` and ``choices``; or a list (or iterator) of
                such mappings or of tuples ``(prompt, [choice, …])``.
            choices: the choices for a single prompt.
            batch_size: the most choices in a batch, in this call.
            **options: ``top_k``, ``windows`` and the task's others.

        Raises:
            InputTypeError: a prompt without choices, or choices without a prompt.
            BertieError: as for `Pipeline.__call__`.
        """
        inputs = _combined(inputs, choices, "prompt", "choices", "choose")
        return super().__call__(inputs, batch_size=batch_size, **options)


class RerankPipeline(Pipeline):
    """A `Pipeline` for pairs that also takes a query with all its passages, and returns these ranked."""

    def __call__(self, inputs: Any, passages: Any = None, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return ``[{"index": int, "score": float, "text": str}, …]`` for a query, best first; ``index`` counts from 0.

        Args:
            inputs: one query, with ``passages``; a mapping with ``query`` and ``passages``, or a list of such mappings,
                answered with a list of lists. Pairs ``(query, passage)`` are scored one by one: ``{"score": float}``
                each.
            passages: the passages for a single query.
            batch_size: the most passages in a batch, in this call.
            **options: ``top_k`` (passages to return), ``function_to_apply``, ``windows`` and the task's others.

        Raises:
            InputTypeError: a query without passages, or inputs of another kind.
            BertieError: as for `Pipeline.__call__`.
        """
        inputs = _combined(inputs, passages, "query", "passages", "rerank")
        if _has_passages(inputs):
            return self._ranked([inputs], batch_size, options)[0]
        if isinstance(inputs, Sequence) and inputs and all(map(_has_passages, inputs)):
            return self._ranked(inputs, batch_size, options)
        return super().__call__(inputs, batch_size=batch_size, **options)

    def _ranked(
        self, queries: Sequence[Mapping[str, Any]], batch_size: int | None, options: dict[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """Return the passages of each query, best first."""
        pairs_of = [_pairs(one) for one in queries]
        answers, ranked = iter(self.answered([pair for pairs in pairs_of for pair in pairs], batch_size, options)), []
        task: Any = self.task_with(options)
        for pairs in pairs_of:
            found = [{"index": place, **marked(next(answers)), "text": text} for place, (_, text) in enumerate(pairs)]
            ranked.append(sorted(found, key=lambda one: -one["score"])[: task.top_k or None])
        return ranked


def _combined(inputs: Any, parts: Any, name: str, parts_name: str, call: str) -> Any:
    """Return a text and its parts as one mapping; other inputs as they are."""
    if not isinstance(inputs, str) and parts is not None:
        raise InputTypeError(f"{parts_name} belong to one {name}, a str, but the input is a {type(inputs).__name__}.")
    if isinstance(inputs, str) and parts is None:
        raise InputTypeError(f"A {name} needs its {parts_name}: give both, as in {call}({name}, [one, other]).")
    if isinstance(inputs, str):
        are_several = is_frame(parts) or (isinstance(parts, Iterable) and not isinstance(parts, str))
        return {name: inputs, parts_name: as_list(parts) if are_several else parts}
    return inputs


def _has_passages(value: Any) -> bool:
    return isinstance(value, Mapping) and "passages" in value


def _pairs(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a query with each of its passages."""
    query, passages = value.get("query"), value["passages"]
    if not isinstance(query, str):
        raise InputTypeError(f"The query is {query!r:.60} ({type(query).__name__}); give a str.")
    if isinstance(passages, str) or not isinstance(passages, Iterable):
        raise InputTypeError(f"The passages are {passages!r:.60} ({type(passages).__name__}); give a list of str.")
    return [(query, passage) for passage in as_list(passages)]
