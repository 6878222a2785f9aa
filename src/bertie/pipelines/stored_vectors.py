"""Vectors stored in a folder under the digests of their texts, memory-mapped so that none is computed twice.

The folder holds files of about `ROWS` vectors with their sign bits and the digests of their texts, each replaced
atomically; any number of processes may read them, and one at a time may change them. What has been written is kept, so
that interrupted work can be resumed.
"""

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import CheckpointError, InputError
from bertie.files import atomic, make_folder, read_json, remove_leftovers, shown, write_json
from bertie.locking import only_process_in
from bertie.pipelines.vector_bits import Bits, bits_of
from bertie.progress import progress, say_once

Vectors = NDArray[np.float32]
ROWS = 16_384
_EMBEDDED_AT_ONCE = 2048
_DIGEST = 16
_MANIFEST, _PROBE, _VECTORS = "index.json", "probe.safetensors", "vectors-*.safetensors"
_VERSION = 2
# written by `bertie.pipelines.vector_graph`
GRAPH = "graph.usearch"
# the relative distance below which vectors of a text are from the same model, on whatever chip, threads and batches
_TOLERANCE = 1e-3


def digest_of(text: str) -> bytes:
    """Return the key of a text: its 16-byte BLAKE2b digest."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


class Block(NamedTuple):
    """Vectors ``[n, D]`` mapped from a file, their sign bits, and the digests of their texts."""

    vectors: Vectors
    bits: Bits
    digests: list[bytes]
    path: Path


class StoredVectors:
    """The vectors in a folder, from one model with its settings; a folder that holds anything else is refused."""

    def __init__(
        self,
        folder: Path,
        model: str,  # its name, for people
        digest: str,  # `model_digest`, which identifies the model
        probe: Vectors,  # its vectors of fixed texts, [n, D], which identify its settings
    ) -> None:
        self.folder, self._probe = folder, probe
        self._manifest = {"version": _VERSION, "model": model, "digest": digest}
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The index {shown(folder)} is a file; name a folder.")
        others = [name for name in os.listdir(folder) if not name.startswith(".")] if folder.is_dir() else []
        if others and _MANIFEST not in others and not any(name == _PROBE for name in others):
            raise InputError(f"The folder {shown(folder)} holds {others[0]!r} and no index; name a new folder.")

    def update(self, texts: Mapping[bytes, str], embed: Callable[[list[str]], Vectors]) -> list[Block]:
        """Return blocks that hold the vector of each of ``texts``, by digest, once, and no others.

        Missing vectors are computed, those of other texts removed.
        """
        blocks = self._read()
        # checked after reading, because another process may have started an index of another model meanwhile
        if _is_exact(blocks, texts) and self._is_current():
            return blocks
        if not self.folder.exists():
            make_folder(self.folder).chmod(0o700)  # vectors reveal much about texts, which may be private
        with only_process_in(self.folder):
            remove_leftovers(self.folder)
            if not self._is_current():
                self._reset()
            self._remove_others(texts)
            known = {digest for block in self._read() for digest in block.digests}
            missing = [digest for digest in texts if digest not in known]
            with progress("Embedding", len(missing)) as advance:
                for begin in range(0, len(missing), _EMBEDDED_AT_ONCE):
                    part = missing[begin : begin + _EMBEDDED_AT_ONCE]
                    self._write(part, embed([texts[digest] for digest in part]))
                    advance(len(part))
                    if begin % (ROWS // 2) == 0:  # now and then, because every open file takes a descriptor
                        self._merge()
            self._merge()
            return self._read()

    def _is_current(self) -> bool:
        """Whether the folder has vectors of this model with these settings, in this version of the format."""
        try:
            probe = SafetensorsFile(self.folder / _PROBE).array("vectors")
            manifest = read_json(self.folder / _MANIFEST, "index")
        except (CheckpointError, KeyError):
            return False
        is_same = all(manifest.get(name) == self._manifest[name] for name in ("version", "digest"))
        if not is_same or probe.shape != self._probe.shape:
            return False
        norms = np.maximum(np.linalg.norm(self._probe, axis=1), 1e-12)
        return bool((np.linalg.norm(probe - self._probe, axis=1) <= _TOLERANCE * norms).all())

    def _reset(self) -> None:
        """Start an empty index, removing any other."""
        if (self.folder / _MANIFEST).exists():
            say_once(f"the index in {shown(self.folder)} is of another model, settings or version; it is rebuilt")
        for path in [*self.folder.glob(_VECTORS), *self.folder.glob(GRAPH)]:
            path.unlink()
        with atomic(self.folder / _PROBE) as temporary:
            write_tensors({"vectors": self._probe}, temporary)
        write_json(self.folder / _MANIFEST, self._manifest)

    def _read(self) -> list[Block]:
        found = (self._block(path) for path in sorted(self.folder.glob(_VECTORS)))
        return [block for block in found if block is not None]

    def _block(self, path: Path) -> Block | None:
        """Return the contents of a file; None if another process has just removed it, or it is damaged."""
        try:
            file = SafetensorsFile(path)
            vectors, bits, raw = file.array("vectors"), file.array("bits"), file.array("digests").tobytes()
        except KeyError:  # another version of the format
            return None
        except CheckpointError as error:
            if path.exists():
                say_once(f"the vectors in {shown(path)} are recomputed: {error}")
            return None
        digests = [raw[begin : begin + _DIGEST] for begin in range(0, len(raw), _DIGEST)]
        widths = self._probe.shape[1], bits_of(self._probe).shape[1]
        if (vectors.shape, bits.shape) != tuple((len(digests), width) for width in widths):
            return None
        return Block(vectors, bits, digests, path)

    def _remove_others(self, texts: Mapping[bytes, str]) -> None:
        """Remove vectors of other texts, duplicates, and files that cannot be read."""
        seen: set[bytes] = set()
        for path in sorted(self.folder.glob(_VECTORS)):
            block = self._block(path)
            kept = [] if block is None else [digest in texts and digest not in seen for digest in block.digests]
            if block is None or not any(kept):
                path.unlink(missing_ok=True)
                continue
            digests = [digest for digest, is_kept in zip(block.digests, kept, strict=True) if is_kept]
            if not all(kept):
                self._write(digests, block.vectors[kept], path)
            seen.update(digests)

    def _merge(self) -> None:
        """Merge files that are at most half full."""
        small = [block for block in self._read() if len(block.digests) <= ROWS // 2]
        while len(small) > 1:
            merged = [small.pop()]
            while small and sum(len(block.digests) for block in merged) < ROWS:
                merged.append(small.pop())
            digests = [digest for block in merged for digest in block.digests]
            self._write(digests, np.concatenate([block.vectors for block in merged]))
            for block in merged:
                block.path.unlink(missing_ok=True)

    def _write(self, digests: list[bytes], vectors: Vectors, path: Path | None = None) -> None:
        raw = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST)
        vectors = np.ascontiguousarray(vectors, np.float32)
        with atomic(path or self._new_path()) as temporary:
            write_tensors({"vectors": vectors, "bits": bits_of(vectors), "digests": raw}, temporary)

    def _new_path(self) -> Path:
        last = max((path.stem for path in self.folder.glob(_VECTORS)), default="-0").rpartition("-")[2]
        return self.folder / _VECTORS.replace("*", f"{int(last) + 1:08d}")


def _is_exact(blocks: list[Block], texts: Mapping[bytes, str]) -> bool:
    """Whether blocks hold each text's vector once, and no others."""
    held = [digest for block in blocks for digest in block.digests]
    return len(held) == len(texts) and texts.keys() == set(held)
