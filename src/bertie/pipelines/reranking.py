"""RerankPipeline: a query and its passages in, the passages with scores out, best first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bertie.errors import InputTypeError
from bertie.pipelines.running import Answered, Pipeline, listed, marked

Ranked = list[dict[str, Any]]


class _Query(NamedTuple):
    text: str
    passages: list[str]


class RerankPipeline(Pipeline):
    """As `Pipeline` for pairs; in addition a query may come with all its passages, which come back in order."""

    def __call__(self, inputs: Any, passages: Any = None, *, batch_size: int | None = None, **options: Any) -> Any:
        """Return ``[{"index": int, "score": float, "text": str}, …]`` for a query, best first; ``index`` counts from 0.

        Args:
            inputs: one query, then with ``passages``; a mapping with ``query`` and ``passages``, or a list of such
                mappings, answered by a list of lists. Pairs ``(query, passage)`` are scored one by one:
                ``{"score": float}`` each.
            passages: those of the one query.
            batch_size: the most passages in a batch, in this call.
            **options: ``top_k`` (passages to give), ``function_to_apply``, ``windows`` and the task's others.

        Raises:
            InputTypeError: a query without passages, or something else that is none of this.
            BertieError: as `Pipeline.__call__`.
        """
        if isinstance(inputs, str):
            if passages is None:
                raise InputTypeError("A query needs its passages: give both, as in rerank(query, [one, other]).")
            inputs = {"query": inputs, "passages": passages}
        elif passages is not None:
            raise InputTypeError(f"passages belong to one query, a str, and the input is a {type(inputs).__name__}.")
        if _is_query(inputs):
            return self._ranked([_query(inputs)], batch_size, options)[0]
        if isinstance(inputs, Sequence) and inputs and all(map(_is_query, inputs)):
            return self._ranked([_query(one) for one in inputs], batch_size, options)
        return super().__call__(inputs, batch_size=batch_size, **options)

    def _ranked(self, queries: Sequence[_Query], batch_size: int | None, options: dict[str, Any]) -> list[Ranked]:
        """Return the passages of each query, best first."""
        pairs = [(query.text, passage) for query in queries for passage in query.passages]
        answered = list(self.stream(pairs, batch_size=batch_size, **options))
        self.tell_truncated(answered)
        task: Any = self.codec.with_options(**options)
        source = iter(answered)
        return [_ordered(query.passages, source)[: task.top_k or None] for query in queries]


def _ordered(passages: Sequence[str], answered: Iterator[Answered]) -> Ranked:
    found = [
        {"index": place, **marked(one), "text": passage}
        for place, (passage, one) in enumerate(zip(passages, answered, strict=False))
    ]
    return sorted(found, key=lambda one: -one["score"])


def _is_query(value: Any) -> bool:
    return isinstance(value, Mapping) and "passages" in value


def _query(value: Mapping[str, Any]) -> _Query:
    query, passages = value.get("query"), value["passages"]
    if not isinstance(query, str):
        raise InputTypeError(f"The query is {query!r:.60} ({type(query).__name__}); give a str.")
    if isinstance(passages, str) or not isinstance(passages, Iterable):
        raise InputTypeError(f"The passages are {passages!r:.60} ({type(passages).__name__}); give a list of str.")
    return _Query(query, listed(passages))
