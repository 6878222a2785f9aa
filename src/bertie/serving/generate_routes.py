"""``/generate``: a decoder goes on with texts, an encoder-decoder writes others for them."""

from typing import Any

from msgspec import UNSET

from bertie.progress import quietly
from bertie.serving.exchange import Exchange
from bertie.serving.generate_shapes import Generated, GenerateParameters, GenerateRequest
from bertie.serving.http_app import Posted
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import one_or_several
from bertie.serving.served_model import GENERATE
from bertie.serving.tei_shapes import tell
from bertie.tasks.text_generation import TextGeneration


async def generate(exchange: Exchange, body: GenerateRequest) -> Any:
    """Reply with what the model writes for each text.

    Texts that are asked for by the same parameters are written side by side. Writing ends when the client goes away.
    """
    if body.stream:
        raise Refusal(VALIDATION, "`stream` is true; this server answers when a text is complete: leave it out.")
    inputs, batch = one_or_several(body.inputs)
    model, asked = exchange.service.model_for(GENERATE, body.model), body.parameters or GenerateParameters()
    options = asked.options
    task: Any = model.task(GENERATE, **options)
    with quietly():  # what changes nothing is told to the client
        settled = task.resolve_config(model.generation_config)
    if (vain := next(settled.without_effect(options), None)) is not None:
        raise Refusal(VALIDATION, f"{vain}: add that, or leave it out.")
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


ROUTES = (Posted("/generate", GenerateRequest, generate, tell),)
