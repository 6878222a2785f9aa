"""An index in a folder: only new texts are embedded, even after a kill, and hits are those without a folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bertie
from bertie.checkpoints.safetensors_file import SafetensorsFile, write_tensors
from bertie.engine import Engine
from bertie.errors import InputError
from bertie.files import read_json, write_json
from bertie.locking import only_process_in
from bertie.pipelines import stored_vectors
from bertie.pipelines.model_digest import model_digest
from bertie.pipelines.stored_vectors import Block, StoredVectors, digest_of
from bertie.pipelines.vector_bits import bits_of
from bertie.pipelines.vector_graph import VectorGraph

WORDS = [f"{colour} {thing}" for colour in ["red", "green", "blue", "grey"] for thing in ["cat", "dog", "car", "house"]]


@pytest.fixture
def embed(tiny: Callable[..., Path]) -> Any:
    return bertie.pipeline("embed", tiny(), device="cpu")


@pytest.fixture
def embedded(embed: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that indices have embedded, without questions and probes."""
    texts: list[str] = []
    update = StoredVectors.update

    def watched(stored: StoredVectors, wanted: Any, make: Any) -> Any:
        return update(stored, wanted, lambda some: (texts.extend(some), make(some))[1])

    monkeypatch.setattr(StoredVectors, "update", watched)
    return texts


def test_only_new_texts_are_embedded(embed: Any, embedded: list[str], tmp_path: Path) -> None:
    def index(texts: list[str]) -> list[str]:
        embedded.clear()
        found = bertie.SearchIndex(texts, embed, tmp_path / "index")
        np.testing.assert_allclose(found.vectors, bertie.SearchIndex(texts, embed).vectors, atol=1e-6)
        return list(embedded)

    assert index(WORDS) == WORDS
    assert index(WORDS) == []
    assert index(WORDS[::-1]) == []
    assert index([*WORDS[4:], "a new one", WORDS[5], "a new one"]) == ["a new one"]
    assert index(WORDS[:6]) == WORDS[:4]  # removed vectors are gone
    assert index([]) == []
    assert not list((tmp_path / "index").glob("vectors-*"))


def test_an_index_that_is_up_to_date_is_only_read(embed: Any, tmp_path: Path) -> None:
    bertie.SearchIndex(WORDS, embed, tmp_path / "index")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()}
    with only_process_in(tmp_path / "index"):  # another process holds the lock
        assert len(bertie.SearchIndex(WORDS, embed, tmp_path / "index").search("a cat")) == 5
        with pytest.raises(InputError, match="Another process is at work in"):
            bertie.SearchIndex(WORDS[:3], embed, tmp_path / "index")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").iterdir()} == before


@pytest.mark.skipif(os.name != "posix", reason="needs the permissions of POSIX")
def test_an_index_is_private_to_its_owner(embed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    bertie.SearchIndex(WORDS, embed, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)  # the owner shares it
    bertie.SearchIndex(WORDS[:3], embed, folder)
    assert folder.stat().st_mode & 0o777 == 0o750


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    texts=st.lists(st.sampled_from(WORDS), max_size=25),
    questions=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    top_k=st.integers(1, 30),
    data=st.data(),
)
def test_hits_are_those_without_a_folder(
    texts: list[str], questions: list[str], top_k: int, data: st.DataObject, embed: Any, tmp_path: Path
) -> None:
    numbers = st.sets(st.integers(0, len(texts) - 1)) if texts else st.just(set())
    among = data.draw(st.one_of(st.none(), numbers))
    plain = bertie.SearchIndex(texts, embed)
    scores = embed(questions) @ plain.vectors.T / np.linalg.norm(embed(questions), axis=1, keepdims=True)
    kept = bertie.SearchIndex(texts, embed, tmp_path / "index")
    by_bits = bertie.SearchIndex(texts, embed, tmp_path / "index", precision="binary", rescore_multiplier=25)  # of all
    for index in (plain, kept, by_bits):
        for found, exact in zip(index.search(questions, top_k, among), scores, strict=True):
            allowed = sorted(range(len(texts)) if among is None else among)
            assert len(found) == min(top_k, len(allowed))
            best = sorted((exact[number] for number in allowed), reverse=True)[:top_k]
            np.testing.assert_allclose([hit.score for hit in found], best, atol=1e-5)
            assert all(hit.number in allowed and hit.text == texts[hit.number] for hit in found)
            np.testing.assert_allclose([exact[hit.number] for hit in found], best, atol=1e-5)


def test_small_files_are_merged(embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_vectors, "ROWS", 8)
    monkeypatch.setattr(stored_vectors, "_EMBEDDED_AT_ONCE", 2)
    texts = [f"{number} {word}" for number in range(3) for word in WORDS]
    for end in range(1, len(texts), 5):
        index = bertie.SearchIndex(texts[:end], embed, tmp_path / "index")
        files = list((tmp_path / "index").glob("vectors-*"))
        assert len(files) <= end // 5 + 1
    np.testing.assert_allclose(index.vectors, embed_alone(embed, texts[:end]), atol=1e-6)


def embed_alone(embed: Any, texts: list[str]) -> Any:
    return bertie.SearchIndex(texts, embed).vectors


def test_another_models_index_is_rebuilt(
    tiny: Callable[..., Path], embed: Any, embedded: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bertie.SearchIndex(WORDS, embed, tmp_path / "index")
    embedded.clear()
    for other in (
        bertie.pipeline("embed", tiny(), device="cpu", max_length=5),
        bertie.pipeline("embed", tiny(), device="cpu", prompt="a prompt: "),
        bertie.pipeline("embed", device="cpu"),
    ):
        found = bertie.SearchIndex(WORDS, other, tmp_path / "index")
        assert embedded == WORDS
        embedded.clear()
        np.testing.assert_allclose(found.vectors, embed_alone(other, WORDS), atol=1e-5)
    assert "is of another model, settings or version; it is rebuilt" in caplog.text


def test_an_index_of_a_model_that_differs_in_one_embedding_is_rebuilt(
    tiny: Callable[..., Path], embedded: list[str], tmp_path: Path
) -> None:
    model = bertie.BertModel.from_pretrained(tiny())
    tokenizer = bertie.AutoTokenizer.from_pretrained(tiny())
    with torch.no_grad():  # a word that no probe text has
        model.embeddings.word_embeddings.weight[tokenizer.get_vocab()["grey"]] += 1
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    for source in (tiny(), tmp_path / "other"):
        embedded.clear()
        embed = bertie.pipeline("embed", source, device="cpu")
        found = bertie.SearchIndex(WORDS, embed, tmp_path / "index")
        assert embedded == WORDS
        np.testing.assert_allclose(found.vectors, embed_alone(embed, WORDS), atol=1e-6)


def test_engine_and_pytorch_model_have_the_same_digest(tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny()
    words = bertie.AutoTokenizer.from_pretrained(folder)
    model = bertie.BertModel.from_pretrained(folder)
    known = model_digest(Engine.open(folder), words)
    assert known == model_digest(model, words)
    model.half().save_pretrained(tmp_path / "half")
    assert known != model_digest(model, words) == model_digest(Engine.open(tmp_path / "half"), words)
    words.add_tokens("a new word")
    assert known != model_digest(Engine.open(folder), words)
    bertie.distil_static(folder, tmp_path / "static", 4)
    static = Engine.open(tmp_path / "static", "StaticEmbedding")
    assert known != model_digest(static, words) != model_digest(Engine.of(model), words)


def test_an_index_replaced_by_another_model_meanwhile_is_not_read(
    tiny: Callable[..., Path], embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bertie.SearchIndex(WORDS, embed, tmp_path / "index")
    read, other = StoredVectors._read, bertie.pipeline("embed", tiny(), device="cpu", prompt="a prompt: ")

    def overtaken(stored: StoredVectors) -> Any:
        monkeypatch.setattr(StoredVectors, "_read", read)
        bertie.SearchIndex(WORDS, other, tmp_path / "index")
        return stored._read()

    monkeypatch.setattr(StoredVectors, "_read", overtaken)
    found = bertie.SearchIndex(WORDS, embed, tmp_path / "index")
    np.testing.assert_allclose(found.vectors, embed_alone(embed, WORDS), atol=1e-6)


def test_a_damaged_file_is_recomputed(
    embed: Any, embedded: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "index"
    bertie.SearchIndex(WORDS, embed, folder)
    for damage in (b"", b"\0" * 100):
        (path,) = folder.glob("vectors-*")
        path.write_bytes(path.read_bytes()[:50] + damage)
        embedded.clear()
        found = bertie.SearchIndex(WORDS, embed, folder)
        assert embedded == WORDS
        np.testing.assert_allclose(found.vectors, embed_alone(embed, WORDS), atol=1e-6)
    assert "are recomputed" in caplog.text
    (folder / "index.json").write_text("{")
    assert len(bertie.SearchIndex(WORDS, embed, folder).search("cat", top_k=3)) == 3


def test_an_index_of_another_version_is_rebuilt(
    embed: Any, embedded: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "index"
    bertie.SearchIndex(WORDS, embed, folder)
    (path,) = folder.glob("vectors-*")
    file = SafetensorsFile(path)
    write_tensors({name: file.array(name).copy() for name in ("vectors", "digests")}, path)  # as in version 1
    write_json(folder / "index.json", {**read_json(folder / "index.json", "index"), "version": 1})
    embedded.clear()
    index = bertie.SearchIndex(WORDS, embed, folder, precision="binary")
    assert embedded == WORDS
    assert index.search("red cat", 1)[0].text == "red cat"
    assert caplog.messages == [f"the index in {str(folder)!r} is of another model, settings or version; it is rebuilt"]


def test_a_folder_of_something_else_is_refused(embed: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds 'thesis.tex' and no index; name a new folder"):
        bertie.SearchIndex(WORDS, embed, folder)
    with pytest.raises(InputError, match="is a file; name a folder"):
        bertie.SearchIndex(WORDS, embed, folder / "thesis.tex")


KILLED = """
import os, signal, sys, bertie
from bertie.pipelines import stored_vectors
stored_vectors._EMBEDDED_AT_ONCE = 4
model, folder, *texts = sys.argv[1:]
write, written = stored_vectors.StoredVectors._write, []
def killed(stored, digests, vectors, path=None):
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write(stored, digests, vectors, path)
    written.append(digests)
stored_vectors.StoredVectors._write = killed
bertie.SearchIndex(texts, bertie.pipeline("embed", model, device="cpu"), folder)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_vectors_embedded_before_a_kill_are_kept(
    tiny: Callable[..., Path], embed: Any, embedded: list[str], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tiny(), str(tmp_path / "index"), *WORDS], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    found = bertie.SearchIndex(WORDS, embed, tmp_path / "index")
    assert 0 < len(embedded) < len(WORDS)
    np.testing.assert_allclose(found.vectors, embed_alone(embed, WORDS), atol=1e-6)
    names = sorted(path.name for path in (tmp_path / "index").iterdir())
    assert names == ["index.json", "probe.safetensors", *(name for name in names if name.startswith("vectors-"))]


def test_digests_are_of_contents() -> None:
    assert digest_of("a") == digest_of("a") != digest_of("A")
    assert len(digest_of("half a character \ud800")) == 16


@pytest.mark.parametrize("number", [-1, 16, True, np.True_, 1.0])
def test_numbers_that_no_text_has(number: Any, embed: Any) -> None:
    with pytest.raises(InputError, match=f"among has {number!r}; the texts have the numbers 0 to 15"):
        bertie.SearchIndex(WORDS, embed).search("a", among=[number])


class Drawn:
    """Clustered random vectors, fixed for each text, in place of a model's."""

    def __init__(self, count: int, width: int) -> None:
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((60, width))
        vectors = centres[rng.integers(0, 60, count)] + 0.6 * rng.standard_normal((count, width))
        self.texts = [f"text {number}" for number in range(count)]
        self.of = dict(zip(self.texts, vectors.astype(np.float32), strict=True))

    def __call__(self, texts: list[str], **_: Any) -> Any:
        other = np.ones(len(self.of[self.texts[0]]), np.float32)
        return np.stack([self.of.get(text, other) for text in texts])


def test_the_graph_finds_nearly_all_neighbours(embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch")
    drawn = Drawn(4000, 32)
    monkeypatch.setattr(type(embed), "__call__", lambda _, texts, **options: drawn(texts, **options))
    monkeypatch.setattr(type(embed), "dimension", 32)
    monkeypatch.setattr(stored_vectors, "ROWS", 1500)
    for texts in (drawn.texts, drawn.texts[:3000], drawn.texts[500:] + drawn.texts[:9]):
        exact = bertie.SearchIndex(texts, embed, tmp_path / "index")
        graph = bertie.SearchIndex(texts, embed, tmp_path / "index", approximate=True)
        found = overlooked = 0
        for one, two in zip(exact.search(texts[::40], 10), graph.search(texts[::40], 10), strict=True):
            found += len({hit.number for hit in one} & {hit.number for hit in two})
            overlooked += len({hit.number for hit in one} - {hit.number for hit in two})
            assert two[0].number == one[0].number
            assert two[0].score == pytest.approx(one[0].score, abs=1e-5)
        assert found / (found + overlooked) > 0.98
        assert graph.search(texts[7], 3, among=range(20)) == exact.search(texts[7], 3, among=range(20))
    before = (tmp_path / "index" / "graph.usearch").stat().st_mtime_ns
    bertie.SearchIndex(texts, embed, tmp_path / "index", approximate=True)
    assert (tmp_path / "index" / "graph.usearch").stat().st_mtime_ns == before


def test_bits_find_candidates_that_are_compared_exactly(
    embed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Drawn(2000, 70)
    monkeypatch.setattr(type(embed), "__call__", lambda _, texts, **options: drawn(texts, **options))
    monkeypatch.setattr(type(embed), "dimension", 70)
    monkeypatch.setattr(stored_vectors, "ROWS", 700)
    texts = drawn.texts
    exact = bertie.SearchIndex(texts, embed, tmp_path / "index")
    for folder in (tmp_path / "index", None):
        by_bits = bertie.SearchIndex(texts, embed, folder, precision="binary")
        for one, two in zip(exact.search(texts[::90], 10), by_bits.search(texts[::90], 10), strict=True):
            assert two[0].number == one[0].number
            assert len({hit.number for hit in one} & {hit.number for hit in two}) >= 7
            assert {hit.number: hit.score for hit in one}[two[0].number] == pytest.approx(two[0].score, abs=1e-5)
        assert by_bits.search(texts[7], 3, among=range(20)) == exact.search(texts[7], 3, among=range(20))
        all_of_them = bertie.SearchIndex(texts, embed, folder, precision="binary", rescore_multiplier=2000)
        for one, two in zip(exact.search(texts[3], 4), all_of_them.search(texts[3], 4), strict=True):
            assert (one.number, two.score) == (two.number, pytest.approx(one.score, abs=1e-5))
    repeated = bertie.SearchIndex(texts[:2] * 500, embed, precision="binary")
    assert [hit.number for hit in repeated.search(texts[1], 4)] == [1, 3, 5, 7]


def test_bad_combinations_of_search_options(embed: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="precision is 'int8'; it must be one of 'float32', 'binary'."):
        bertie.SearchIndex(WORDS, embed, precision="int8")
    with pytest.raises(InputError, match="Give approximate=True or precision='binary', not both"):
        bertie.SearchIndex(WORDS, embed, tmp_path / "index", True, precision="binary")
    with pytest.raises(InputError, match="rescore_multiplier is 0; allowed are 1 and more"):
        bertie.SearchIndex(WORDS, embed, precision="binary", rescore_multiplier=0)
    assert bertie.SearchIndex([], embed, precision="binary").search("a") == []


@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "dot"])
def test_every_vector_is_reachable_in_a_graph(similarity: str, tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    drawn = Drawn(3000, 16)
    vectors = np.stack(list(drawn.of.values()))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    block = Block(vectors, bits_of(vectors), list(map(digest_of, drawn.texts)), tmp_path)
    graph = VectorGraph(tmp_path, [block], similarity)
    assert all(number in places for number, places in enumerate(graph.candidates(vectors, 16)))


def test_a_graph_of_another_model_is_rebuilt(embed: Any, tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    for pipe in (embed, bertie.pipeline("embed", device="cpu")):
        index = bertie.SearchIndex(WORDS, pipe, tmp_path / "index", approximate=True)
        assert [hit.text for hit in index.search(WORDS, 1)[3]] == [WORDS[3]]
    assert bertie.SearchIndex([], embed, tmp_path / "index", approximate=True).search("a") == []
    assert bertie.SearchIndex([], embed, tmp_path / "index", approximate=True).search(["a", "b"]) == [[], []]
    with pytest.raises(InputError, match="give one with approximate=True"):
        bertie.SearchIndex(WORDS, embed, approximate=True)
