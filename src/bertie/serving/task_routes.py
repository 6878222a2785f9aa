"""bertie's own routes: entities, answers in a context, fills, next sentences, choices, attention, vectors of spans."""

from typing import Any

import numpy as np

from bertie.serving.exchange import Exchange
from bertie.serving.http_app import PostRoute
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import check_texts, one_or_several
from bertie.serving.served_model import ATTENTION, SPANS
from bertie.serving.task_shapes import (
    AnswerRequest,
    AttentionRequest,
    ChooseRequest,
    EmbedSpansRequest,
    FillMaskRequest,
    NextSentenceRequest,
    TagRequest,
    lists_with_truncation,
    with_truncation,
)
from bertie.serving.tei_shapes import pairs, render_error
from bertie.serving.vectors_and_scores import truncate_and_normalize
from bertie.tasks.late_chunking import SpannedText

# candidates for all masks of a request, or answers to all its questions
MAX_ANSWERS = 20_000


async def tag(exchange: Exchange, body: TagRequest) -> Any:
    """Reply with the entities of each text, with character offsets; a long text is read in windows."""
    model = exchange.service.model_for("token-classification", body.model)
    task: Any = model.task("token-classification")
    default = "simple" if task.aggregation_strategy == "none" else task.aggregation_strategy
    inputs, batch = one_or_several(body.inputs)
    answers = await exchange.answer(
        "token-classification",
        inputs,
        body.model,
        aggregation_strategy=body.aggregation_strategy or default,
        ignore_labels=body.ignore_labels,
        windows=body.windows,
    )
    return with_truncation("entities", answers.values, answers, batch)


async def answer(exchange: Exchange, body: AnswerRequest) -> Any:
    """Reply with the spans of each context that answer its question, best first."""
    questions, batch = body.pairs()
    check_texts(questions, "inputs")
    if len(questions) * body.top_k > MAX_ANSWERS:
        raise Refusal(VALIDATION, f"`top_k` is {body.top_k}; {MAX_ANSWERS} answers are allowed in a request.")
    answers = await exchange.answer(
        "question-answering",
        questions,
        body.model,
        top_k=body.top_k,
        handle_impossible_answer=body.handle_impossible_answer,
        max_answer_len=body.max_answer_len,
    )
    return lists_with_truncation("answers", answers, batch)


async def fill_mask(exchange: Exchange, body: FillMaskRequest) -> Any:
    """Reply with the candidates for each mask of each text, best first."""
    inputs, batch = one_or_several(body.inputs)
    tokenizer = exchange.service.model_for("fill-mask", body.model).tokenizer
    count = sum(text.count(tokenizer.mask_token) for text in inputs) * body.top_k
    if count > MAX_ANSWERS:
        message = f"The masks would get {count} candidates, `top_k` for each; {MAX_ANSWERS} are allowed."
        raise Refusal(VALIDATION, message)
    _check_targets(tokenizer, [body.targets] if isinstance(body.targets, str) else body.targets or [])
    answers = await exchange.answer("fill-mask", inputs, body.model, top_k=body.top_k, targets=body.targets)
    masks = [[value] if isinstance(value[0], dict) else value for value in answers.values]
    return with_truncation("masks", masks, answers, batch)


def _check_targets(tokenizer: Any, targets: list[str]) -> None:
    for target in targets:
        if tokenizer.convert_tokens_to_ids(target) in (None, tokenizer.unk_token_id):
            raise Refusal(VALIDATION, f"`targets` contains {target!r:.60}, which is not in the model's vocabulary.")


async def next_sentence(exchange: Exchange, body: NextSentenceRequest) -> Any:
    """Reply with the probability that the second text of each pair follows the first."""
    inputs, batch = pairs(body.inputs)
    if not all(isinstance(one, tuple) for one in inputs):
        raise Refusal(VALIDATION, "An input is one text; give pairs, [first, second].")
    answers = await exchange.answer("next-sentence", inputs, body.model)
    found = [value | {"truncated": cut} for value, cut in zip(answers.values, answers.truncated, strict=True)]
    return found if batch else found[0]


async def choose(exchange: Exchange, body: ChooseRequest) -> Any:
    """Reply with the choices of each prompt, best first."""
    prompts, batch = body.prompts()
    check_texts(prompts, "inputs")
    longest = max(1, *(len(choices) for _, choices in prompts))
    answers = await exchange.answer("multiple-choice", prompts, body.model, top_k=longest)
    return lists_with_truncation("choices", answers, batch)


async def embed_spans(exchange: Exchange, body: EmbedSpansRequest) -> Any:
    """Reply with the vector of each span of a text, pooled from token vectors that attend to the whole text.

    This is late chunking (Günther et al. 2024, arXiv 2409.04701); a long text is read in windows, never truncated.
    """
    check_texts([body.inputs], "inputs")
    check_texts(body.spans, "spans")
    width = exchange.service.model_for(SPANS, body.model).config.hidden_size
    exchange.service.check_answer_size(len(body.spans) * width)
    inputs = [SpannedText(body.inputs, tuple(body.spans))]
    answers = await exchange.answer(SPANS, inputs, body.model, prompt_name=body.prompt_name, values_per_token=width)
    vectors = exchange.vectors(truncate_and_normalize(answers.values[0], body.normalize, body.dimensions))
    return vectors if exchange.wants_bytes else {"vectors": vectors, "truncated": answers.truncated[0]}


async def attention(exchange: Exchange, body: AttentionRequest) -> Any:
    """Reply with a text's tokens and the attention weights of one head, rounded to four decimals."""
    check_texts([body.inputs], "inputs")
    answers = await exchange.answer(ATTENTION, [body.inputs], body.model, layer=body.layer, head=body.head)
    tokens, weights = answers.values[0]
    return {
        "tokens": tokens,
        "weights": weights.astype(np.float64).round(4),
        "layer": body.layer,
        "head": body.head,
        "truncated": answers.truncated[0],
    }


ROUTES = (
    PostRoute("/tag", TagRequest, tag, render_error),
    PostRoute("/answer", AnswerRequest, answer, render_error),
    PostRoute("/fill-mask", FillMaskRequest, fill_mask, render_error),
    PostRoute("/next-sentence", NextSentenceRequest, next_sentence, render_error),
    PostRoute("/choose", ChooseRequest, choose, render_error),
    PostRoute("/embed_spans", EmbedSpansRequest, embed_spans, render_error),
    PostRoute("/attention", AttentionRequest, attention, render_error),
)
