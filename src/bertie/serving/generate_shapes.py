"""The body of ``/generate``, as text-generation-inference has it: what to go on with, and how words are chosen."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from bertie.tasks.text_generation import MAX_ROWS

_Beams = Annotated[int, Meta(ge=1, le=MAX_ROWS)]


class GenerateParameters(Struct, kw_only=True, forbid_unknown_fields=True):
    """Fields of a `bertie.GenerationConfig`; those that are null are the model's own.

    ``seed`` makes drawn words the same in every request; ``return_full_text`` puts the beginning before a decoder's
    answer.
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
        """What is stated, as tasks take it; ``return_full_text`` is left out."""
        stated = {name: value for name, value in structs.asdict(self).items() if value is not None}
        del stated["return_full_text"]
        return stated


class GenerateRequest(Struct, kw_only=True):
    """``inputs``: the beginning of a text for a decoder, a source for an encoder-decoder; or several."""

    inputs: str | list[str]
    parameters: GenerateParameters | None = None
    stream: bool = False
    model: str | None = None


class Generated(Struct):
    """The best text, and how many tokens of its input were cut off; all texts, where several were asked for."""

    generated_text: str
    truncated: int
    generated_texts: list[str] | UnsetType = UNSET
