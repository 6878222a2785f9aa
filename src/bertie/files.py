"""Reading and writing files safely: untrusted JSON is read with limits, and files are replaced atomically."""

import errno
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bertie.errors import BertieError, CheckpointError, InputTypeError
from bertie.messages import short, wrong_byte
from bertie.rules import Rule

JSON_LIMIT = 64 * 2**20
_POINTER = b"version https://git-lfs.github.com/spec/"


def checked_path(given: object) -> Path:
    """Return the path that a caller gave, if it can be one."""
    if not isinstance(given, str | os.PathLike) or not isinstance(path := os.fspath(given), str):
        raise InputTypeError(f"{short(given)} is not a file or folder; give its path as a string")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise CheckpointError(f"{shown(path)} contains a lone surrogate, which no file name can") from None
    return Path(path)


def shown(path: str | os.PathLike[str]) -> str:
    """Return the repr of a path for an error, truncated if it is too long for any file."""
    return short(os.fspath(path), 300)


def read_bytes(path: str | os.PathLike[str], what: str, limit: int = JSON_LIMIT) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes; ``what`` describes it in errors."""
    path = checked_path(path)
    try:
        # opening a FIFO would block forever, and a device may be endless
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"the {what} file {shown(path)} is not a regular file; give a plain file")
        if status.st_size > limit:
            raise CheckpointError(f"the {what} file {shown(path)} has {status.st_size} bytes; at most {limit} are read")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no {what} file {shown(path)}; check the folder's name") from None
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        reason = getattr(error, "strerror", None) or short(str(error))
        raise CheckpointError(f"the {what} file {shown(path)} cannot be read: {reason}") from error
    refuse_pointer(path, raw)
    return raw


def first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file of weights, which identify its format."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise CheckpointError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    refuse_pointer(path, start)
    return start


def refuse_pointer(path: Path, start: bytes) -> None:
    """Refuse a git-lfs pointer, the placeholder of a file not yet fetched; ``start`` is the file's beginning."""
    if start.startswith(_POINTER):
        raise CheckpointError(
            f"{shown(path)} is a git-lfs pointer, not the file itself; run 'git lfs pull' in the clone, or download "
            "the file"
        )


def read_json(
    path: str | os.PathLike[str], what: str = "config", rules: Mapping[str, Rule] | None = None
) -> dict[str, Any]:
    """Return the JSON object in the file ``path``, checked by `checked_values`; ``what`` describes it in errors."""
    value = read_json_value(path, what)
    where = f"the {what} file {shown(path)}"
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {type(value).__name__} where an object {{…}} belongs")
    return checked_values(value, rules or {}, where)


def read_json_value(path: str | os.PathLike[str], what: str) -> Any:
    """Return the value in the JSON file ``path``; ``what`` describes the file in errors."""
    raw = read_bytes(path, what)
    problem: str
    cause: ValueError | None = None
    try:
        value = json.loads(raw.decode("utf-8-sig"))
        if b"\\ud" in raw.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeDecodeError as error:
        where = wrong_byte(error, len(raw) - len(error.object))  # a byte order mark was removed
        problem, cause = f"is not UTF-8 text ({where}); save it as UTF-8", error
    except UnicodeEncodeError as error:
        problem, cause = f"contains a lone surrogate ({error.object[error.start]!a}); remove it", error
    except RecursionError:
        problem = "is nested too deeply; a real one has a few levels"
    except ValueError as error:
        problem, cause = f"is not valid JSON ({error}); repair it or fetch it again", error
    raise CheckpointError(f"the {what} file {shown(path)} {problem}") from cause


def checked_values(values: Any, rules: Mapping[str, Rule], where: str) -> dict[str, Any]:
    """Return the JSON object ``values`` if ``rules`` allow it; ``where`` begins the error message."""
    if not isinstance(values, dict):
        raise CheckpointError(f"{where} is {short(values)}; allowed: an object {{…}}")
    for name, rule in rules.items():
        if name in values and not rule.allows(values[name]):
            raise CheckpointError(f"{where}: {name!r} is {short(values[name])}; allowed: {rule.allowed}")
    return values


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, atomically: ``path`` holds either its old content or all of the new (see `atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def json_text(obj: object, allow_nan: bool = True) -> str:
    """Return ``obj`` as indented JSON with sorted keys and a final newline, the reference's format."""
    return json.dumps(obj, indent=2, sort_keys=True, allow_nan=allow_nan) + "\n"


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Write ``obj`` as JSON, atomically."""
    write_text(path, json_text(obj))


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file next to ``path`` that replaces it if the block succeeds and is removed if it fails."""
    with atomic_files([path]) as (temporary,):
        yield temporary


@contextmanager
def atomic_files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[list[Path]]:
    """As `atomic`, for several files of one folder: none is replaced before all are on disk."""
    targets = [Path(path) for path in paths]
    for target in targets:
        # run as root, a rename would replace /dev/null by a plain file
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not a plain file"
            raise CheckpointError(f"cannot write {str(target)!r}: it is {kind}; name a file")
    temporaries = [_temporary(target) for target in targets]
    with explained(targets[0] if len(targets) == 1 else targets[0].parent):
        try:
            for temporary in temporaries:
                os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporaries
            for temporary in temporaries:
                _sync(temporary)
            for temporary, target in zip(temporaries, targets, strict=True):
                os.replace(temporary, target)
        finally:
            for temporary in temporaries:
                with suppress(OSError):  # the folder is missing or read-only
                    temporary.unlink(missing_ok=True)
        for folder in {target.parent for target in targets}:
            _sync(folder)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder next to ``path`` that is renamed to it if the block succeeds and removed if it fails."""
    target = Path(path)
    temporary = _temporary(target)
    with explained(target):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for content in (*temporary.rglob("*"), temporary):
                _sync(content)
            if target.is_dir():
                target.rmdir()
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync(target.parent)


def is_leftover(name: str) -> bool:
    """Whether a name is that of a temporary file or folder, one being written or left by a killed process."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left in ``folder`` or below."""
    for path in list(folder.rglob(".*.tmp")):
        if is_leftover(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents if missing."""
    folder = checked_path(path)
    with explained(folder, "make the folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def explained(path: str | os.PathLike[str], what: str = "write") -> Iterator[None]:
    """Turn an OSError within the block into a CheckpointError: the file, the reason, and what to do."""
    try:
        yield
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        raise CheckpointError(f"cannot {what} {shown(path)}: a file name cannot contain a null byte") from error
    except OSError as error:
        if isinstance(error, BertieError):
            raise
        final_path = _TEMPORARY.sub(lambda found: found["name"], os.fspath(path))
        raise CheckpointError(f"cannot {what} {shown(final_path)}: {why_refused(error)}") from error


def why_refused(error: OSError) -> str:
    """Return the reason of a failed write and what to do about it."""
    number, reason = error.errno or 0, error.strerror or str(error) or type(error).__name__
    if not number and _CUT_SHORT.fullmatch(reason):
        number, reason = errno.ENOSPC, "No space left on device"
    return f"{reason}; {_REMEDIES.get(number, 'choose another place')}"


_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")  # NumPy's message for a full disk
_MAKE_ROOM = "make room there, or choose another place"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EFBIG: "files may not grow that large here; raise the limit (ulimit -f), or choose another place",
    errno.EROFS: "choose a place that is not read-only",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a file stands where a folder belongs",
    errno.EEXIST: "a file stands where a folder belongs",
}
_TEMPORARY = re.compile(r"\.(?P<name>[^/\\]+)\.[0-9a-f]{12}\.tmp")


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name[:80]}.{os.urandom(6).hex()}.tmp")


def _sync(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to disk."""
    try:
        # Windows flushes only files opened for writing
        descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except PermissionError:  # Windows cannot open a folder, and its renames are durable once they return
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
