"""The bodies and errors of text-embeddings-inference."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from bertie.serving.refusals import VALIDATION, Refusal
from bertie.serving.request_inputs import check_texts

Side = Literal["right", "left", "Right", "Left"]
# one text or sequence of ids, or several; `several` tells which
Inputs = str | list[str | int | list[int]]


class TruncationOptions(Struct, kw_only=True):
    """How texts that are too long are handled; and ``model``, which is bertie's own."""

    truncate: bool | None = None
    truncation_direction: Side = "right"
    model: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """These as keyword arguments of `Exchange.answer`; null is ``truncate: true``."""
        side = self.truncation_direction.lower()
        return {"refuse_truncation": self.truncate is False, "truncation_side": side, "model": self.model}


class EmbedSparseRequest(TruncationOptions, kw_only=True):
    inputs: Inputs


class EmbedAllRequest(EmbedSparseRequest, kw_only=True):
    prompt_name: str | None = None


class EmbedRequest(EmbedAllRequest, kw_only=True):
    normalize: bool = True
    dimensions: int | None = None


class PredictRequest(TruncationOptions, kw_only=True):
    inputs: str | list[str | list[str]]
    raw_scores: bool = False


class RerankRequest(TruncationOptions, kw_only=True):
    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


class SimilarityInputs(Struct):
    source_sentence: str
    sentences: list[str]


class SimilarityParameters(TruncationOptions, kw_only=True):
    prompt_name: str | None = None


class SimilarityRequest(Struct):
    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizeRequest(Struct):
    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: str | None = None
    model: str | None = None


class DecodeRequest(Struct):
    ids: list[int | list[int]]
    skip_special_tokens: bool = True
    model: str | None = None


class Ranked(Struct):
    index: int
    score: float
    text: str | UnsetType = UNSET


def several(inputs: Inputs, name: str = "inputs") -> list[Any]:
    """Return one or several inputs as a list: ``[1, 2]`` is one sequence of ids, ``[[1], [2]]`` are two."""
    if isinstance(inputs, str):
        inputs = [inputs]
    elif inputs and all(isinstance(one, int) for one in inputs):
        inputs = [inputs]  # type: ignore[list-item]
    if len({type(one) for one in inputs}) > 1:
        raise Refusal(VALIDATION, f"`{name}` mixes texts and ids; give texts, or lists of ids.")
    check_texts(inputs, name)
    return list(inputs)


def pairs(inputs: str | list[str | list[str]]) -> tuple[list[Any], bool]:
    """Return texts and pairs, and whether they came as a batch: ``["a", "b"]`` is one pair."""
    single = isinstance(inputs, str) or all(isinstance(one, str) for one in inputs)
    groups: list[Any] = [inputs] if single and inputs != [] else list(inputs)
    check_texts(groups, "inputs")
    found = []
    for group in groups:
        texts = [group] if isinstance(group, str) else group
        check_texts(texts, "inputs")
        if len(texts) > 2:
            raise Refusal(VALIDATION, f"An input has {len(texts)} texts; give one, or two for a pair.")
        found.append(texts[0] if len(texts) == 1 else tuple(texts))
    return found, not single


def render_error(refusal: Refusal) -> tuple[int, Any]:
    """Return a refusal in text-embeddings-inference's format."""
    status, kind = refusal.kind.tei
    return status, {"error": str(refusal), "error_type": kind}
