"""SearchIndex: texts found by meaning, by comparing a question's vector with every text's."""

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

# texts whose vectors tell models and their settings apart: one in capitals, one of many scripts, one too long for any
_PROBES = ("A Cat sat on the MAT.", "naïve 猫 кот [MASK] ₂", " ".join(map(str, range(600))))
_QUESTIONS_AT_ONCE = 256
# what a graph finds of a question, of which the best are chosen exactly
_CANDIDATES = 64


class Hit(NamedTuple):
    """A text that was found: its number in the index, how near its vector is to the question's, and the text.

    Nearness is the cosine, or what the model's files name: the dot product, or the distance with a minus.
    """

    number: int
    score: float
    text: str


class _Part(NamedTuple):
    """Vectors ``[n, D]``, and the number of the first text that has each."""

    vectors: Vectors
    numbers: NDArray[np.int64]


class SearchIndex:
    """Texts with their vectors, all compared with every question: exact, and fast enough for a million texts.

    Beyond, ``precision="binary"`` looks at a bit of each number first, and ``approximate`` not even at every text.

    Args:
        texts: what is to be found: a list, or a column or table as `Pipeline.__call__` takes it.
        embed: a pipeline made by ``bertie.pipeline("embed")``.
        folder: where the vectors are kept. Those of texts that it holds already are mapped from there, new ones are
            added and others removed; None computes all, and keeps none.
        approximate: True keeps a graph in the folder too, and answers from it all searches but those ``among`` some
            texts. It needs usearch; the scores are exact, but a text may be overlooked.
        precision: "binary" compares the signs of a question's numbers with all texts' first, and exactly those nearest
            by them, unless texts are searched ``among`` others; "float32" all exactly.
        rescore_multiplier: with "binary", how many times as many texts as are asked for are compared exactly.

    Raises:
        BertieError: usearch is asked for, and not installed.
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
        # of a number, the numbers of later texts that are the same
        self._duplicates: dict[int, list[int]] = {}
        one_of(spelled("precision"), precision, ("float32", "binary"))
        check_count("rescore_multiplier", rescore_multiplier)
        by_bits = precision == "binary"
        if approximate and by_bits:
            raise InputError(f"Give {spelled('approximate', True)} or {spelled('precision', 'binary')}, not both.")
        # what finds candidates, and how many times as many as are asked for
        self._finder: VectorGraph | VectorBits | None = None
        self._multiplier, self._fewest = (rescore_multiplier, 1) if by_bits else (4, _CANDIDATES)
        if folder is None:
            if approximate:
                raise InputError(f"A graph is kept in a folder: give one beside {spelled('approximate', True)}.")
            self._parts = list(self._computed())
            self._finder = VectorBits([bits_of(part.vectors) for part in self._parts]) if by_bits else None
        else:
            self._parts = self._stored(checked_path(folder), approximate, by_bits)

    @property
    def vectors(self) -> Vectors:
        """The texts' vectors, float32 ``[N, D]``; each of length 1 where they are compared by the cosine."""
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
            top_k: how many are found.
            among: the numbers of the texts that are searched; None: all.

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
        """Return the hits of questions ``[Q, D]``, among the texts for which ``searched [N]`` is true."""
        if self._finder is None or searched is not None:
            return self._best(questions, top_k, self._parts, searched)
        found = self._finder.candidates(questions, max(self._fewest, self._multiplier * top_k))
        parts = [self._taken(places) for places in found] or [[]] * len(questions)
        return [self._best(one[None], top_k, near, None)[0] for one, near in zip(questions, parts, strict=True)]

    def _taken(self, places: NDArray[np.int64]) -> list[_Part]:
        """Return the vectors at these places, all parts laid one after another."""
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
                old, of = best[place]
                joined, numbered = np.concatenate([old, scores[near]]), np.concatenate([of, numbers[near]])
                nearest = top_indices(joined, top_k)
                best[place] = joined[nearest], numbered[nearest]
        return [self._hits(*each, top_k, searched) for each in best]

    def _hits(
        self, scores: Vectors, numbers: NDArray[np.int64], top_k: int, searched: NDArray[np.bool_] | None
    ) -> list[Hit]:
        """Return all texts that have these vectors, best first, equal ones in the order of the texts."""
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
        """Return for which texts they, or one that is the same, are searched."""
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
        """Return the vectors in a folder that is brought up to date; what finds candidates among them is kept."""
        first: dict[bytes, int] = {}
        for number, text in enumerate(self.texts):
            if not isinstance(text, str):
                raise InputTypeError(f"Input {number} is a {type(text).__name__}; a folder keeps vectors of texts.")
            if (known := first.setdefault(digest_of(text), number)) != number:
                self._duplicates.setdefault(known, []).append(number)
        with quietly():  # the last probe is cut on purpose
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
        """Return the vectors of texts, after the first of ``prompts`` that the model has."""
        name = first_prompt(self._recipe.prompts, prompts)
        options: dict[str, Any] = {} if name is None else {"prompt_name": name}
        vectors: Vectors = self._embed(texts, **options)
        if self._recipe.similarity != "cosine":
            return vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
