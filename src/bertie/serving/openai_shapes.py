"""The bodies and errors of OpenAI's embeddings."""

import base64
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from bertie.serving.refusals import UNAUTHORIZED, UNKNOWN_MODEL, Refusal
from bertie.tasks.arrays import Array


class EmbeddingsRequest(Struct, kw_only=True):
    input: str | list[str | int | list[int]]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = None


class Usage(Struct):
    prompt_tokens: int
    total_tokens: int


class Embedding(Struct):
    """One vector; ``truncated`` is bertie's own: how many tokens were cut off the text."""

    index: int
    embedding: Array | str
    object: str = "embedding"
    truncated: int | UnsetType = UNSET


class EmbeddingsReply(Struct):
    data: list[Embedding]
    model: str
    usage: Usage
    object: str = "list"


def encoded(vector: Array, encoding: str | None) -> Array | str:
    """Return a vector unchanged or in base64, by ``encoding``."""
    return base64_of(vector) if encoding == "base64" else vector


def base64_of(vector: Array) -> str:
    """Return the little-endian float32 numbers of a vector in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def render_error(refusal: Refusal) -> tuple[int, Any]:
    """Return a refusal in OpenAI's format."""
    codes = {UNKNOWN_MODEL: "model_not_found", UNAUTHORIZED: "invalid_api_key"}
    code = codes.get(refusal.kind)
    error = {"message": str(refusal), "type": refusal.kind.openai, "param": None, "code": code}
    return refusal.kind.status, {"error": error}
