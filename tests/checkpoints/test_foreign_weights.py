"""Old checkpoints: files of the real libraries give their weights, and damaged ones an error."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from old_files import field, table, write_bundle

from bertie.checkpoints.flax_file import FlaxFile, write_flax
from bertie.checkpoints.folder import Place
from bertie.checkpoints.foreign_weights import folder_and_index, open_foreign
from bertie.checkpoints.keras_file import KerasFile, _seconds, write_keras
from bertie.checkpoints.safetensors_file import SafetensorsFile
from bertie.checkpoints.tensor_bundle import TensorBundle
from bertie.checkpoints.tensors import TensorFile
from bertie.errors import CheckpointError

ARRAYS = {
    "bert.embeddings.word_embeddings.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "bert.encoder.layer.0.output.LayerNorm.weight": np.ones(4, np.float32),
    "classifier.weight": np.arange(8, dtype=np.float16).reshape(2, 4),
}


def written_keras(path: Path) -> Path:
    write_keras(ARRAYS, path, "BertForSequenceClassification")
    return path


def written_flax(path: Path) -> Path:
    write_flax(ARRAYS, path)
    return path


WRITTEN: dict[str, tuple[Callable[[Path], Path], Callable[[Path], TensorFile]]] = {
    "bundle": (lambda path: write_bundle(ARRAYS, path), TensorBundle),
    "keras": (written_keras, KerasFile),
    "flax": (written_flax, FlaxFile),
}


@pytest.mark.parametrize(
    ("kind", "library", "reader", "name"),
    [
        ("tf1", "tf", TensorBundle, "bert_model.ckpt.index"),
        ("tf", "tf", KerasFile, "tf_model.h5"),
        ("flax", "flax", FlaxFile, "flax_model.msgpack"),
    ],
)
def test_the_real_files(kind: str, library: str, reader: Any, name: str, shared: Path) -> None:
    folder = shared / "oldfiles" / kind / "pretraining"
    wanted = SafetensorsFile(shared / "oldfiles" / "torch" / "pretraining" / "model.safetensors")
    found = open_foreign(Place(str(folder)), library)
    assert found.infos.keys() == wanted.infos.keys()  # no slots of Adam, no second name of what is tied
    for each, info in found.infos.items():
        assert (info.shape, info.dtype) == wanted.infos[each][:2]
        np.testing.assert_array_equal(found.array(each), wanted.array(each))
        assert found.tensor(each).is_contiguous()
    assert reader(folder / name).infos.keys() == wanted.infos.keys()


@pytest.mark.parametrize("kind", WRITTEN)
def test_written_files_are_read_back(kind: str, tmp_path: Path) -> None:
    write, read = WRITTEN[kind]
    found = read(write(tmp_path / "model"))
    assert found.infos.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found.infos[name][:2] == (array.shape, array.dtype.name)
        np.testing.assert_array_equal(found.array(name), array)
        found.array(name)[...] = 0  # a view of the file would pass this on
        assert found.infos[name].file.name.startswith("model")


@pytest.mark.parametrize("kind", WRITTEN)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_an_error_or_harmless(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    write, read = WRITTEN[kind]
    _damage(data, write(tmp_path / "model"), read)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITTEN)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_damage_breaks_a_reader(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    write, read = WRITTEN[kind]
    _damage(data, write(tmp_path / "model"), read)


def _damage(data: st.DataObject, path: Path, read: Callable[[Path], TensorFile]) -> None:
    """Change some bytes of a file, or cut it; reading it gives tensors of the right shapes, or an error."""
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    path.write_bytes(raw)
    try:
        found = read(path)
        for name, info in found.infos.items():
            assert found.array(name).shape == info.shape
            assert info.nbytes <= len(raw) + 1000  # a bundle's data is in a second file
    except CheckpointError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said
    assert str(path) in said


def test_a_truncated_data_file(tmp_path: Path) -> None:
    index = write_bundle(ARRAYS, tmp_path / "model.ckpt")
    shard = tmp_path / "model.ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="is truncated: .* lies beyond its end; fetch it again"):
        TensorBundle(index)
    shard.unlink()
    with pytest.raises(CheckpointError, match="there is no .*data-00000-of-00001.*; fetch it too"):
        TensorBundle(index)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([(b"a", b"")], "does not begin with the number of its data files"),
        ([(b"", field(1, 10**6))], "it names 1000000 data files"),
        ([(b"", field(1, 1) + field(2, 1))], "its data is big-endian"),
        (
            [(b"", field(1, 1)), (b"a", field(1, 1) + field(2, field(2, field(1, 9))) + field(5, 4))],
            r"'a' of shape \(9,\)",
        ),
        ([(b"", field(1, 1)), (b"a", field(1, 1) + field(5, 4) + field(7, b""))], "in slices"),
        ([(b"", field(1, 1)), (b"a", b"\x0c")], "is not a protocol buffer"),
        ([(b"", field(1, 1)), (b"\xff", b"")], "a name is not UTF-8"),
    ],
)
def test_invalid_indexes(entries: list[tuple[bytes, bytes]], says: str, tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(table(entries))
    with pytest.raises(CheckpointError, match=says):
        TensorBundle(tmp_path / "model.ckpt.index")


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ([1, 2], "neither an array nor a mapping"),
        ({"a": 3}, "'a' is 3"),
        ({"a": msgpack.ExtType(2, b"")}, "an extension 2"),
        ({"a": msgpack.ExtType(1, msgpack.packb(((2,), "int32", bytes(8))))}, "an array of 'int32'"),
        ({"a": msgpack.ExtType(1, msgpack.packb(((-1,), "float32", bytes(8))))}, r"an array of shape \(-1,\)"),
        ({"a": msgpack.ExtType(1, msgpack.packb(((3,), "float32", bytes(8))))}, "cannot reshape"),
    ],
)
def test_a_flax_file_that_holds_something_else(tree: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(msgpack.packb(tree))
    with pytest.raises(CheckpointError, match=says):
        FlaxFile(path)


def test_a_flax_file_that_claims_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(b"\xdf" + struct.pack(">I", 2**32 - 1))  # a mapping of 2**32 - 1 entries
    with pytest.raises(CheckpointError, match="exceeds max_map_len"):
        FlaxFile(path)


def test_flax_arrays_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.checkpoints.flax_file._LARGEST_CHUNK", 16)
    found = FlaxFile(written_flax(tmp_path / "model"))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found.array(name), array)


def test_flax_chunks_count_by_their_numbers(tmp_path: Path) -> None:
    chunks = {str(number): flax_array(np.float32([number])) for number in range(11)}
    cut = {"__msgpack_chunked_array__": True, "shape": {"0": 11}}
    sort = dict(sorted(chunks.items()))  # "10" before "2"
    (tmp_path / "model").write_bytes(msgpack.packb({"w": {"chunks": sort, **cut}}))
    np.testing.assert_array_equal(FlaxFile(tmp_path / "model").array("w"), np.arange(11))
    chunks["1"] = flax_array(np.float64([1]))
    (tmp_path / "model").write_bytes(msgpack.packb({"w": {"chunks": chunks, **cut}}))
    with pytest.raises(CheckpointError, match="the chunks of an array differ in dtype"):
        FlaxFile(tmp_path / "model")


def flax_array(array: Any) -> Any:
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))


def test_keras_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones(4, np.float32)
    path = written_keras(tmp_path / "tf_model.h5")
    with h5py.File(path, "r+") as file:
        name = next(each for each in file["bert"].attrs["weight_names"] if "LayerNorm" in each)
        del file["bert"][name]
        file["bert"][name] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(CheckpointError, match="it has no 'tf_bert_for_sequence_classification/bert"):
        KerasFile(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.attrs.__delitem__("layer_names"), "it has no 'layer_names'"),
        (lambda file: file.__delitem__("classifier"), "it has no 'classifier'"),
    ],
)
def test_keras_files_that_lack_a_part(change: Callable[[Any], None], says: str, tmp_path: Path) -> None:
    path = written_keras(tmp_path / "tf_model.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CheckpointError, match=says):
        KerasFile(path)


def test_a_large_keras_file_gets_more_time() -> None:
    assert (_seconds(0), _seconds(2**30)) == (20, 80)


def test_keras_names_split_over_several_attributes(tmp_path: Path) -> None:
    arrays = {f"bert.encoder.layer.{layer}.{'x' * 90}.bias": np.ones(1, np.float32) for layer in range(1000)}
    write_keras(arrays, tmp_path / "tf_model.h5", "BertModel")
    with h5py.File(tmp_path / "tf_model.h5") as file:
        assert {"weight_names0", "weight_names1"} <= set(file["bert"].attrs)
    assert KerasFile(tmp_path / "tf_model.h5").infos.keys() == arrays.keys()


def test_shards(tmp_path: Path) -> None:
    parts = [dict(list(ARRAYS.items())[:1]), dict(list(ARRAYS.items())[1:])]
    names = [f"flax_model-0000{number}-of-00002.msgpack" for number in (1, 2)]
    for name, part in zip(names, parts, strict=True):
        write_flax(part, tmp_path / name)
    places = {each: name for name, part in zip(names, parts, strict=True) for each in part}
    (tmp_path / "flax_model.msgpack.index.json").write_text(json.dumps({"weight_map": places}))
    assert open_foreign(Place(str(tmp_path)), "flax").infos.keys() == ARRAYS.keys()


def test_several_checkpoints_of_tensorflow_1(tmp_path: Path) -> None:
    for step in (10, 20):
        write_bundle({**ARRAYS, "classifier.bias": np.full(2, step, np.float32)}, tmp_path / f"model.ckpt-{step}")
    with pytest.raises(CheckpointError, match="holds 2 TensorFlow checkpoints"):
        open_foreign(Place(str(tmp_path)), "tf")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/somewhere/model.ckpt-10"\n')
    assert open_foreign(Place(str(tmp_path)), "tf").array("classifier.bias")[0] == 10
    folder, index = folder_and_index(str(tmp_path / "model.ckpt-20"))
    assert open_foreign(Place(folder), "tf", index).array("classifier.bias")[0] == 20


@pytest.mark.parametrize(("library", "says"), [("tf", "no weights of TensorFlow"), ("flax", "no weights of Flax")])
def test_a_folder_without_such_weights(library: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{says} .*; it is empty"):
        open_foreign(Place(str(tmp_path)), library)
    shutil.copyfile(written_flax(tmp_path / "m"), tmp_path / "flax_model.msgpack")
    if library == "tf":
        with pytest.raises(CheckpointError, match="weights of Flax: convert it once"):
            open_foreign(Place(str(tmp_path)), library)
