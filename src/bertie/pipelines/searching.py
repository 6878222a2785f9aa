"""SearchIndex: texts found by meaning, by comparing a question's vector with every text's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bertie.errors import InputTypeError
from bertie.pipelines.embedding import EmbedPipeline
from bertie.tasks.task import check_count


class Hit(NamedTuple):
    """A text that was found: its number in the index, the cosine of its vector and the question's, and the text."""

    number: int
    score: float
    text: str


class SearchIndex:
    """Texts with their vectors, all compared with every question: exact, and fast enough for a million texts.

    Args:
        texts: what is to be found.
        embed: a pipeline made by ``bertie.pipeline("embed")``.

    Attributes:
        vectors: float32 ``[N, D]``, each of length 1.
    """

    def __init__(self, texts: Sequence[str], embed: EmbedPipeline) -> None:
        if not isinstance(embed, EmbedPipeline):
            raise InputTypeError(f"embed is a {type(embed).__name__}; make it with bertie.pipeline('embed').")
        self.texts = list(texts)
        self._embed = embed
        # models that tell questions and texts apart have a prompt for each
        self.vectors = _of_length_one(embed(self.texts, **self._prompt("document", "passage", "corpus")))

    def search(self, questions: str | Sequence[str], top_k: int = 5) -> Any:
        """Return the ``top_k`` best `Hit` for a question, best first; for several questions a list of such lists.

        Raises:
            InputError: ``top_k`` is below 1.
        """
        check_count("top_k", top_k)
        asked = [questions] if isinstance(questions, str) else list(questions)
        scores = _of_length_one(self._embed(asked, **self._prompt("query"))) @ self.vectors.T
        found = [self._best(row, min(top_k, len(self.texts))) for row in scores]
        return found[0] if isinstance(questions, str) else found

    def _best(self, scores: "np.ndarray[Any, Any]", count: int) -> list[Hit]:
        best = np.argpartition(-scores, count - 1)[:count] if count else np.empty(0, dtype=np.int64)
        # equal scores in the order of the texts
        ordered = best[np.lexsort((best, -scores[best]))]
        return [Hit(int(number), float(scores[number]), self.texts[number]) for number in ordered]

    def _prompt(self, *names: str) -> dict[str, Any]:
        known: Any = self._embed.codec
        return next(({"prompt_name": name} for name in names if name in known.recipe.prompts), {})


def _of_length_one(vectors: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    norms: np.ndarray[Any, Any] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
