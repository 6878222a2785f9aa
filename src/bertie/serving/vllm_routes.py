"""vLLM's routes: classification with all probabilities, and vectors of texts or tokens."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from bertie.serving.exchange import Exchange
from bertie.serving.http_app import PostRoute
from bertie.serving.openai_routes import texts_of
from bertie.serving.openai_shapes import encoded, render_error
from bertie.serving.vectors_and_scores import vectors_of


class ClassifyRequest(Struct, kw_only=True):
    input: str | list[str | int | list[int]]
    model: str | None = None


class PoolingRequest(ClassifyRequest, kw_only=True):
    encoding_format: Literal["float", "base64"] = "float"
    task: Literal["embed", "token_embed"] = "embed"


class Classified(Struct):
    """The best label; for multi-label models, bertie adds the ``labels`` that reach their ``thresholds``."""

    index: int
    label: str
    probs: list[float]
    num_classes: int
    labels: list[str] | UnsetType = UNSET
    thresholds: dict[str, float] | UnsetType = UNSET


async def classify(exchange: Exchange, body: ClassifyRequest) -> Any:
    """Reply with the probability of every class, in the order of the model's labels."""
    texts = texts_of(body.input)
    model = exchange.service.model_for("text-classification", body.model)
    names = model.config.id2label
    answers = await exchange.answer("text-classification", texts, model.name, top_k=model.config.num_labels)
    task: Any = model.task("text-classification")
    multi_label = task.kind == "multi_label_classification"
    thresholds = task.thresholds or [0.5] * len(names)
    data = []
    for number, found in enumerate(answers.values):
        scores = {one["label"]: one["score"] for one in found}
        reached = [name for label, name in names.items() if scores[name] >= thresholds[label]]
        probabilities = [scores[name] for name in names.values()]
        own = (reached, dict(zip(names.values(), thresholds, strict=True))) if multi_label else ()
        data.append(Classified(number, found[0]["label"], probabilities, len(names), *own))
    return exchange.listed("classify", data)


async def pooling(exchange: Exchange, body: PoolingRequest) -> Any:
    """Reply with the vector of each text, or of each of its tokens."""
    texts = texts_of(body.input)
    if body.task == "embed":
        vectors, _ = await vectors_of(exchange, texts, body.model)
        values = [encoded(vector, body.encoding_format) for vector in vectors]
    else:
        width = exchange.service.model_for("feature-extraction", body.model).config.hidden_size
        answers = await exchange.answer("feature-extraction", texts, body.model, values_per_token=width)
        values = list(answers.values)
    data = [{"index": number, "object": "pooling", "data": value} for number, value in enumerate(values)]
    return exchange.listed("pool", data)


ROUTES = (
    PostRoute("/classify", ClassifyRequest, classify, render_error),
    PostRoute("/pooling", PoolingRequest, pooling, render_error),
)
