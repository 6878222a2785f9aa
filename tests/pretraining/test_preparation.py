"""Documents as token shards: their contents, what is left out, and resuming."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.errors import CheckpointError, InputError
from bertie.pretraining import preparation as preparing
from bertie.pretraining.preparation import prepare
from bertie.pretraining.shards import Corpus, read_shard, read_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> bertie.BertTokenizer:
    return bertie.BertTokenizer().train_new_from_iterator(book_texts(), 600)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "BLOCK", 5_000)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_shards_hold_the_ids_of_every_sentence(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    texts = ["One went. Two came!\n\nMr. Three, though, stayed", "\u200b. Only one"]
    prepare(texts, tokenizer, tmp_path, heldout=0)
    (shard,) = Corpus(tmp_path).shards
    sentences = ["One went.", "Two came!", "Mr. Three, though, stayed", "\u200b.", "Only one"]
    ids = tokenizer(sentences, add_special_tokens=False)["input_ids"]
    assert shard.ids.dtype == np.uint16
    assert shard.ids.tolist() == list(chain.from_iterable(ids))
    assert shard.sentences.tolist() == np.cumsum([len(one) for one in ids]).tolist()
    assert shard.documents.tolist() == [3, 5]
    assert [shard.sentence_at(token) for token in (0, len(ids[0]) - 1, len(ids[0]))] == [0, 0, 1]
    assert [shard.document_of(sentence) for sentence in range(5)] == [(0, 3)] * 3 + [(3, 5)] * 2


def test_sentences_without_tokens_are_dropped(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    prepare(["\u200b\n\nThe sea", "\u200b", "A man"], tokenizer, tmp_path, heldout=0)
    (shard,) = Corpus(tmp_path).shards
    assert len(shard.sentences) == 2
    assert shard.documents.tolist() == [1, 2]
    assert len(shard.hashes) == 3


@pytest.mark.usefixtures("small_blocks")
def test_workers_write_the_same_files_and_a_second_run_writes_none(
    tokenizer: bertie.BertTokenizer, tmp_path: Path
) -> None:
    texts = book_texts()
    one, two = tmp_path / "one", tmp_path / "two"
    manifest = prepare(texts, tokenizer, one, heldout=0.1)
    assert len(manifest["train"]) > 3
    assert prepare(texts, tokenizer, two, heldout=0.1, workers=2) == manifest
    assert files_in(one) == files_in(two)
    before = {path: path.stat().st_mtime_ns for path in two.glob("*.safetensors")}
    assert prepare(texts, tokenizer, two, heldout=0.1) == manifest
    assert {path: path.stat().st_mtime_ns for path in two.glob("*.safetensors")} == before


@pytest.mark.usefixtures("small_blocks")
def test_each_document_is_kept_once_and_in_one_part(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    texts = book_texts()
    manifest = prepare([*texts, " \n", *texts[:40]], tokenizer, tmp_path, heldout=0.2)
    assert manifest["documents_read"] == len(texts) + 41
    assert manifest["duplicates"] == 40 + len(texts) - len(set(texts))
    assert manifest["empty"] == 1
    hashes = {part: np.concatenate([s.hashes for s in Corpus(tmp_path, part).shards]) for part in ("train", "heldout")}
    assert len(np.unique(np.concatenate(list(hashes.values())))) == len(set(texts))
    assert 0.1 < len(hashes["heldout"]) / len(set(texts)) < 0.3


SCRIPT = """
import sys
from pathlib import Path
import bertie
from bertie.data.bundled_texts import book_texts
from bertie.pretraining import preparation as preparing
preparing.BLOCK = 5_000
tokenizer = bertie.BertTokenizer.from_pretrained(sys.argv[1])
preparing.prepare(book_texts(), tokenizer, Path(sys.argv[2]), heldout=0.1)
"""


def test_a_killed_run_is_resumed_to_the_same_files(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "tokenizer")]
    subprocess.run([*command, str(whole)], check=True)
    process = subprocess.Popen([*command, str(killed)])
    while not list(killed.glob("train-00001*")) and process.poll() is None:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in killed.glob("*.safetensors")}
    subprocess.run([*command, str(killed)], check=True)
    assert files_in(killed) == files_in(whole)
    assert {name: (killed / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_keeps_written_shards(tokenizer: bertie.BertTokenizer, tmp_path: Path, workers: int) -> None:
    resource = pytest.importorskip("resource")
    stopped = tmp_path / "data"
    # one document is too large for the limit on file sizes
    texts = [*book_texts()[:200], "A long one. " * 20_000]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*train-\d+.safetensors': File too large; files"):
            prepare(texts, tokenizer, stopped, heldout=0.1, workers=workers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = {path.name: path.stat().st_mtime_ns for path in stopped.glob("*.safetensors")}
    assert kept
    assert not [path for path in stopped.rglob("*") if path.name.endswith(".tmp")]
    prepare(texts, tokenizer, stopped, heldout=0.1)
    assert {name: (stopped / name).stat().st_mtime_ns for name in kept} == kept
    assert Corpus(stopped).tokens > 60_000


@pytest.mark.usefixtures("small_blocks")
def test_shards_before_an_unreadable_document_are_kept(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    def broken() -> Iterator[str]:
        yield from book_texts()[:200]
        raise InputError("Line 7 of book.txt is not UTF-8 text.")

    with pytest.raises(InputError, match="Line 7"):
        prepare(broken(), tokenizer, tmp_path, heldout=0.1)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert kept
    prepare(book_texts(), tokenizer, tmp_path, heldout=0.1)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in kept} == kept


@pytest.mark.usefixtures("small_blocks")
def test_damaged_missing_and_foreign_files_are_named(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(book_texts(), tokenizer, data, heldout=0.1)
    shard = data / "train-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"train-00001.safetensors' is damaged: its checksum"):
        Corpus(data)
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"train-00001.safetensors' is missing; bertie prepare"):
        Corpus(data)
    prepare(book_texts(), tokenizer, data, heldout=0.1)
    assert Corpus(data).documents > 200
    with pytest.raises(InputError, match="prepared with another heldout; choose another folder"):
        prepare(book_texts(), tokenizer, data, heldout=0.3)
    other = bertie.BertTokenizer().train_new_from_iterator(book_texts(), 400)
    with pytest.raises(InputError, match="prepared with another vocabulary"):
        prepare(book_texts(), other, data, heldout=0.1)
    manifest = json.loads((data / "manifest.json").read_text())
    (data / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    with pytest.raises(CheckpointError, match="has version 9, but this bertie reads version 1"):
        Corpus(data)
    for damaged in ({"version": 1}, {"version": 1, "train": [{"name": "a"}], "heldout": []}):
        (data / "manifest.json").write_text(json.dumps(damaged))
        with pytest.raises(CheckpointError, match="does not list shards; bertie prepare with the same options"):
            Corpus(data)
    first, *rest = manifest["train"]
    for changed, sentence in (
        ({"name": "../data/train-00000.safetensors"}, "'../data/train-00000.safetensors' leads out of"),
        ({"tokens": first["tokens"] + 1}, "counts do not match '.*train-00000.safetensors'"),
    ):
        (data / "manifest.json").write_text(json.dumps({**manifest, "train": [first | changed, *rest]}))
        with pytest.raises(CheckpointError, match=sentence):
            Corpus(data)
    with pytest.raises(CheckpointError, match="is not prepared data: it has no manifest.json"):
        Corpus(tmp_path)
    shutil.rmtree(data / "tokenizer")
    with pytest.raises(CheckpointError, match="tokenizer' is missing; bertie prepare with the same options"):
        read_tokenizer(data)


def test_data_of_another_version_is_left_alone(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    manifest = prepare(["One document."], tokenizer, tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "version": 9}))
    before = files_in(tmp_path)
    with pytest.raises(InputError, match="holds data of version 9, but this bertie writes version 1; choose another"):
        prepare(["One document."], tokenizer, tmp_path)
    assert files_in(tmp_path) == before


def test_a_folder_of_something_else_is_left_alone(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(InputError, match="is not empty and holds no prepared data; give another folder"):
        prepare(["One document."], tokenizer, tmp_path)
    assert files_in(tmp_path) == before


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("damage", ["an id", "cut off", "manifest"])
def test_a_second_run_repairs_damaged_shards(tokenizer: bertie.BertTokenizer, tmp_path: Path, damage: str) -> None:
    prepare(book_texts(), tokenizer, tmp_path, heldout=0.1)
    whole = files_in(tmp_path)
    shard = tmp_path / ("manifest.json" if damage == "manifest" else "train-00001.safetensors")
    content = bytearray(whole[shard.name])
    if damage == "an id":  # the hashes still identify the shard's documents
        content[content.index(read_shard(shard).ids.tobytes())] ^= 1
    shard.write_bytes(content if damage == "an id" else content[:9])
    prepare(book_texts(), tokenizer, tmp_path, heldout=0.1)
    assert files_in(tmp_path) == whole


def test_the_manifest_says_the_share_that_is_held_out(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    assert prepare(["One document.", "Another one."], tokenizer, tmp_path, heldout=0.25)["heldout_share"] == 0.25


def test_no_documents_are_refused(tokenizer: bertie.BertTokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no text in nothing.txt"):
        prepare([], tokenizer, tmp_path, sources="nothing.txt")
    for nothing in (" \n", "\u200b"):
        with pytest.raises(InputError, match="There is no text in the documents"):
            prepare([nothing], tokenizer, tmp_path)
    prepare(["One document."], tokenizer, tmp_path / "one", heldout=0)
    with pytest.raises(InputError, match="has no heldout documents"):
        Corpus(tmp_path / "one", "heldout")
    assert read_shard(tmp_path / "one" / "train-00000.safetensors").documents.tolist() == [1]
