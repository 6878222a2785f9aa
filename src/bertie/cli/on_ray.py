"""``--ray``: a command answers a file in shards on a Ray cluster, running itself on each shard."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bertie.cli.options import expand_groups
from bertie.cli.verbosity import say
from bertie.data import form_of
from bertie.errors import BertieError, InputError, counted
from bertie.extras import need
from bertie.files import write_json
from bertie.run_files import RUN, read_run

# the input of a shard, rounded up to whole lines
SHARD_BYTES = 1 << 24
# byte order marks of UTF-16, in which a line break is not a single byte
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def answer_shards(command: Callable[..., None], given: dict[str, Any]) -> None:
    """Run a command on each shard of its input that has no file in the output folder yet.

    Workers read and write by path, so that on several machines both must be on shared storage.
    """
    need("ray", "ray", "--ray")
    data = need("ray.data", "ray", "--ray")
    source, folder, form = _paths(given)
    shards = [
        {"start": start, "stop": stop, "part": f"part-{number:05}.{form}"}
        for number, (start, stop) in enumerate(_ranges(source))
    ]
    _check_run(folder, {"command": command.__name__, **_run_record(source, given)})
    missing = [shard for shard in shards if not (folder / str(shard["part"])).exists()]
    if missing:
        if given["model"] is not None and Path(given["model"]).exists():
            given["model"] = str(Path(given["model"]).resolve())
        gpus, workers = _workers(given["device"])
        made = data.from_items(missing, override_num_blocks=len(missing)).map(
            _ShardAnswers,
            fn_constructor_args=(command, given | {"input": source, "output": folder}),
            num_cpus=1,
            num_gpus=gpus,
            compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
        )
        for row in made.iter_rows():
            if row["error"]:
                raise BertieError(row["error"])
    before = len(shards) - len(missing)
    say(f"bertie: {counted(len(shards), 'shard')} in {folder}, {before} of them from before")


class _ShardAnswers:
    """Answers a shard, in a worker."""

    def __init__(self, command: Callable[..., None], given: dict[str, Any]) -> None:
        self._command, self._given = command, given

    def __call__(self, shard: dict[str, Any]) -> dict[str, Any]:
        source, output = self._given["input"], self._given["output"] / shard["part"]
        with TemporaryDirectory() as place, source.open("rb") as file:
            piece = Path(place, output.stem + source.suffix)
            file.seek(shard["start"])
            piece.write_bytes(file.read(shard["stop"] - shard["start"]))
            try:
                expand_groups(self._command)(**self._given | {"ray": False, "input": piece, "output": output})
            except BertieError as error:  # Ray would bury its message in a traceback
                return shard | {"error": str(error)}
        return shard | {"error": ""}


def _paths(given: dict[str, Any]) -> tuple[Path, Path, str]:
    """Return the input file, the output folder, and the format of its parts."""
    source, folder = given["input"], given["output"]
    if given["texts"] or source is None or not source.is_file():
        raise InputError("--ray answers one file; name it with --input.")
    if folder is None or folder.is_file():
        raise InputError("--ray writes a folder of shards; name it with --output.")
    with source.open("rb") as file:
        is_utf_16 = file.read(2) in _UTF_16
    if form_of(source, given["format"]) not in ("lines", "jsonl") or is_utf_16 or given["encoding"] is not None:
        raise InputError(f"--ray splits files by line: {source} must be JSON lines, or plain text, in UTF-8.")
    folder.mkdir(parents=True, exist_ok=True)
    return source.resolve(), folder.resolve(), given["to"] or "jsonl"


def _ranges(source: Path) -> Iterator[tuple[int, int]]:
    size, start = source.stat().st_size, 0
    with source.open("rb") as file:
        while start < size:
            file.seek(start + SHARD_BYTES - 1)
            file.readline()
            stop = min(file.tell(), size)
            yield start, stop
            start = stop


def _run_record(source: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return what all shards of a run have in common."""
    found = source.stat()
    options = {name: value for name, value in given.items() if name not in ("input", "output", "texts", "device")}
    return {
        "input": str(source),
        "size": found.st_size,
        "modified": found.st_mtime_ns,
        "shard": SHARD_BYTES,
        "options": {name: value if isinstance(value, int | list) else str(value) for name, value in options.items()},
    }


def _check_run(folder: Path, run: dict[str, Any]) -> None:
    """Refuse to continue in a folder of another run; write the record of a new one."""
    if before := read_run(folder):
        if changed := [name for name in run if before.get(name) != run[name]]:
            raise InputError(f"{folder} holds the shards of another run ({', '.join(changed)}); name another --output.")
    elif any(folder.iterdir()):
        raise InputError(f"{folder} holds other files; name a new folder with --output.")
    else:
        write_json(folder / RUN, run)


def _workers(device: str | None) -> tuple[int, int]:
    """Return the GPUs per worker, which also gets a core, and the number of workers that fit in the cluster."""
    ray = need("ray", "ray", "--ray")
    ray.init(ignore_reinit_error=True)
    found = ray.cluster_resources()
    gpus = 0 if device == "cpu" else int(found.get("GPU", 0))
    return min(gpus, 1), max(1, gpus or int(found.get("CPU", 1)))
