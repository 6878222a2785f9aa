"""SearchIndex: semantic search, comparing a question's vector with the vectors of texts."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, InputTypeError, spelled
from bertie.files import checked_path
from bertie.pipelines.embedding import EmbedPipeline
from bertie.pipelines.model_digest import model_digest
from bertie.pipelines.running import as_list
from bertie.pipelines.stored_vectors import ROWS, StoredVectors, Vectors, digest_of
from bertie.pipelines.vector_bits import VectorBits, bits_of, top_indices
from bertie.pipelines.vector_graph import VectorGraph
from bertie.pipelines.vector_similarity import similarity_rows
from bertie.progress import quietly
from bertie.tasks.sentence_transformers_config import DOCUMENT_PROMPTS, QUERY_PROMPTS, Recipe, first_prompt
from bertie.tasks.text_encoder import check_count
from bertie.tokenization.arguments import one_of

# texts whose vectors distinguish models and settings: one with capitals, one in several scripts, one that is truncated
_PROBES = ("A Cat sat on the MAT.", "naïve 猫 кот [MASK] ₂", " ".join(map(str, range(600))))
_QUESTIONS_AT_ONCE = 256
# the fewest candidates that a graph finds per question, before they are compared exactly
_MIN_CANDIDATES = 64


class Hit(NamedTuple):
    """A text that was found: its number in the index, its score, and the text.

    The score is the cosine of the two vectors, or the similarity that the model's files name: the dot product, or a
    negative distance.
    """

    number: int
    score: float
    text: str


class _Part(NamedTuple):
    """Vectors ``[n, D]``, and for each the number of the first text with it."""

    vectors: Vectors
    numbers: NDArray[np.int64]


class SearchIndex:
    """Texts with their vectors, all compared with every question: exact, and fast enough for a million texts.

    For more texts, ``precision="binary"`` compares only the signs of all vectors first, and ``approximate`` does not
    look at every text.

    Args:
        texts: the texts to search: a list, or a column or table as for `Pipeline.__call__`.
        embed: a pipeline made by ``bertie.pipeline("embed")``.
        folder: where the vectors are stored. Vectors that it holds already are memory-mapped, those of new texts are
            added and others removed; None computes all and stores none.
        approximate: True also keeps a graph in the folder and searches it, except with ``among``. It needs usearch; the
            scores are exact, but a text may be missed.
        precision: "binary" first compares the signs of a question's vector with those of all texts, and only the
            nearest of these exactly, except with ``among``; "float32" compares all exactly.
        rescore_multiplier: with "binary", how many times ``top_k`` texts are compared exactly.

    Raises:
        BertieError: usearch is needed but not installed.
        CheckpointError: the folder cannot be written.
        InputError: the folder holds something else, or another process is changing it.
    """

    def __init__(
        self,
        texts: Sequence[str],
        embed: EmbedPipeline,
        folder: str | os.PathLike[str] | None = None,
        approximate: bool = False,
        *,
        precision: str = "float32",
        rescore_multiplier: int = 10,
    ) -> None:
        if not isinstance(embed, EmbedPipeline):
            raise InputTypeError(f"embed is a {type(embed).__name__}; make it with bertie.pipeline('embed').")
        self.texts = as_list(embed.rows_of(texts))
        self._embed = embed
        # a text's number → the numbers of later texts equal to it
        self._duplicates: dict[int, list[int]] = {}
        one_of(spelled("precision"), precision, ("float32", "binary"))
        check_count("rescore_multiplier", rescore_multiplier)
        by_bits = precision == "binary"
        if approximate and by_bits:
            raise InputError(f"Give {spelled('approximate', True)} or {spelled('precision', 'binary')}, not both.")
        # finds candidates, this many times top_k and at least so many
        self._finder: VectorGraph | VectorBits | None = None
        self._multiplier, self._min_candidates = (rescore_multiplier, 1) if by_bits else (4, _MIN_CANDIDATES)
        if folder is None:
            if approximate:
                raise InputError(f"A graph is kept in a folder; give one with {spelled('approximate', True)}.")
            self._parts = list(self._computed())
            self._finder = VectorBits([bits_of(part.vectors) for part in self._parts]) if by_bits else None
        else:
            self._parts = self._stored(checked_path(folder), approximate, by_bits)

    @property
    def vectors(self) -> Vectors:
        """The texts' vectors, float32 ``[N, D]``, normalized if they are compared by the cosine."""
        found = np.empty((len(self.texts), self._embed.dimension), np.float32)
        for vectors, numbers in self._parts:
            found[numbers] = vectors
        for number, others in self._duplicates.items():
            found[others] = found[number]
        return found

    def search(self, questions: str | Sequence[str], top_k: int = 5, among: Collection[int] | None = None) -> Any:
        """Return the ``top_k`` best `Hit` for a question, best first; for several questions a list of such lists.

        Args:
            questions: one, or several.
            top_k: how many to find.
            among: the numbers of the texts to search; None: all.

        Raises:
            InputError: ``top_k`` is below 1, or ``among`` has a number that no text has.
        """
        check_count("top_k", top_k)
        asked = [questions] if isinstance(questions, str) else as_list(self._embed.rows_of(questions))
        searched = self._searched(among)
        found = [
            hits
            for begin in range(0, len(asked), _QUESTIONS_AT_ONCE)
            for hits in self._answers(
                self._vectors_of(asked[begin : begin + _QUESTIONS_AT_ONCE], QUERY_PROMPTS), top_k, searched
            )
        ]
        return found[0] if isinstance(questions, str) else found

    def _answers(self, questions: Vectors, top_k: int, searched: NDArray[np.bool_] | None) -> list[list[Hit]]:
        """Return the hits for questions ``[Q, D]`` among the texts in the mask ``searched [N]``."""
        if self._finder is None or searched is not None:
            return self._best(questions, top_k, self._parts, searched)
        found = self._finder.candidates(questions, max(self._min_candidates, self._multiplier * top_k))
        parts = [self._take(places) for places in found] or [[]] * len(questions)
        return [self._best(one[None], top_k, near, None)[0] for one, near in zip(questions, parts, strict=True)]

    def _take(self, places: NDArray[np.int64]) -> list[_Part]:
        """Return the vectors at these indices into the concatenated parts."""
        starts = np.cumsum([0, *(len(part.numbers) for part in self._parts)])
        parts = np.searchsorted(starts, places, "right") - 1
        rows = [(self._parts[part], place - starts[part]) for part, place in zip(parts, places, strict=True)]
        vectors = np.stack([part.vectors[row] for part, row in rows])
        return [_Part(vectors, np.array([part.numbers[row] for part, row in rows], np.int64))]

    def _best(
        self, questions: Vectors, top_k: int, parts: list[_Part], searched: NDArray[np.bool_] | None
    ) -> list[list[Hit]]:
        similarity = self._recipe.similarity
        firsts = searched if searched is None else self._with_duplicates(searched)
        best = [(np.empty(0, np.float32), np.empty(0, np.int64)) for _ in questions]
        for vectors, numbers in parts:
            if firsts is not None:
                kept = firsts[numbers]
                vectors, numbers = vectors[kept], numbers[kept]
            for place, scores in enumerate(similarity_rows(similarity, questions, vectors)):
                near = top_indices(scores, top_k)
                old_scores, old_numbers = best[place]
                all_scores = np.concatenate([old_scores, scores[near]])
                all_numbers = np.concatenate([old_numbers, numbers[near]])
                nearest = top_indices(all_scores, top_k)
                best[place] = all_scores[nearest], all_numbers[nearest]
        return [self._hits(*each, top_k, searched) for each in best]

    def _hits(
        self, scores: Vectors, numbers: NDArray[np.int64], top_k: int, searched: NDArray[np.bool_] | None
    ) -> list[Hit]:
        """Return the texts with these vectors, duplicates included, best first; ties in the order of the texts."""
        found = [
            (-float(score), each)
            for score, number in zip(scores, numbers.tolist(), strict=True)
            for each in (number, *self._duplicates.get(number, ()))
            if searched is None or searched[each]
        ]
        return [Hit(number, -score, self.texts[number]) for score, number in sorted(found)[:top_k]]

    def _searched(self, among: Collection[int] | None) -> NDArray[np.bool_] | None:
        if among is None:
            return None
        searched = np.zeros(len(self.texts), bool)
        for number in among:
            is_number = isinstance(number, int | np.integer) and not isinstance(number, bool)
            if not is_number or not 0 <= number < len(self.texts):
                raise InputError(f"among has {number!r:.60}; the texts have the numbers 0 to {len(self.texts) - 1}.")
            searched[number] = True
        return searched

    def _with_duplicates(self, searched: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask ``searched``, with a text also set if a duplicate of it is."""
        found = searched.copy()
        for number, others in self._duplicates.items():
            found[number] |= searched[others].any()
        return found

    def _computed(self) -> Iterator[_Part]:
        vectors = self._vectors_of(self.texts, DOCUMENT_PROMPTS)
        for begin in range(0, len(vectors), ROWS):
            part = vectors[begin : begin + ROWS]
            yield _Part(part, np.arange(begin, begin + len(part)))

    def _stored(self, folder: Path, approximate: bool, by_bits: bool) -> list[_Part]:
        """Update the folder and return its vectors; sets `_finder` if candidates are to be found first."""
        first: dict[bytes, int] = {}
        for number, text in enumerate(self.texts):
            if not isinstance(text, str):
                raise InputTypeError(f"Input {number} is a {type(text).__name__}; a folder keeps vectors of texts.")
            if (known := first.setdefault(digest_of(text), number)) != number:
                self._duplicates.setdefault(known, []).append(number)
        with quietly():  # the last probe is truncated on purpose
            probe = self._vectors_of(list(_PROBES), DOCUMENT_PROMPTS)
        digest = model_digest(self._embed.model, self._embed.tokenizer)
        stored = StoredVectors(folder, str(self._embed.codec.config.name_or_path), digest, probe)
        wanted = {digest: self.texts[number] for digest, number in first.items()}
        blocks = stored.update(wanted, lambda texts: self._vectors_of(texts, DOCUMENT_PROMPTS))
        if approximate:
            self._finder = VectorGraph(folder, blocks, self._recipe.similarity)
        elif by_bits:
            self._finder = VectorBits([block.bits for block in blocks])
        return [_Part(each.vectors, np.array([first[digest] for digest in each.digests], np.int64)) for each in blocks]

    @property
    def _recipe(self) -> Recipe:
        return self._embed.codec.recipe

    def _vectors_of(self, texts: list[str], prompts: Sequence[str]) -> Vectors:
        """Return the vectors of texts, with the first of ``prompts`` that the model has before them."""
        name = first_prompt(self._recipe.prompts, prompts)
        options: dict[str, Any] = {} if name is None else {"prompt_name": name}
        vectors: Vectors = self._embed(texts, **options)
        if self._recipe.similarity != "cosine":
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
