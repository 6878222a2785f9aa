"""Cohere's routes, and those modelled on them: embeddings in several types, reranking, scores of pairs."""

from collections.abc import Sequence
from dataclasses import replace
from time import time
from typing import Any
from uuid import uuid4

from msgspec import UNSET

from bertie.serving.cohere_shapes import (
    PROMPTS,
    Document,
    EmbedRequest,
    RankedDocument,
    RankRequest,
    ScoreRequest,
    encoded,
    render_error,
)
from bertie.serving.exchange import Exchange
from bertie.serving.http_app import PostRoute
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import check_texts
from bertie.serving.service import Answers
from bertie.serving.vectors_and_scores import best_first, known_prompt_name, scores_of, vectors_of


async def embed(exchange: Exchange, body: EmbedRequest) -> Any:
    """Reply with the vectors of texts in each requested type."""
    texts = body.all_texts
    check_texts(texts, "texts")
    prompt = known_prompt_name(exchange, body.model, PROMPTS.get(body.input_type or "", ()))
    vectors, answers = await vectors_of(
        exchange,
        texts,
        body.model,
        dimensions=body.output_dimension,
        field="output_dimension",
        prompt_name=prompt,
        refuse_truncation=body.truncate == "NONE",
        truncation_side="left" if body.truncate == "START" else "right",
    )
    return {
        "id": exchange.id,
        "embeddings": {kind: encoded(vectors, kind) for kind in body.embedding_types or ("float",)},
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": _meta({"input_tokens": answers.tokens}, answers),
    }


async def embed_v1(exchange: Exchange, body: EmbedRequest) -> Any:
    """Reply in the format of version 1: without ``embedding_types``, the vectors are a plain list."""
    reply = await embed(exchange, body)
    if body.embedding_types is not None:
        return reply
    return reply | {"embeddings": reply["embeddings"]["float"], "response_type": "embeddings_floats"}


async def rank(exchange: Exchange, body: RankRequest) -> Any:
    """Reply with the documents, best first, in Cohere's format."""
    results, answers = await _ranked(exchange, body)
    return {"id": exchange.id, "results": results, "meta": _meta({"search_units": 1}, answers)}


async def rank_like_jina(exchange: Exchange, body: RankRequest) -> Any:
    """Reply with the documents, best first, in the format of Jina, infinity and vLLM."""
    results, answers = await _ranked(exchange, body)
    usage = {"prompt_tokens": answers.tokens, "total_tokens": answers.tokens}
    reply = {"object": "rerank", "results": results, "model": exchange.model, "usage": usage}
    return reply | {"id": f"rerank-{uuid4().hex}", "created": int(time())}


async def _ranked(exchange: Exchange, body: RankRequest) -> tuple[list[RankedDocument], Answers]:
    texts = body.texts
    check_texts([body.query], "query")
    check_texts(texts, "documents")
    for name, count in (("top_n", body.top_n), ("max_tokens_per_doc", body.max_tokens_per_doc)):
        if count is not None and count < 1:
            raise Refusal(VALIDATION, f"`{name}` is {count}; it must be at least 1.")
    kept, cut = texts, [0] * len(texts)
    if body.max_tokens_per_doc is not None:
        service = exchange.service
        tokenizer, characters = service.model_for("reranking", body.model).tokenizer, service.check_size(texts)
        given = (tokenizer, texts, body.max_tokens_per_doc)
        kept, cut = await service.reader.run(_first_tokens, *given, characters=characters)
    scores, answers = await scores_of(exchange, [(body.query, text) for text in kept], body.model)
    answers = replace(answers, truncated=[sum(both) for both in zip(answers.truncated, cut, strict=True)])
    exchange.answers[-1] = answers
    found = [
        RankedDocument(index, scores[index], Document(texts[index]) if body.return_documents else UNSET)
        for index in best_first(scores)[: body.top_n]
    ]
    return found, answers


def _first_tokens(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> tuple[list[str], list[int]]:
    """Return the beginning of each text that its first ``max_tokens`` cover, and how many tokens are left out."""
    length = max_tokens + tokenizer.num_special_tokens_to_add()
    rows = list(tokenizer.rows(texts, split_special_tokens=True, truncation=True, max_length=length))
    stops = [max(stop for _, stop in row.offsets) if row.tokens_cut else None for row in rows]
    return [text[:stop] for text, stop in zip(texts, stops, strict=True)], [row.tokens_cut for row in rows]


async def score(exchange: Exchange, body: ScoreRequest) -> Any:
    """Reply with the score of each pair: one query with each document, or two lists paired one to one."""
    queries = body.text_1 if body.queries is None else body.queries
    documents = body.text_2 if body.documents is None else body.documents
    if queries is None or documents is None:
        raise Refusal(VALIDATION, "Give `text_1` and `text_2`, or `queries` and `documents`.")
    left, right = ([one] if isinstance(one, str) else one for one in (queries, documents))
    check_texts(left, "queries")
    check_texts(right, "documents")
    if len(left) == 1:
        left = left * len(right)
    if len(left) != len(right):
        raise Refusal(VALIDATION, f"There are {len(left)} queries and {len(right)} documents; give one for each.")
    scores, _ = await scores_of(exchange, list(zip(left, right, strict=True)), body.model)
    data = [{"index": number, "object": "score", "score": one} for number, one in enumerate(scores)]
    return exchange.listed("score", data)


def _meta(units: dict[str, int], answers: Answers) -> dict[str, Any]:
    """Return Cohere's ``meta`` object, with a warning if texts were truncated."""
    meta: dict[str, Any] = {"api_version": {"version": "2"}, "billed_units": units}
    cut = sum(map(bool, answers.truncated))
    if cut:
        meta["warnings"] = [f"{cut} of {len(answers.truncated)} texts were too long and were truncated."]
    return meta


ROUTES = (
    PostRoute("/v2/embed", EmbedRequest, embed, render_error),
    PostRoute("/v1/embed", EmbedRequest, embed_v1, render_error),
    PostRoute("/v2/rerank", RankRequest, rank, render_error),
    PostRoute("/v1/rerank", RankRequest, rank_like_jina, render_error),
    PostRoute("/score", ScoreRequest, score, render_error),
    PostRoute("/v1/score", ScoreRequest, score, render_error),
)
