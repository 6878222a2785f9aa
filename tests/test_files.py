"""files: untrusted JSON, and files replaced completely or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bertie.errors import CheckpointError
from bertie.files import atomic, atomic_files, atomic_folder, checked_values, read_json, write_json, write_text
from bertie.rules import Rule


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, "é"], "a": None})
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [1, "é"]}
    assert (
        tmp_path / "a.json"
    ).read_text() == '{\n  "a": null,\n  "b": [\n    1,\n    "\\u00e9"\n  ]\n}\n'  # keys in order


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b'{"a": ', "not valid JSON"),
        (b"[1, 2]", "a JSON list where an object"),
        (b'"text"', "a JSON str where an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"a": {"b\\uD800": 1}}', r"a lone surrogate"),
    ],
)
def test_unreadable_json_is_one_sentence_with_the_path(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=says) as error:
        read_json(path)
    assert "config" in str(error.value)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 400


def test_a_surrogate_pair_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(r'{"a": "\ud83d\ude00"}')
    assert read_json(tmp_path / "a.json") == {"a": "\N{GRINNING FACE}"}


@pytest.mark.parametrize("full", [OSError(28, "No space left on device"), OSError("262144 requested and 1 written")])
def test_a_full_disk_is_reported_for_the_final_file(full: OSError, tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError) as error,
        atomic_folder(tmp_path / "model") as folder,
        atomic(folder / "config.json"),
    ):
        raise full
    expected = f"cannot write '{tmp_path}/model/config.json': No space left on device; make room there, or choose"
    assert str(error.value).startswith(expected)
    assert not list(tmp_path.iterdir())


RULES = {
    "id": Rule("", "integer", 0, 2**31 - 1),
    "content": Rule("", "string"),
    "special": Rule("", "true or false"),
    "eps": Rule("", "number", 0, 1, above=True),
    "model": Rule("", "mapping", none=True),
    "token": Rule("", "string or mapping"),
    "files": Rule("", "mapping of strings"),
    "parts": Rule("", "list"),
}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("id", 2**63, "an integer from 0 to 2147483647"),
        ("id", True, "an integer"),
        ("content", 17, "a string"),
        ("special", 1, "true or false"),
        ("eps", float("nan"), "a number above 0 and at most 1"),
        ("model", [], "a mapping or None"),
        ("token", None, "a string or mapping"),
        ("files", {"a": 1}, "a mapping of strings"),
        ("parts", "x" * 5000, "a list"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_file_name_and_what_was_allowed(
    tmp_path: Path, name: str, value: object, allowed: str
) -> None:
    path = tmp_path / "some.json"
    write_json(path, {name: value})
    with pytest.raises(
        CheckpointError, match=f"the tokenizer file .*some.json': '{name}' is .*; allowed: {allowed}"
    ) as e:
        read_json(path, "tokenizer", RULES)
    assert len(str(e.value)) < 500


def test_values_of_the_right_kind_pass_and_none_is_needed() -> None:
    values = {"id": 0, "content": "", "special": False, "eps": 1, "model": None, "token": {}, "files": {"a": "b"}}
    assert checked_values(values, RULES, "here") is values
    assert checked_values({}, RULES, "here") == {}
    with pytest.raises(CheckpointError, match=r"here is \[1\]; allowed: an object"):
        checked_values([1], RULES, "here")


def test_missing_large_and_irregular_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no index file"):
        read_json(tmp_path / "none.json", "index")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_json(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(CheckpointError, match="not a regular file"):  # and does not wait for a writer
        read_json(tmp_path / "pipe.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(CheckpointError, match="at most 67108864"):
        read_json(tmp_path / "large.json")


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_files_that_belong_together_are_replaced_after_all_are_written(tmp_path: Path) -> None:
    for name in "ab":
        write_text(tmp_path / name, "old")
    with atomic_files([tmp_path / "a", tmp_path / "b"]) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
            assert (tmp_path / "a").read_text() == "old"
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "new"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "target", "shared with others")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "mine")
    assert (tmp_path / "target").read_text() == "shared with others"
    assert (tmp_path / "link").read_text() == "mine"


def test_written_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_text(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*a.txt.*; make the folder first"):
        write_text(tmp_path / "none" / "a.txt", "")


@pytest.mark.skipif(os.name == "nt", reason="queues of POSIX")
def test_a_folder_or_device_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "queue")
    for name, message in (("folder", "it is a folder"), ("queue", "it is not a plain file")):
        with pytest.raises(CheckpointError, match=message):
            write_text(tmp_path / name, "")
    assert (tmp_path / "queue").is_fifo()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    program = (
        "import os, signal, sys\n"
        "from bertie.files import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.txt")], env=_environment())
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "old"


def _environment() -> dict[str, str]:
    import bertie

    return {**os.environ, "PYTHONPATH": str(Path(bertie.__file__).parents[1])}
