"""The bodies of OpenAI's embeddings, and its errors."""

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
    """One vector; ``truncated`` is bertie's own, the tokens that were cut off a text too long."""

    index: int
    embedding: Array | str
    object: str = "embedding"
    truncated: int | UnsetType = UNSET


class EmbeddingsReply(Struct):
    data: list[Embedding]
    model: str
    usage: Usage
    object: str = "list"


def written(vector: Array, encoding: str | None) -> Array | str:
    """Return a vector as it is, or in base64."""
    return base64_of(vector) if encoding == "base64" else vector


def base64_of(vector: Array) -> str:
    """Return the little-endian float32 numbers of a vector in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def tell(refusal: Refusal) -> tuple[int, Any]:
    """Return a refusal as OpenAI tells it."""
    codes = {UNKNOWN_MODEL: "model_not_found", UNAUTHORIZED: "invalid_api_key"}
    told = {"message": str(refusal), "type": refusal.kind.openai, "param": None, "code": codes.get(refusal.kind)}
    return refusal.kind.status, {"error": told}
