"""Where preprocessed data lie, and how they are told from stale and unfinished ones."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dact.errors import UserError

#: Suffix of what is still being written; whatever carries it was interrupted, or soon is renamed.
UNFINISHED = ".unfinished"
#: Bytes hashed at either end of a source file: reading gigabytes at each start would take minutes.
_HASHED_BYTES = 1 << 20


def unfinished(path: Path) -> Path:
    """The temporary name beside `path` under which it is written before it is renamed."""
    return path.with_name(path.name + UNFINISHED)


def remove_unfinished(folder: Path) -> None:
    """Remove what interrupted preprocessing left in `folder`. Call it under the folder's lock."""
    for leftover in sorted(folder.glob("*" + UNFINISHED)):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def check_room(path: Path, size: int) -> int:
    """Bytes that are free for a file of `size` bytes at `path`.

    To be asked before HDF5 writes much: on a full disk it ends the whole process.

    Raises:
        UserError: there are fewer than `size`.
    """
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise UserError(
            f"{path} needs {size / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free: make room, or "
            "choose a place on another disk"
        )
    return free


def choose_cache_dir(root: Path, cache_dir: Path | None) -> Path:
    """The folder for preprocessed data, created if it was not there.

    That is `cache_dir` if given, else `<root>/.dact`, else (if that cannot be written) a folder of
    the user's cache named after `root`.

    Raises:
        UserError: a given `cache_dir`, or the user's cache, cannot be written.
    """
    if cache_dir is not None:
        problem = _write_problem(cache_dir)
        if problem:
            raise UserError(f"data.cache_dir={cache_dir} cannot be written: {problem}")
        return cache_dir
    beside = root / ".dact"
    if not _write_problem(beside):
        return beside
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]
    fallback = user_cache / "dact" / f"{root.resolve().name}-{name}"
    problem = _write_problem(fallback)
    if problem:
        raise UserError(
            f"neither {beside} nor {fallback} can be written ({problem}): set data.cache_dir"
        )
    return fallback


def content_fingerprint(paths: Iterable[Path]) -> str:
    """Hex digest of the files' sizes and of the first and last MiB of each; no names, no times."""
    digest = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{size};".encode())
        with path.open("rb") as file:
            digest.update(file.read(_HASHED_BYTES))
            file.seek(max(size - _HASHED_BYTES, 0))
            digest.update(file.read())
    return digest.hexdigest()


def source_stamp(paths: Iterable[Path], *settings: object) -> str:
    """What preprocessed data depend on: source files, to the nanosecond, and `settings`.

    Unlike `content_fingerprint` it holds names and times of change, so an edit in the middle of a
    file that keeps its size is seen too.
    """
    paths = list(paths)
    times = [(path.name, path.stat().st_mtime_ns) for path in paths]
    text = repr((content_fingerprint(paths), times, settings))
    return hashlib.sha256(text.encode()).hexdigest()


def _write_problem(folder: Path) -> str | None:
    """Why nothing can be written into `folder`, or None if something can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__
