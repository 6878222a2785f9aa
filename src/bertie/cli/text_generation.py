"""``bertie generate``: a decoder continues texts, or an encoder-decoder turns them into others."""

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
class GenerationOptions:
    """Fields of a `bertie.GenerationConfig`; those left out are the model's own."""

    max_new_tokens: Annotated[int | None, Option(min=1, help="The most tokens to generate.")] = None
    min_new_tokens: Annotated[int | None, Option(min=0, help="The fewest tokens to generate.")] = None
    num_beams: Annotated[int | None, Option(min=1, help="Beams of beam search; 1: none.")] = None
    num_beam_groups: Annotated[int | None, Option(min=1, help="Groups of beams for diverse beam search.")] = None
    diversity_penalty: Annotated[
        float | None, Option(help="With --num-beam-groups: the penalty on tokens of other groups.")
    ] = None
    num_return_sequences: Annotated[int | None, Option(min=1, help="How many texts to generate for each.")] = None
    do_sample: Annotated[bool | None, Option("--sample/--no-sample", help="Sample tokens, or take the likeliest.")] = (
        None
    )
    temperature: Annotated[
        float | None, Option(help="With --sample: above 1, unlikely tokens are drawn more often.")
    ] = None
    top_k: Annotated[
        int | None, Option(help="With --sample or --penalty-alpha: choose among this many likeliest tokens.")
    ] = None
    top_p: Annotated[
        float | None,
        Option(help="With --sample: draw from the likeliest tokens whose probabilities reach this sum."),
    ] = None
    penalty_alpha: Annotated[
        float | None, Option(help="Contrastive search: the weight of the degeneration penalty, 0 to 1.")
    ] = None
    repetition_penalty: Annotated[
        float | None, Option(help="Above 1, tokens that have already occurred become less likely.")
    ] = None
    no_repeat_ngram_size: Annotated[int | None, Option(help="No n-gram of this many tokens occurs twice.")] = None


def generate(
    source: InputOptions,
    full_text: Annotated[
        bool, Option("--full-text", help="Write each prompt before its continuation (decoders only).")
    ] = False,
    *,
    generation: GenerationOptions,
    model: options.ModelOptions,
    column: options.Column = "text",
    form: options.FormatOptions,
    output: OutputOptions,
) -> None:
    """Continue each text, or write a summary or translation of it, as the model was trained to.

    A single text appears on a terminal word by word.
    """
    rows = source.read(form, column)
    pipe = _pipeline(model, full_text, generation)
    if _is_streamed(source, output, pipe):
        from bertie.generation.streamers import TextStreamer

        streamer = TextStreamer(pipe.tokenizer, skip_prompt=not full_text, skip_special_tokens=True)
        pipe([one.text for one in rows], streamer=streamer)
        return
    output.write(pipe, source, rows, "generated_text", lambda _, answer: _texts(answer))


def _pipeline(model: options.ModelOptions, full_text: bool, generation: GenerationOptions) -> Any:
    if model.model is None:
        from bertie.tasks.registry import find

        find("text-generation").default_model()  # says that there is none
    is_pair = is_encoder_decoder(str(model.model))
    if is_pair and full_text:
        raise InputError("--full-text is for decoders, and this model is an encoder-decoder: leave it out.")
    more = {} if is_pair else {"return_full_text": full_text}
    given = options.without_none(vars(generation))
    pipe = model.pipeline("text2text-generation" if is_pair else "text-generation", **more, **given)
    pipe.codec = pipe.codec.with_options(seed=model.seed)
    return pipe


def _is_streamed(source: InputOptions, output: OutputOptions, pipe: Any) -> bool:
    """Whether words are shown as they are generated: one answer to one text, on a terminal."""
    config = pipe.codec.resolve_config(pipe.model.generation_config)
    is_one = len(source.texts or ()) == 1 and config.num_beams == config.num_return_sequences == 1
    plain = output.output is None and output.to is None
    return is_one and plain and sys.stdout is not None and sys.stdout.isatty()


def _texts(answer: list[dict[str, Any]]) -> str | list[str]:
    """Return the text of an answer, or the list of several."""
    texts = [one["generated_text"].strip() for one in answer]
    return texts[0] if len(texts) == 1 else texts
