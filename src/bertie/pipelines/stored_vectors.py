"""Vectors of texts kept in a folder by what the texts are: those that are there are mapped, not computed again.

The folder holds files of about `ROWS` vectors beside their bits and the digests of their texts, each replaced as a
whole; any number of processes may read them, and one at a time changes them. What is written stays, so that work which
is interrupted goes on where it was.
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
# what `bertie.pipelines.vector_graph` makes of the vectors
GRAPH = "graph.usearch"
# vectors that chips, threads and batches compute of one text lie nearer than this, at length 1; those of models don't
_SAME = 1e-3


def digest_of(text: str) -> bytes:
    """Return what stands for a text: 16 bytes of its BLAKE2b."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()


class Block(NamedTuple):
    """Vectors ``[n, D]`` mapped from a file, their bits, and the digests of their texts."""

    vectors: Vectors
    bits: Bits
    digests: list[bytes]
    path: Path


class StoredVectors:
    """The vectors in a folder, of one model and its settings; a folder that holds anything else is refused."""

    def __init__(
        self,
        folder: Path,
        model: str,  # what it is called, for people
        digest: str,  # `model_digest`, by which the model is known again
        probe: Vectors,  # what it gives to fixed texts, [n, D], by which its settings are known again
    ) -> None:
        self.folder, self._probe = folder, probe
        self._manifest = {"version": _VERSION, "model": model, "digest": digest}
        if folder.exists() and not folder.is_dir():
            raise InputError(f"The index {shown(folder)} is a file; name a folder.")
        others = [name for name in os.listdir(folder) if not name.startswith(".")] if folder.is_dir() else []
        if others and _MANIFEST not in others and not any(name == _PROBE for name in others):
            raise InputError(f"The folder {shown(folder)} holds {others[0]!r} and no index; name a new one.")

    def update(self, texts: Mapping[bytes, str], embed: Callable[[list[str]], Vectors]) -> list[Block]:
        """Return blocks that hold the vectors of ``texts``, by digest, each once and no others.

        What is missing is embedded, and what belongs to no text is removed.
        """
        blocks = self._read()
        # asked afterwards: meanwhile, another process may have begun an index of another model
        if _is_exact(blocks, texts) and self._is_ours():
            return blocks
        if not self.folder.exists():
            make_folder(self.folder).chmod(0o700)  # vectors tell much of texts, which may be private
        with only_process_in(self.folder):
            remove_leftovers(self.folder)
            if not self._is_ours():
                self._begin()
            self._drop(texts)
            known = {digest for block in self._read() for digest in block.digests}
            missing = [digest for digest in texts if digest not in known]
            with progress("Embedding", len(missing)) as advance:
                for begin in range(0, len(missing), _EMBEDDED_AT_ONCE):
                    part = missing[begin : begin + _EMBEDDED_AT_ONCE]
                    self._write(part, embed([texts[digest] for digest in part]))
                    advance(len(part))
                    if begin % (ROWS // 2) == 0:  # every open file takes a descriptor
                        self._merge()
            self._merge()
            return self._read()

    def _is_ours(self) -> bool:
        """Whether the folder has vectors of this model, made by this version."""
        try:
            probe = SafetensorsFile(self.folder / _PROBE).array("vectors")
            manifest = read_json(self.folder / _MANIFEST, "index")
        except (CheckpointError, KeyError):
            return False
        known = all(manifest.get(name) == self._manifest[name] for name in ("version", "digest"))
        if not known or probe.shape != self._probe.shape:
            return False
        lengths = np.maximum(np.linalg.norm(self._probe, axis=1), 1e-12)
        return bool((np.linalg.norm(probe - self._probe, axis=1) <= _SAME * lengths).all())

    def _begin(self) -> None:
        """Make an index without vectors in the place of another one."""
        if (self.folder / _MANIFEST).exists():
            say_once(f"the index in {shown(self.folder)} is of another model, settings or version: it is made anew")
        for path in [*self.folder.glob(_VECTORS), *self.folder.glob(GRAPH)]:
            path.unlink()
        with atomic(self.folder / _PROBE) as temporary:
            write_tensors({"vectors": self._probe}, temporary)
        write_json(self.folder / _MANIFEST, self._manifest)

    def _read(self) -> list[Block]:
        found = (self._block(path) for path in sorted(self.folder.glob(_VECTORS)))
        return [block for block in found if block is not None]

    def _block(self, path: Path) -> Block | None:
        """Return what a file holds; None if another process has just removed it, or it is damaged."""
        try:
            file = SafetensorsFile(path)
            vectors, bits, raw = file.array("vectors"), file.array("bits"), file.array("digests").tobytes()
        except KeyError:  # of another version
            return None
        except CheckpointError as error:
            if path.exists():
                say_once(f"the vectors in {shown(path)} are computed again: {error}")
            return None
        digests = [raw[begin : begin + _DIGEST] for begin in range(0, len(raw), _DIGEST)]
        widths = self._probe.shape[1], bits_of(self._probe).shape[1]
        if (vectors.shape, bits.shape) != tuple((len(digests), width) for width in widths):
            return None
        return Block(vectors, bits, digests, path)

    def _drop(self, texts: Mapping[bytes, str]) -> None:
        """Remove vectors that belong to no text, or stand there twice, and files that cannot be read."""
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
    """Whether blocks hold each text's vector once, and no other."""
    held = [digest for block in blocks for digest in block.digests]
    return len(held) == len(texts) and texts.keys() == set(held)
