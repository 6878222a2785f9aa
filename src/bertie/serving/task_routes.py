"""bertie's own routes: entities, answers in a context, fills, next sentences, choices, attention, vectors of spans."""

from typing import Any

import numpy as np

from bertie.serving.exchange import Exchange
from bertie.serving.http_app import Posted
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
    told,
    told_lists,
)
from bertie.serving.tei_shapes import pairs, tell
from bertie.serving.vectors_and_scores import shaped
from bertie.tasks.late_chunking import SpannedText

# fills of all masks of a request, or answers of all its questions
MOST_ANSWERS = 20_000


async def tag(exchange: Exchange, body: TagRequest) -> Any:
    """Reply with the entities of each text, as spans of its characters; a long text is read in windows."""
    model = exchange.service.model_for("token-classification", body.model)
    usual: Any = model.task("token-classification")
    strategy = body.aggregation_strategy or (
        "simple" if usual.aggregation_strategy == "none" else usual.aggregation_strategy
    )
    inputs, batch = one_or_several(body.inputs)
    answers = await exchange.answer(
        "token-classification",
        inputs,
        body.model,
        aggregation_strategy=strategy,
        ignore_labels=body.ignore_labels,
        windows=body.windows,
    )
    return told("entities", answers.values, answers, batch)


async def answer(exchange: Exchange, body: AnswerRequest) -> Any:
    """Reply with the parts of each context that answer its question, best first."""
    questions, batch = body.pairs()
    check_texts(questions, "inputs")
    if len(questions) * body.top_k > MOST_ANSWERS:
        raise Refusal(VALIDATION, f"`top_k` is {body.top_k}; {MOST_ANSWERS} answers are allowed in a request.")
    answers = await exchange.answer(
        "question-answering",
        questions,
        body.model,
        top_k=body.top_k,
        handle_impossible_answer=body.handle_impossible_answer,
        max_answer_len=body.max_answer_len,
    )
    return told_lists("answers", answers, batch)


async def fill_mask(exchange: Exchange, body: FillMaskRequest) -> Any:
    """Reply with the words that may stand at each mask of each text, best first."""
    inputs, batch = one_or_several(body.inputs)
    words = exchange.service.model_for("fill-mask", body.model).tokenizer
    fills = sum(text.count(words.mask_token) for text in inputs) * body.top_k
    if fills > MOST_ANSWERS:
        raise Refusal(VALIDATION, f"The masks have {fills} fills, `top_k` for each; {MOST_ANSWERS} are allowed.")
    _check_targets(words, [body.targets] if isinstance(body.targets, str) else body.targets or [])
    answers = await exchange.answer("fill-mask", inputs, body.model, top_k=body.top_k, targets=body.targets)
    masks = [[value] if isinstance(value[0], dict) else value for value in answers.values]
    return told("masks", masks, answers, batch)


def _check_targets(tokenizer: Any, targets: list[str]) -> None:
    for target in targets:
        if tokenizer.convert_tokens_to_ids(target) in (None, tokenizer.unk_token_id):
            raise Refusal(VALIDATION, f"`targets` holds {target!r:.60}, which is not a word of the model's vocabulary.")


async def next_sentence(exchange: Exchange, body: NextSentenceRequest) -> Any:
    """Reply with how likely the second text of each pair follows the first."""
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
    most = max(1, *(len(choices) for _, choices in prompts))
    answers = await exchange.answer("multiple-choice", prompts, body.model, top_k=most)
    return told_lists("choices", answers, batch)


async def embed_spans(exchange: Exchange, body: EmbedSpansRequest) -> Any:
    """Reply with the vector of each span of a text, pooled from tokens that have seen the whole text.

    This is late chunking (Günther et al. 2024, arXiv 2409.04701); a long text is read in windows, and nothing is cut.
    """
    check_texts([body.inputs], "inputs")
    check_texts(body.spans, "spans")
    width = exchange.service.model_for(SPANS, body.model).config.hidden_size
    exchange.service.check_numbers(len(body.spans) * width)
    inputs = [SpannedText(body.inputs, tuple(body.spans))]
    answers = await exchange.answer(SPANS, inputs, body.model, prompt_name=body.prompt_name, numbers_a_token=width)
    vectors = exchange.vectors(shaped(answers.values[0], body.normalize, body.dimensions))
    return vectors if exchange.wants_bytes else {"vectors": vectors, "truncated": answers.truncated[0]}


async def attention(exchange: Exchange, body: AttentionRequest) -> Any:
    """Reply with a text's tokens, and how each of them shares one head's attention among them, to four places."""
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
    Posted("/tag", TagRequest, tag, tell),
    Posted("/answer", AnswerRequest, answer, tell),
    Posted("/fill-mask", FillMaskRequest, fill_mask, tell),
    Posted("/next-sentence", NextSentenceRequest, next_sentence, tell),
    Posted("/choose", ChooseRequest, choose, tell),
    Posted("/embed_spans", EmbedSpansRequest, embed_spans, tell),
    Posted("/attention", AttentionRequest, attention, tell),
)
