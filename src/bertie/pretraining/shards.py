"""Token shards: documents as ids in memory-mapped files, with the boundaries of sentences and documents.

A folder holds ``manifest.json``, the tokenizer, ``options.json`` (which may not change between runs), and for each
shard a safetensors file of four arrays: ``ids`` (uint16, or uint32 for more than 65,536 tokens), ``sentences`` (the end
of each sentence in ``ids``), ``documents`` (the end of each document in ``sentences``) and ``hashes`` (of its texts,
including those without a token).
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.errors import CheckpointError, InputError
from bertie.files import atomic, read_json
from bertie.hub import member
from bertie.progress import progress
from bertie.tokenization.fast import BertTokenizer

MANIFEST = "manifest.json"
OPTIONS = "options.json"
TOKENIZER = "tokenizer"
VERSION = 1
PARTS = ("train", "heldout")
_REWRITE = "bertie prepare with the same options writes it again"


@dataclass(frozen=True)
class ShardInfo:
    """A shard's entry in the manifest; ``checksum`` is the CRC-32 of the file."""

    name: str
    documents: int
    sentences: int
    tokens: int
    checksum: int


class Shard(NamedTuple):
    """A shard's arrays: ``ids`` ``[T]``, ``sentences`` ``[S]``, ``documents`` ``[D]``, and ``hashes`` of its texts."""

    ids: NDArray[Any]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def sentence_at(self, token: int) -> int:
        """Return the number of a token's sentence."""
        return int(self.sentences.searchsorted(token, side="right"))

    def document_of(self, sentence: int) -> tuple[int, int]:
        """Return the range of sentences of a sentence's document: the first, and the one after the last."""
        number = int(self.documents.searchsorted(sentence, side="right"))
        return (int(self.documents[number - 1]) if number else 0), int(self.documents[number])

    def start_of(self, sentence: int) -> int:
        """Return the start of a sentence in ``ids``."""
        return int(self.sentences[sentence - 1]) if sentence else 0

    def tokens(self, first: int, stop: int | None = None) -> NDArray[Any]:
        """Return the ids of the sentences from ``first`` to before ``stop``; None: of ``first`` only."""
        return self.ids[self.start_of(first) : self.start_of(first + 1 if stop is None else stop)]


def write_shard(path: Path, shard: Shard) -> ShardInfo:
    """Write a shard atomically."""
    with atomic(path) as temporary:
        write_tensors(shard._asdict(), temporary)
    return info_of(path, shard)


def read_shard(path: Path) -> Shard:
    """Return the arrays of a shard, mapped into memory."""
    file = SafetensorsFile(path)
    if set(file.infos) != set(Shard._fields):
        raise CheckpointError(f"{str(path)!r} holds {sorted(file.infos)}, not a shard's {sorted(Shard._fields)}")
    return Shard(*(file.array(name) for name in Shard._fields))


def info_of(path: Path, shard: Shard) -> ShardInfo:
    """Return the manifest entry of a written shard."""
    return ShardInfo(path.name, len(shard.documents), len(shard.sentences), len(shard.ids), _checksum(path))


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())


class Corpus:
    """The documents of one part, train or heldout, of prepared data; memory does not grow with their number."""

    def __init__(self, folder: Path, part: str = "train") -> None:
        infos = [ShardInfo(**info) for info in read_manifest(folder)[part]]
        if not any(info.documents for info in infos):
            raise InputError(f"{str(folder)!r} has no {part} documents; prepare it with another share held out.")
        self.folder, self.shards = folder, []  # memory-mapped; no document is split between shards
        with progress(f"checking {part} data", len(infos)) as advance:
            for info in infos:
                self.shards.append(_open_shard(member(folder, info.name), info))
                advance(1)
        # [shards + 1] int64: the counts before each shard, and the total
        self.token_starts = np.cumsum([0, *(info.tokens for info in infos)])
        self.sentence_starts = np.cumsum([0, *(info.sentences for info in infos)])
        self.documents = sum(info.documents for info in infos)

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return int(self.token_starts[-1])

    def locate(self, token: int) -> tuple[Shard, int]:
        """Return the shard of a token, given by its number in the part, and its index there."""
        number = int(self.token_starts.searchsorted(token, side="right")) - 1
        return self.shards[number], token - int(self.token_starts[number])

    def check_tokenizer(self, tokenizer: BertTokenizer) -> None:
        """Refuse another tokenizer than the one that made these ids."""
        if read_json(self.folder / OPTIONS, "options").get("vocabulary") != tokenizer_digest(tokenizer):
            raise InputError(
                f"The data in {str(self.folder)!r} was prepared with another tokenizer; take the one in "
                f"{str(self.folder / TOKENIZER)!r}, or prepare the data again with yours."
            )

    def sentence(self, number: int) -> NDArray[Any]:
        """Return the ids of a sentence, given by its number in the part."""
        shard = int(self.sentence_starts.searchsorted(number, side="right")) - 1
        return self.shards[shard].tokens(number - int(self.sentence_starts[shard]))


def tokenizer_digest(tokenizer: BertTokenizer) -> str:
    """Return a digest that differs between tokenizers that read texts differently."""
    return hashlib.blake2b(tokenizer.backend_tokenizer.to_str().encode(), digest_size=16).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of prepared data."""
    path = folder / MANIFEST
    if not path.exists():
        raise CheckpointError(
            f"{str(folder)!r} is not prepared data: it has no {MANIFEST}; write it with bertie prepare"
        )
    manifest = read_json(path, "manifest")
    if manifest.get("version") != VERSION:
        raise CheckpointError(
            f"{str(path)!r} has version {manifest.get('version')!r}, but this bertie reads version {VERSION}; "
            "prepare the data again, or read it with the bertie that wrote it"
        )
    if not all(_are_shards(manifest.get(part)) for part in PARTS):
        raise CheckpointError(f"{str(path)!r} does not list shards; {_REWRITE}")
    return manifest


def read_tokenizer(folder: Path) -> BertTokenizer:
    """Return the tokenizer of prepared data."""
    if not (folder / TOKENIZER).is_dir():  # otherwise the path would be taken for a hub name
        raise CheckpointError(f"the tokenizer {str(folder / TOKENIZER)!r} is missing; {_REWRITE}")
    return BertTokenizer.from_pretrained(folder / TOKENIZER)


def manifest_of(parts: dict[str, Sequence[ShardInfo]], about: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest: the shards of each part, and facts ``about`` the data."""
    return {"version": VERSION, **about, **{part: [asdict(info) for info in infos] for part, infos in parts.items()}}


def _are_shards(infos: Any) -> bool:
    """Whether a value in a manifest is a list of serialized `ShardInfo`."""
    kinds = {name: str if name == "name" else int for name in ShardInfo.__dataclass_fields__}
    return isinstance(infos, list) and all(
        isinstance(info, dict) and {name: type(value) for name, value in info.items()} == kinds for info in infos
    )


def _open_shard(path: Path, info: ShardInfo) -> Shard:
    if not path.exists():
        raise CheckpointError(f"the shard {str(path)!r} is missing; {_REWRITE}")
    if _checksum(path) != info.checksum:
        raise CheckpointError(f"the shard {str(path)!r} is damaged: its checksum differs; {_REWRITE}")
    shard = read_shard(path)
    if (len(shard.documents), len(shard.sentences), len(shard.ids)) != (info.documents, info.sentences, info.tokens):
        raise CheckpointError(f"the manifest's counts do not match {str(path)!r}; {_REWRITE}")
    return shard
