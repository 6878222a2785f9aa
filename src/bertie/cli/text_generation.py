"""``bertie generate``: a decoder goes on with texts, or a pair of BERTs writes others for them."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any

from typer import Option

from bertie.cli import options
from bertie.cli.reading import InputOptions
from bertie.cli.writing import OutputOptions
from bertie.encoder_decoder_config import is_encoder_decoder
from bertie.errors import InputError


@dataclass(frozen=True)
class WritingOptions:
    """How words are chosen, by the names of a `bertie.GenerationConfig`; what is left out is the model's own."""

    max_new_tokens: Annotated[int | None, Option(min=1, help="The most to write.")] = None
    min_new_tokens: Annotated[int | None, Option(min=0, help="The least to write.")] = None
    num_beams: Annotated[int | None, Option(min=1, help="Beams: versions of a text that are tried side by side.")] = (
        None
    )
    num_beam_groups: Annotated[int | None, Option(min=1, help="Groups of beams that shun each other's words.")] = None
    diversity_penalty: Annotated[float | None, Option(help="With --num-beam-groups: how much they shun them.")] = None
    num_return_sequences: Annotated[int | None, Option(min=1, help="How many texts to write for each.")] = None
    do_sample: Annotated[bool | None, Option("--sample/--no-sample", help="Draw words, or take the best.")] = None
    temperature: Annotated[
        float | None, Option(help="With --sample: above 1, unlikely words are drawn more often.")
    ] = None
    top_k: Annotated[
        int | None, Option(help="With --sample or --penalty-alpha: choose among this many likeliest words.")
    ] = None
    top_p: Annotated[
        float | None,
        Option(help="With --sample: draw from the likeliest words whose probabilities reach this sum."),
    ] = None
    penalty_alpha: Annotated[
        float | None, Option(help="Contrastive search: how much likeness to words before counts, 0 to 1.")
    ] = None
    repetition_penalty: Annotated[
        float | None, Option(help="Above 1, words that are already there become less likely.")
    ] = None
    no_repeat_ngram_size: Annotated[int | None, Option(help="No run of this many tokens is written twice.")] = None


def generate(
    source: InputOptions,
    full_text: Annotated[
        bool, Option("--full-text", help="Write each beginning, too, before what follows it (decoders only).")
    ] = False,
    *,
    writing: WritingOptions,
    model: options.ModelOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Go on with each text, or write a summary or translation of it, as the model was trained.

    One text alone appears on a terminal word by word.
    """
    asked = source.read(form, column)
    pipe = _pipeline(model, full_text, writing)
    if _is_shown(source, output, pipe):
        from bertie.generation.streamers import TextStreamer

        streamer = TextStreamer(pipe.tokenizer, skip_prompt=not full_text, skip_special_tokens=True)
        pipe([one.text for one in asked], streamer=streamer)
        return
    output.write(pipe, source, asked, "generated_text", lambda _, answer: _texts(answer))


def _pipeline(model: options.ModelOptions, full_text: bool, writing: WritingOptions) -> Any:
    if model.model is None:
        from bertie.tasks.registry import find

        find("text-generation").default_model()  # says that there is none
    is_pair = is_encoder_decoder(str(model.model))
    if is_pair and full_text:
        raise InputError("--full-text is for decoders, and a pair of BERTs writes another text: leave it out.")
    more = {} if is_pair else {"return_full_text": full_text}
    given = options.given_of(vars(writing))
    pipe = model.pipeline("text2text-generation" if is_pair else "text-generation", **more, **given)
    pipe.codec = pipe.codec.with_options(seed=model.seed)
    return pipe


def _is_shown(source: InputOptions, output: OutputOptions, pipe: Any) -> bool:
    """Whether words are shown as they come: of one text, one answer, to a person."""
    config = pipe.codec.resolve_config(pipe.model.generation_config)
    is_one = len(source.texts or ()) == 1 and config.num_beams == config.num_return_sequences == 1
    plain = output.output is None and output.to is None
    return is_one and plain and sys.stdout is not None and sys.stdout.isatty()


def _texts(answer: list[dict[str, Any]]) -> str | list[str]:
    """Return the text of an answer, or of several returned texts each."""
    texts = [one["generated_text"].strip() for one in answer]
    return texts[0] if len(texts) == 1 else texts
