"""``/generate``: decoders continue texts, encoder-decoders turn them into others."""

from typing import Any

from msgspec import UNSET

from bertie.progress import quietly
from bertie.serving.exchange import Exchange
from bertie.serving.generate_shapes import Generated, GenerateParameters, GenerateRequest
from bertie.serving.http_app import PostRoute
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import one_or_several
from bertie.serving.served_model import GENERATE
from bertie.serving.tei_shapes import render_error
from bertie.tasks.text_generation import TextGeneration


async def generate(exchange: Exchange, body: GenerateRequest) -> Any:
    """Reply with the text generated for each input.

    Requests with the same parameters are batched. Generation stops when the client disconnects.
    """
    if body.stream:
        raise Refusal(VALIDATION, "`stream` is true; this server only sends complete texts: leave it out.")
    inputs, batch = one_or_several(body.inputs)
    model, asked = exchange.service.model_for(GENERATE, body.model), body.parameters or GenerateParameters()
    options = asked.options
    task: Any = model.task(GENERATE, **options)
    with quietly():  # options without effect are an error here, not a warning in the log
        settled = task.resolve_config(model.generation_config)
    if (unused := next(settled.without_effect(options), None)) is not None:
        raise Refusal(VALIDATION, f"{unused}: add that, or leave it out.")
    if isinstance(task, TextGeneration):
        options["return_full_text"] = asked.return_full_text
    elif asked.return_full_text:
        raise Refusal(VALIDATION, "`return_full_text` is for decoders; this model writes another text: leave it out.")
    answers = await exchange.answer(GENERATE, inputs, model.name, **options)
    several = (asked.num_return_sequences or 1) > 1
    found = []
    for value, cut in zip(answers.values, answers.truncated, strict=True):
        texts = [one["generated_text"] for one in value]
        found.append(Generated(texts[0], cut, texts if several else UNSET))
    return found if batch else found[0]


ROUTES = (PostRoute("/generate", GenerateRequest, generate, render_error),)
