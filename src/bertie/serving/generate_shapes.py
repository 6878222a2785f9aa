"""The body of ``/generate``, in text-generation-inference's format: inputs and generation parameters."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from bertie.tasks.text_generation import MAX_ROWS

_Beams = Annotated[int, Meta(ge=1, le=MAX_ROWS)]


class GenerateParameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """Fields of a `bertie.GenerationConfig`; null means the model's default.

    ``seed`` makes sampling reproducible; ``return_full_text`` prepends the prompt to a decoder's answer.
    """

    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    num_beams: _Beams | None = None
    length_penalty: float | None = None
    early_stopping: bool | Literal["never"] | None = None
    num_return_sequences: _Beams | None = None
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] | None = None
    return_full_text: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The fields that are set, without ``return_full_text``, as options of the task."""
        stated = {name: value for name, value in structs.asdict(self).items() if value is not None}
        del stated["return_full_text"]
        return stated


class GenerateRequest(Struct, kw_only=True):
    """``inputs``: one text or several; a prompt for a decoder, a source for an encoder-decoder."""

    inputs: str | list[str]
    parameters: GenerateParameters | None = None
    stream: bool = False
    model: str | None = None


class Generated(Struct):
    """The best text, how many tokens were cut off its input, and all texts if several were requested."""

    generated_text: str
    truncated: int
    generated_texts: list[str] | UnsetType = UNSET
