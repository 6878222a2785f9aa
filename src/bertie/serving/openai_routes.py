"""OpenAI's routes: embeddings, and the list of models."""

from time import time
from typing import Any

from msgspec import UNSET

from bertie.serving.exchange import Exchange
from bertie.serving.http_app import Asked, Posted
from bertie.serving.openai_shapes import Embedding, EmbeddingsReply, EmbeddingsRequest, Usage, tell, written
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import check_texts
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.vectors_and_scores import vectors_of

_STARTED = int(time())
_FOREIGN = (
    "`input` holds token ids, which OpenAI's clients make with a tokenizer that this model does not have; send texts. "
    "In LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)."
)


async def embeddings(exchange: Exchange, body: EmbeddingsRequest) -> Any:
    """Reply with the vector of each text, of length 1."""
    texts = texts_of(body.input)
    vectors, answers = await vectors_of(exchange, texts, body.model, dimensions=body.dimensions)
    data = [
        Embedding(number, written(vector, body.encoding_format), truncated=cut or UNSET)
        for number, (vector, cut) in enumerate(zip(vectors, answers.truncated, strict=True))
    ]
    return EmbeddingsReply(data, exchange.model, Usage(answers.tokens, answers.tokens))


def texts_of(given: str | list[Any]) -> list[str]:
    """Return ``input`` as a list of texts; refuse token ids."""
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise Refusal(VALIDATION, _FOREIGN)
    check_texts(texts, "input")
    return texts


async def models(service: Service, _: Metrics) -> Any:
    """Reply with the models by name."""
    listed = [
        {"id": name, "object": "model", "created": _STARTED, "owned_by": "bertie", "tasks": model.tasks}
        for name, model in service.models.items()
    ]
    return {"object": "list", "data": listed}


ROUTES = (
    Posted("/v1/embeddings", EmbeddingsRequest, embeddings, tell),
    Posted("/embeddings", EmbeddingsRequest, embeddings, tell),
    Asked("/v1/models", models, tell),
)
