"""SearchIndex: texts found by meaning, by comparing a question's vector with every text's."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputTypeError
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.running import listed
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.text_encoder import check_count

Vectors = NDArray[np.float32]


class Hit(NamedTuple):
    """A text that was found: its number in the index, how near its vector is to the question's, and the text.

    Nearness is the cosine, or what the model's files name: the dot product, or the distance with a minus.
    """

    number: int
    score: float
    text: str


class SearchIndex:
    """Texts with their vectors, all compared with every question: exact, and fast enough for a million texts.

    Args:
        texts: what is to be found: a list, or a column or table as `Pipeline.__call__` takes it.
        embed: a pipeline made by ``bertie.pipeline("embed")``.

    Attributes:
        vectors: float32 ``[N, D]``; each of length 1 where they are compared by the cosine.
    """

    def __init__(self, texts: Sequence[str], embed: EmbedPipeline) -> None:
        if not isinstance(embed, EmbedPipeline):
            raise InputTypeError(f"embed is a {type(embed).__name__}; make it with bertie.pipeline('embed').")
        self.texts = listed(embed.rows_of(texts))
        self._embed = embed
        # models that tell questions and texts apart have a prompt for each
        self.vectors = self._made(self.texts, "document", "passage", "corpus")

    def search(self, questions: str | Sequence[str], top_k: int = 5) -> Any:
        """Return the ``top_k`` best `Hit` for a question, best first; for several questions a list of such lists.

        Raises:
            InputError: ``top_k`` is below 1.
        """
        check_count("top_k", top_k)
        asked = [questions] if isinstance(questions, str) else listed(self._embed.rows_of(questions))
        scores = _NEARNESS[self._recipe.similarity](self._made(asked, "query"), self.vectors)
        found = [self._best(row, min(top_k, len(self.texts))) for row in scores]
        return found[0] if isinstance(questions, str) else found

    def _best(self, scores: Vectors, count: int) -> list[Hit]:
        best = np.argpartition(-scores, count - 1)[:count] if count else np.empty(0, dtype=np.int64)
        # equal scores in the order of the texts
        ordered = best[np.lexsort((best, -scores[best]))]
        return [Hit(int(number), float(scores[number]), self.texts[number]) for number in ordered]

    @property
    def _recipe(self) -> Recipe:
        task: Any = self._embed.codec
        return task.recipe

    def _made(self, texts: list[str], *prompts: str) -> Vectors:
        """Return the vectors of texts, after the first of ``prompts`` that the model has."""
        known = [name for name in prompts if name in self._recipe.prompts]
        options: dict[str, Any] = {"prompt_name": known[0]} if known else {}
        vectors: Vectors = self._embed(texts, **options)
        if self._recipe.similarity != "cosine":
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


# vectors of questions [Q, D] and of texts [N, D] → for each question, how near each text is [N]
_NEARNESS: dict[str, Callable[[Vectors, Vectors], Iterable[Vectors]]] = {
    "cosine": lambda questions, texts: questions @ texts.T,  # all vectors have length 1
    "dot": lambda questions, texts: questions @ texts.T,
    "euclidean": lambda questions, texts: (-np.linalg.norm(texts - one, axis=1) for one in questions),
    "manhattan": lambda questions, texts: (-np.abs(texts - one).sum(axis=1) for one in questions),
}
