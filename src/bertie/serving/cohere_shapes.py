"""The bodies and errors of Cohere's embeddings and reranking, which vLLM and others accept too."""

from typing import Any, Literal

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from bertie.serving.openai_shapes import base64_of
from bertie.serving.refusals import VALIDATION, Refusal
from bertie.tasks.arrays import Array
from bertie.tasks.sentence_transformers_config import DOCUMENT_PROMPTS, QUERY_PROMPTS

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
# an input type → the names that models give its prompt
PROMPTS = {
    "search_query": QUERY_PROMPTS,
    "search_document": DOCUMENT_PROMPTS,
    "classification": ("classification",),
    "clustering": ("clustering",),
}
# int8 vectors clip beyond this multiple of the root mean square of a unit vector's values
_CLIP = 4.0


class EmbedInput(Struct):
    """An input in parts; bertie accepts text parts only."""

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
        """The texts, including those of ``inputs``, joined from their parts."""
        parts = [part for one in self.inputs for part in one.content]
        if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in parts):
            raise Refusal(VALIDATION, "`inputs` has a part that is not text; this model reads text only.")
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
            raise Refusal(VALIDATION, "A document is neither a text nor an object with `text`.")
        return found  # type: ignore[return-value]


class ScoreRequest(Struct, kw_only=True):
    """One query with several documents, or two lists paired one to one."""

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


def encoded(vectors: Array, kind: EmbeddingType) -> Any:
    """Return unit vectors ``[N, D]`` in one of Cohere's types: floats, integers, or sign bits packed eight to a number.

    Integers are the vector times ``127 √D / 4``, the same scale for all vectors, so that their products are comparable.
    """
    if kind == "float":
        return vectors
    if kind == "base64":
        return [base64_of(vector) for vector in vectors]
    if kind in ("int8", "uint8"):
        scale = 127 * np.sqrt(vectors.shape[1]) / _CLIP
        integers = np.clip(np.rint(vectors * scale), -128, 127).astype(np.int64)
        return integers + 128 * (kind == "uint8")
    if vectors.shape[1] % 8:
        raise Refusal(VALIDATION, f"A vector has {vectors.shape[1]} numbers; {kind} needs a multiple of 8.")
    bits = np.packbits(vectors > 0, axis=1).astype(np.int64)
    return bits - 128 * (kind == "binary")


def render_error(refusal: Refusal) -> tuple[int, Any]:
    """Return a refusal in Cohere's format."""
    return refusal.kind.status, {"message": str(refusal)}
