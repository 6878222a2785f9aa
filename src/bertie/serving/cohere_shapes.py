"""The bodies of Cohere's embeddings and ranking, as vLLM and others take them too, and their errors."""

from typing import Any, Literal

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from bertie.serving.openai_shapes import base64_of
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.tasks.arrays import Array
from bertie.tasks.sentence_transformers_config import DOCUMENT_PROMPTS, QUERY_PROMPTS

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
# what a text is for → the names of prompts that models have for it
PROMPTS = {
    "search_query": QUERY_PROMPTS,
    "search_document": DOCUMENT_PROMPTS,
    "classification": ("classification",),
    "clustering": ("clustering",),
}
# of a vector of length 1, numbers beyond this many deviations of even ones are the furthest an int8 reaches
_REACH = 4.0


class EmbedInput(Struct):
    """An input in parts, of which bertie reads text."""

    content: list[dict[str, Any]]


class EmbedRequest(Struct, kw_only=True):
    model: str | None = None
    input_type: Literal["search_query", "search_document", "classification", "clustering"] | None = None
    texts: tuple[str, ...] = ()
    inputs: tuple[EmbedInput, ...] = ()
    embedding_types: tuple[EmbeddingType, ...] | None = None
    output_dimension: int | None = None
    truncate: Literal["START", "END", "NONE"] | None = "END"

    @property
    def all_texts(self) -> list[str]:
        """The texts, those of ``inputs`` put together from their parts."""
        parts = [part for one in self.inputs for part in one.content]
        if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in parts):
            raise Refusal(VALIDATION, "`inputs` holds a part that is not text; this model reads text.")
        return [*self.texts, *(" ".join(part["text"] for part in one.content) for one in self.inputs)]


class RankRequest(Struct, kw_only=True):
    query: str
    documents: list[str | dict[str, Any]]
    model: str | None = None
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    return_documents: bool = False

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        found = [one if isinstance(one, str) else one.get("text") for one in self.documents]
        if not all(isinstance(text, str) for text in found):
            raise Refusal(VALIDATION, "`documents` holds one that is neither a text nor an object with `text`.")
        return found  # type: ignore[return-value]


class ScoreRequest(Struct, kw_only=True):
    """Queries and documents: one with each of several, or both lists side by side."""

    text_1: str | list[str] | None = None
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None
    model: str | None = None


class Document(Struct):
    text: str


class RankedDocument(Struct):
    index: int
    relevance_score: float
    document: Document | UnsetType = UNSET


def written(vectors: Array, kind: EmbeddingType) -> Any:
    """Return vectors ``[N, D]`` of length 1 in one of Cohere's types: numbers, whole numbers, or bits, eight in one.

    Whole numbers are the vector times ``127 √D / 4``, so that products of two vectors have a common scale; the sign of
    a number is its bit.
    """
    if kind == "float":
        return vectors
    if kind == "base64":
        return [base64_of(vector) for vector in vectors]
    if kind in ("int8", "uint8"):
        scale = 127 * np.sqrt(vectors.shape[1]) / _REACH
        whole = np.clip(np.rint(vectors * scale), -128, 127).astype(np.int64)
        return whole + 128 * (kind == "uint8")
    if vectors.shape[1] % 8:
        raise Refusal(VALIDATION, f"A vector has {vectors.shape[1]} numbers; {kind} needs a multiple of 8.")
    bits = np.packbits(vectors > 0, axis=1).astype(np.int64)
    return bits - 128 * (kind == "binary")


def tell(refusal: Refusal) -> tuple[int, Any]:
    """Return a refusal as Cohere tells it."""
    return refusal.kind.status, {"message": str(refusal)}
