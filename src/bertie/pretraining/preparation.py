"""Documents → token shards: read, deduplicated, partly held out, split into sentences, and tokenized in parallel.

A shard has the documents of one block, and blocks depend on the input only. So a run that was killed is resumed by
reading the input again, and skipping the blocks whose shards exist.
"""

import hashlib
import multiprocessing
import shutil
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bertie.data.sentences import sentences
from bertie.errors import CheckpointError, InputError
from bertie.files import make_folder, read_json, remove_leftovers, write_json
from bertie.locking import LOCK
from bertie.messages import short
from bertie.pretraining.shards import (
    MANIFEST,
    OPTIONS,
    PARTS,
    TOKENIZER,
    VERSION,
    Shard,
    ShardInfo,
    info_of,
    manifest_of,
    read_manifest,
    read_shard,
    tokenizer_digest,
    write_shard,
)
from bertie.progress import progress
from bertie.tokenization.fast import BertTokenizer

# characters of text in a shard
BLOCK = 2**24


@dataclass
class Block:
    """The documents of a shard."""

    part: str
    number: int
    texts: list[str] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    size: int = 0

    @property
    def name(self) -> str:
        return f"{self.part}-{self.number:05d}.safetensors"

    def add(self, text: str, hashed: int) -> None:
        self.texts.append(text)
        self.hashes.append(hashed)
        self.size += len(text)


@dataclass
class Counts:
    """Counts of the documents that were read."""

    documents_read: int = 0
    characters: int = 0
    duplicates: int = 0
    empty: int = 0


def prepare(
    documents: Iterable[str],  # an empty line ends a sentence
    tokenizer: BertTokenizer,  # saved beside the shards
    out: Path,
    *,
    heldout: float = 0.01,  # the share of documents held out for evaluation
    workers: int = 1,  # processes that tokenize
    sources: str = "",  # where the documents come from, for the manifest
) -> dict[str, Any]:
    """Write the documents as token shards into the folder ``out``, and return the manifest.

    Duplicate documents are dropped. Whether a document is held out depends on its text only, so train and held-out
    documents are never mixed when data is prepared again. Called again with the same arguments, an interrupted run is
    resumed.
    """
    if not 0 <= heldout < 1:
        raise InputError(f"The share of documents held out is {heldout}; it must be at least 0 and below 1.")
    counts = Counts()
    infos: dict[str, list[ShardInfo]] = {part: [] for part in PARTS}
    with _resumable_folder(out, {"heldout": heldout, "vocabulary": tokenizer_digest(tokenizer)}, infos):
        tokenizer.save_pretrained(out / TOKENIZER)
        blocks = _write_shards(_blocks(_deduplicated(documents, counts), heldout), out, workers, _checksums(out))
        with progress("documents", None) as advance, closing(blocks):
            for block, info in blocks:
                infos[block.part].append(info)
                advance(len(block.texts))
        if not _has_documents(infos):
            raise InputError(f"There is no text in {sources or 'the documents'}.")
    about = {**asdict(counts), "sources": sources, "vocab_size": len(tokenizer), "heldout_share": heldout}
    manifest = manifest_of({part: infos[part] for part in PARTS}, about)
    write_json(out / MANIFEST, manifest)
    return manifest


@contextmanager
def _resumable_folder(out: Path, options: dict[str, Any], infos: Mapping[str, Sequence[ShardInfo]]) -> Iterator[None]:
    """Start a new folder, or resume one that was started with the same options.

    A new folder is removed again if the documents are refused before any of them is in a shard.
    """
    path, is_new = out / OPTIONS, not out.exists()
    _refuse_other_version(out)
    remove_leftovers(make_folder(out))
    if path.exists():
        _check_options(out, read_json(path, "options"), options)
        yield
        return
    if any(each.name != LOCK for each in out.iterdir()):
        raise InputError(f"{str(out)!r} is not empty and holds no prepared data; give another folder.")
    write_json(path, options)
    try:
        yield
    except InputError:
        if not _has_documents(infos):
            for each in (out / TOKENIZER, path, *out.glob("*.safetensors")):
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            if is_new:
                out.rmdir()
        raise


def _refuse_other_version(out: Path) -> None:
    """Refuse data of another version of bertie; an unreadable manifest will be written again."""
    try:
        version = read_json(out / MANIFEST, "manifest").get("version", VERSION)
    except CheckpointError:  # there is none, or it is damaged
        return
    if version != VERSION:
        raise InputError(
            f"{str(out)!r} holds data of version {short(version)}, but this bertie writes version {VERSION}; "
            "choose another folder, or continue with the bertie that wrote it."
        )


def _check_options(out: Path, before: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    changed = sorted(name for name in {*before, *options} if before.get(name) != options.get(name))
    if changed:
        raise InputError(
            f"{str(out)!r} holds data prepared with another {' and '.join(changed)}; "
            "choose another folder, or delete this one."
        )


def _has_documents(infos: Mapping[str, Sequence[ShardInfo]]) -> bool:
    return any(info.documents for info in chain.from_iterable(infos.values()))


def _deduplicated(documents: Iterable[str], counts: Counts) -> Iterator[tuple[str, int]]:
    """Yield documents that are neither blank nor duplicates, each with a hash of its text."""
    seen: set[int] = set()
    for text in documents:
        counts.documents_read += 1
        counts.characters += len(text)
        if not text or text.isspace():
            counts.empty += 1
            continue
        hashed = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        if hashed in seen:
            counts.duplicates += 1
            continue
        seen.add(hashed)
        yield text, hashed


def _blocks(documents: Iterable[tuple[str, int]], heldout: float) -> Iterator[Block]:
    open_blocks = {part: Block(part, 0) for part in PARTS}
    for text, hashed in documents:
        # the lower half of the hash, so that sorting documents by hash does not sort them by part
        part = "heldout" if (hashed & 0xFFFFFFFF) < heldout * 2**32 else "train"
        block = open_blocks[part]
        block.add(text, hashed)
        if block.size >= BLOCK:
            open_blocks[part] = Block(part, block.number + 1)
            yield block
    yield from (block for block in open_blocks.values() if block.texts)


def _checksums(out: Path) -> dict[str, int]:
    """Return the checksums of the shards of a finished earlier run, if there was one."""
    try:
        manifest = read_manifest(out)
    except CheckpointError:
        return {}
    return {info["name"]: info["checksum"] for part in PARTS for info in manifest[part]}


def _write_shards(
    blocks: Iterable[Block], out: Path, workers: int, checksums: Mapping[str, int]
) -> Generator[tuple[Block, ShardInfo]]:
    """Yield each block with its shard, in order; at most ``workers + 1`` blocks are pending."""
    if workers < 2:
        tokenizer = BertTokenizer.from_pretrained(out / TOKENIZER)
        for block in blocks:
            yield block, _existing_shard(block, out, checksums) or _tokenize(block, out, tokenizer)
        return
    context = multiprocessing.get_context("spawn")
    waiting: deque[tuple[Block, ShardInfo | Future[ShardInfo]]] = deque()
    with ProcessPoolExecutor(workers, context, _initialise_worker, (out,)) as pool:
        for block in blocks:
            waiting.append(
                (block, _existing_shard(block, out, checksums) or pool.submit(_tokenize_in_worker, block, out))
            )
            if len(waiting) > workers + 1:
                yield _resolve(*waiting.popleft())
        while waiting:
            yield _resolve(*waiting.popleft())


def _resolve(block: Block, info: "ShardInfo | Future[ShardInfo]") -> tuple[Block, ShardInfo]:
    return block, info if isinstance(info, ShardInfo) else info.result()


def _existing_shard(block: Block, out: Path, checksums: Mapping[str, int]) -> ShardInfo | None:
    """Return the shard of a block if an earlier run has written it and it is undamaged."""
    path = out / block.name
    try:
        shard = read_shard(path)
    except CheckpointError:  # there is none, or it is damaged
        return None
    if shard.hashes.tolist() != block.hashes:
        return None
    info = info_of(path, shard)
    return info if checksums.get(block.name, info.checksum) == info.checksum else None


_tokenizer: BertTokenizer


def _initialise_worker(out: Path) -> None:
    # Ctrl-C reaches every process of a terminal; the parent handles it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _tokenizer
    _tokenizer = BertTokenizer.from_pretrained(out / TOKENIZER)


def _tokenize_in_worker(block: Block, out: Path) -> ShardInfo:
    return _tokenize(block, out, _tokenizer)


def _tokenize(block: Block, out: Path, tokenizer: BertTokenizer) -> ShardInfo:
    documents = [list(sentences(text)) for text in block.texts]
    ids, lengths = tokenizer.plain_ids(list(chain.from_iterable(documents)))
    kept = lengths > 0  # a sentence may only have characters that the tokenizer drops
    counts = np.add.reduceat(kept, np.cumsum([0, *map(len, documents[:-1])]))
    shard = Shard(
        ids=ids.astype(np.uint16 if len(tokenizer) <= 2**16 else np.uint32),
        sentences=np.cumsum(lengths[kept]),
        documents=np.cumsum(counts)[counts > 0],
        hashes=np.array(block.hashes, np.uint64),
    )
    return write_shard(out / block.name, shard)
