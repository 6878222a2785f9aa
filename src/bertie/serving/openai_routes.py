"""OpenAI's routes: embeddings, and the list of models."""

from time import time
from typing import Any

from msgspec import UNSET

from bertie.serving.exchange import Exchange
from bertie.serving.http_app import GetRoute, PostRoute
from bertie.serving.openai_shapes import Embedding, EmbeddingsReply, EmbeddingsRequest, Usage, encoded, render_error
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import check_texts
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.vectors_and_scores import vectors_of

_STARTED = int(time())
_TOKEN_IDS = (
    "`input` contains token ids, which OpenAI's clients make with another tokenizer than this model's; send texts. "
    "In LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)."
)


async def embeddings(exchange: Exchange, body: EmbeddingsRequest) -> Any:
    """Reply with the vector of each text, normalised to length 1."""
    texts = texts_of(body.input)
    vectors, answers = await vectors_of(exchange, texts, body.model, dimensions=body.dimensions)
    data = [
        Embedding(number, encoded(vector, body.encoding_format), truncated=cut or UNSET)
        for number, (vector, cut) in enumerate(zip(vectors, answers.truncated, strict=True))
    ]
    return EmbeddingsReply(data, exchange.model, Usage(answers.tokens, answers.tokens))


def texts_of(given: str | list[Any]) -> list[str]:
    """Return ``input`` as a list of texts; refuse token ids."""
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise Refusal(VALIDATION, _TOKEN_IDS)
    check_texts(texts, "input")
    return texts


async def models(service: Service, _: Metrics) -> Any:
    """Reply with the list of models."""
    listed = [
        {"id": name, "object": "model", "created": _STARTED, "owned_by": "bertie", "tasks": model.tasks}
        for name, model in service.models.items()
    ]
    return {"object": "list", "data": listed}


ROUTES = (
    PostRoute("/v1/embeddings", EmbeddingsRequest, embeddings, render_error),
    PostRoute("/embeddings", EmbeddingsRequest, embeddings, render_error),
    GetRoute("/v1/models", models, render_error),
)
