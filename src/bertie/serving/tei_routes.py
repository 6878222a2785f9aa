"""The routes of text-embeddings-inference."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from starlette.responses import Response

import bertie
from bertie.errors import InputError
from bertie.serving.exchange import Exchange, check_finite, read_json
from bertie.serving.generate_routes import generate
from bertie.serving.generate_shapes import GenerateRequest
from bertie.serving.http_app import GetRoute, PostRoute
from bertie.serving.refusals import VALIDATION, WRONG_MODEL, Refusal
from bertie.serving.request_inputs import check_texts, one_or_several
from bertie.serving.served_model import SPARSE, ServedModel
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.task_routes import answer, choose, fill_mask, next_sentence, tag
from bertie.serving.task_shapes import (
    AnswerRequest,
    ChooseRequest,
    FillMaskRequest,
    NextSentenceRequest,
    TagRequest,
)
from bertie.serving.tei_shapes import (
    DecodeRequest,
    EmbedAllRequest,
    EmbedRequest,
    EmbedSparseRequest,
    PredictRequest,
    Ranked,
    RerankRequest,
    SimilarityParameters,
    SimilarityRequest,
    TokenizeRequest,
    pairs,
    render_error,
    several,
)
from bertie.serving.vectors_and_scores import best_first, scores_of, vectors_of

# in a request to /tokenize or /decode, whose replies are far larger than the texts
MAX_TOKENS = 100_000
_TOKEN_WEIGHT = np.dtype([("index", np.int64), ("value", np.float32)])


async def embed(exchange: Exchange, body: EmbedRequest) -> Any:
    """Reply with the vector of each text."""
    vectors, _ = await vectors_of(
        exchange,
        several(body.inputs),
        normalize=body.normalize,
        dimensions=body.dimensions,
        prompt_name=body.prompt_name,
        **body.options,
    )
    return exchange.vectors(vectors)


async def embed_all(exchange: Exchange, body: EmbedAllRequest) -> Any:
    """Reply with the vectors of each text's tokens."""
    model = exchange.service.model_for("feature-extraction", body.model)
    inputs = _with_prompt(exchange, model, body, several(body.inputs))
    answers = await exchange.answer(
        "feature-extraction", inputs, values_per_token=model.config.hidden_size, **body.options
    )
    return answers.values


async def embed_sparse(exchange: Exchange, body: EmbedSparseRequest) -> Any:
    """Reply with the sparse vector of each text: vocabulary entries and their weights."""
    answers = await exchange.answer(SPARSE, several(body.inputs), **body.options)
    exchange.service.check_answer_size(sum(len(words) for words, _ in answers.values))
    return [np.rec.fromarrays(text, dtype=_TOKEN_WEIGHT) for text in answers.values]


async def predict(exchange: Exchange, body: PredictRequest) -> Any:
    """Reply with the score of each label for each text or pair, best first."""
    inputs, batch = pairs(body.inputs)
    labels = exchange.service.model_for("text-classification", body.model).config.num_labels
    function = "none" if body.raw_scores else None
    answers = await exchange.answer(
        "text-classification", inputs, top_k=labels, function_to_apply=function, **body.options
    )
    return answers.values if batch else answers.values[0]


async def rerank(exchange: Exchange, body: RerankRequest) -> Any:
    """Reply with the texts' scores, best first."""
    check_texts([body.query], "query")
    check_texts(body.texts, "texts")
    inputs = [(body.query, text) for text in body.texts]
    scores, _ = await scores_of(exchange, inputs, raw_scores=body.raw_scores, **body.options)
    return [
        Ranked(index, scores[index], body.texts[index] if body.return_text else UNSET) for index in best_first(scores)
    ]


async def similarity(exchange: Exchange, body: SimilarityRequest) -> Any:
    """Reply with the cosine similarity of each sentence to the source sentence."""
    check_texts(body.inputs.sentences, "sentences")
    check_texts([body.inputs.source_sentence], "source_sentence")
    parameters = body.parameters or SimilarityParameters()
    inputs = [body.inputs.source_sentence, *body.inputs.sentences]
    vectors, _ = await vectors_of(exchange, inputs, prompt_name=parameters.prompt_name, **parameters.options)
    cosines = vectors[1:] @ vectors[0]
    check_finite(cosines)
    return cosines.tolist()


async def tokenize(exchange: Exchange, body: TokenizeRequest) -> Any:
    """Reply with the tokens of each text and their character offsets."""
    texts, _ = one_or_several(body.inputs)
    model = exchange.service.named(body.model)
    texts = _with_prompt(exchange, model, body, texts)
    size = exchange.service.check_size(texts)
    return await exchange.service.reader.run(_tokens, model, texts, body.add_special_tokens, characters=size)


def _with_prompt(
    exchange: Exchange, model: ServedModel, body: EmbedAllRequest | TokenizeRequest, texts: list[Any]
) -> list[Any]:
    """Return the texts with the prompt that the request names prepended."""
    if body.prompt_name is None:
        return texts
    reader: Any = exchange.service.model_for("embed", model.name).task("embed", prompt_name=body.prompt_name)
    return [reader.read(text) for text in texts]


def _tokens(model: ServedModel, texts: list[str], add_special_tokens: bool) -> list[list[dict[str, Any]]]:
    rows, found = list(model.tokenizer.rows(texts, split_special_tokens=True)), []
    _check_tokens(sum(map(len, rows)))
    for text, row in zip(texts, rows, strict=True):
        tokens = []
        columns = zip(row.ids, row.tokens, row.special_tokens_mask, row.offsets, strict=True)
        for token, piece, special, (start, stop) in columns:
            if special and not add_special_tokens:
                continue
            offsets = {"start": None, "stop": None} if special else {"start": start, "stop": stop}
            shown = piece if special else text[start:stop]
            tokens.append({"id": token, "text": shown, "special": bool(special), **offsets})
        found.append(tokens)
    return found


def _check_tokens(count: int) -> None:
    if count > MAX_TOKENS:
        raise Refusal(VALIDATION, f"The inputs have {count} tokens; {MAX_TOKENS} are allowed in a request.")


async def decode(exchange: Exchange, body: DecodeRequest) -> Any:
    """Reply with the text of each sequence of ids."""
    rows = several(body.ids, "ids")  # type: ignore[arg-type]
    _check_tokens(sum(map(len, rows)))
    model = exchange.service.named(body.model)
    size = model.config.get_text_config(decoder=True).vocab_size
    if (wrong := next((token for row in rows for token in row if not 0 <= token < size), None)) is not None:
        raise InputError(f"`ids` contains {wrong}; the model's vocabulary has 0 to {size - 1}.")
    read = model.tokenizer.decode
    return await exchange.service.reader.run(
        lambda: [read(row, skip_special_tokens=body.skip_special_tokens) for row in rows],
        characters=sum(map(len, rows)),
    )


async def by_type(exchange: Exchange, body: msgspec.Raw) -> Any:
    """Reply as the route of the first model's main task would, for platforms with a single path."""
    task = exchange.service.named().tasks[0]
    if task not in _BY_TYPE:
        raise Refusal(
            WRONG_MODEL, f"{exchange.service.named().name!r} cannot be called at this path; use its task's own."
        )
    shape, reply = _BY_TYPE[task]
    return await reply(exchange, read_json(bytes(body), shape))


async def info(service: Service, _: Metrics) -> Any:
    """Reply with the models and limits of this server."""
    limits, (model, *others) = service.limits, service.models.values()
    return {
        "model_id": model.name,
        "model_sha": None,
        "model_dtype": model.queue.model.dtype,
        "served_model_name": model.name,
        "model_type": model_type(model),
        "max_concurrent_requests": limits.concurrent,
        "max_input_length": model.task(model.tasks[0]).limit,
        "max_batch_tokens": model.queue.step_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.inputs,
        "auto_truncate": True,
        "tokenization_workers": service.reader.threads,
        "version": bertie.__version__,
        "sha": None,
        "docker_label": None,
        "models": [_describe(one) for one in (model, *others)],
    }


def _describe(model: ServedModel) -> dict[str, Any]:
    """Return the description of a model in ``/info``."""
    encoder = model.config.get_text_config(encoder=True)
    return {
        "name": model.name,
        "tasks": model.tasks,
        "computes": model.explain(),
        "labels": list(model.config.id2label.values()) if "text-classification" in model.tasks else [],
        "layers": encoder.num_hidden_layers,
        "heads": encoder.num_attention_heads,
        "mask_token": model.tokenizer.mask_token,
        "max_input_length": model.task(model.tasks[0]).limit,
    }


def model_type(model: ServedModel) -> dict[str, Any]:
    """Return the type of a model, in text-embeddings-inference's terms where it has them."""
    task = model.tasks[0]
    if task == "embed":
        embed: Any = model.task("embed")
        return {"embedding": {"pooling": "+".join(embed.recipe.modes)}}
    if task in ("reranking", "text-classification", "token-classification"):
        labels = {str(number): label for number, label in model.config.id2label.items()}
        names = {"reranking": "reranker", "text-classification": "classifier"}
        return {names.get(task, task): {"id2label": labels, "label2id": dict(model.config.label2id)}}
    return {task: {}}


async def health(service: Service, _: Metrics) -> Any:
    """Reply with an empty body if every model computes."""
    await service.check_health()
    return Response()


async def metrics(service: Service, kept: Metrics) -> Any:
    """Reply with the metrics in Prometheus' text format."""
    kept.note_load(service.waiting, service.in_flight)
    return Response(kept.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


_BY_TYPE: dict[str, tuple[type, Callable[[Exchange, Any], Awaitable[Any]]]] = {
    "embed": (EmbedRequest, embed),
    "reranking": (RerankRequest, rerank),
    "text-classification": (PredictRequest, predict),
    "token-classification": (TagRequest, tag),
    "question-answering": (AnswerRequest, answer),
    "fill-mask": (FillMaskRequest, fill_mask),
    "next-sentence": (NextSentenceRequest, next_sentence),
    "multiple-choice": (ChooseRequest, choose),
    "text-generation": (GenerateRequest, generate),
    "text2text-generation": (GenerateRequest, generate),
}
ROUTES = (
    PostRoute("/embed", EmbedRequest, embed, render_error),
    PostRoute("/embed_all", EmbedAllRequest, embed_all, render_error),
    PostRoute("/embed_sparse", EmbedSparseRequest, embed_sparse, render_error),
    PostRoute("/predict", PredictRequest, predict, render_error),
    PostRoute("/rerank", RerankRequest, rerank, render_error),
    PostRoute("/similarity", SimilarityRequest, similarity, render_error),
    PostRoute("/tokenize", TokenizeRequest, tokenize, render_error),
    PostRoute("/decode", DecodeRequest, decode, render_error),
    PostRoute("/", msgspec.Raw, by_type, render_error),
    PostRoute("/invocations", msgspec.Raw, by_type, render_error),
    GetRoute("/info", info, render_error),
    GetRoute("/health", health, render_error, public=True, media_types=()),
    GetRoute("/ping", health, render_error, public=True, media_types=()),
    GetRoute("/metrics", metrics, render_error, public=True, media_types=("text/plain",)),
)
