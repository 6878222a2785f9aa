"""Approximate nearest-neighbour search in a graph of vectors, by usearch (HNSW: Malkov and Yashunin 2016)."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.extras import need
from bertie.files import atomic
from bertie.locking import only_process_in
from bertie.pipelines.stored_vectors import GRAPH, Block, Vectors
from bertie.progress import progress, say_once

# usearch's names of similarities; vectors compared by the cosine are normalized
_METRICS = {"cosine": "ip", "dot": "ip", "euclidean": "l2sq"}
# links per vector, and candidates examined when adding one and when searching
_CONNECTIVITY, _EXPANSION_ADD, _EXPANSION_SEARCH = 32, 128, 128
# a vector counts as reachable if a search for it finds it among so many; more than one, because vectors may be equal
_NEIGHBOURS = 16


class VectorGraph:
    """The graph in the folder of `StoredVectors`, updated to match its blocks of vectors."""

    def __init__(self, folder: Path, blocks: Sequence[Block], similarity: str) -> None:
        library = need("usearch.index", "search", "An approximate search")
        if similarity not in _METRICS:
            raise InputError(f"This model compares vectors by {similarity}, which only exact search supports.")
        width = blocks[0].vectors.shape[1] if blocks else 1
        self._graph = _read(library, folder / GRAPH, width, _METRICS[similarity])
        keys = [_keys(block) for block in blocks]
        joined = np.concatenate([np.empty(0, np.uint64), *keys])
        self._order = np.argsort(joined)
        self._keys = joined[self._order]
        held = np.array(self._graph.keys, np.uint64)
        gone, is_new = np.setdiff1d(held, joined), [~np.isin(each, held) for each in keys]
        if len(gone) or any(each.any() for each in is_new):
            with only_process_in(folder):
                if len(gone):
                    self._graph.remove(gone)
                added = zip(keys, blocks, is_new, strict=True)
                self._link([(own[new], block.vectors[new]) for own, block, new in added if new.any()], similarity)
                with atomic(folder / GRAPH) as temporary:
                    self._graph.save(str(temporary))

    def _link(self, added: Sequence[tuple[NDArray[np.uint64], Vectors]], similarity: str) -> None:
        """Add vectors so that a search for each one finds it.

        Threads that add at the same time leave up to one vector in a hundred unreachable; those are added again by one
        thread. With the dot product, longer vectors may score higher, so a vector need not find itself: all are added
        by one thread.
        """
        single_thread = similarity == "dot"
        with progress("Linking", sum(len(keys) for keys, _ in added)) as advance:
            for keys, vectors in added:
                self._graph.add(keys, vectors, threads=1 if single_thread else 0)
                advance(len(keys))
        for keys, vectors in () if single_thread else added:
            found = self._graph.search(vectors, min(_NEIGHBOURS, len(self._graph))).keys
            lost = ~(found.reshape(len(keys), -1) == keys[:, None]).any(axis=1)
            if lost.any():
                self._graph.remove(keys[lost])
                self._graph.add(keys[lost], vectors[lost], threads=1)

    def candidates(self, questions: Vectors, count: int) -> Iterator[NDArray[np.int64]]:
        """Yield for each question ``[Q, D]`` the nearest vectors found, numbered across all blocks."""
        self._graph.expansion_search = max(_EXPANSION_SEARCH, 2 * count)
        for question in questions if len(self._graph) else ():
            keys = self._graph.search(question, min(count, len(self._graph))).keys
            yield self._order[np.searchsorted(self._keys, keys)]


def _keys(block: Block) -> NDArray[np.uint64]:
    """Return the keys of vectors in the graph: the first 8 bytes of each digest."""
    return np.array([int.from_bytes(digest[:8], "little") for digest in block.digests], np.uint64)


def _read(library: Any, path: Path, width: int, metric: str) -> Any:
    options = {"connectivity": _CONNECTIVITY, "expansion_add": _EXPANSION_ADD, "expansion_search": _EXPANSION_SEARCH}
    new = partial(library.Index, ndim=width, metric=metric, dtype="f16", **options)
    if not path.is_file():
        return new()
    found = new()
    try:
        found.load(str(path))
    except Exception as error:  # usearch raises exceptions of many kinds
        say_once(f"the graph in {str(path)!r} is rebuilt: {error}")
        return new()
    return found if found.ndim == width else new()
