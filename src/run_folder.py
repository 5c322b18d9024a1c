"""Where a run lives: one folder each, found again by its configuration.

`logs/<mode>/<data>-<model>-<ponder>-s<seed>`, then `-2`, `-3`, … while a run is in it.
"""

import functools
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dact.errors import UserError
from dact.groups import cost_name
from dact.locks import Lock
from dact.options import ADAPTIVE_NETWORKS
from dact.stopping import slurm_job, was_requeued

#: Inside a run folder.
CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
WARM_START = "warm_start"
"""Run folder of a MAC that was trained for this run first."""
RESULT = "result.json"
"""There once a run has come to its end."""
_JOB = ".slurm_job"


def run_name(
    data: str, model: str, cost: float, seed: int, target_steps: float | None = None
) -> str:
    """Name of a configuration, of letters, digits, '.', '+', '_' and '-' alone.

    >>> run_name("clevr_mini", "dact", 0.005, 0), run_name("gqa", "mac", 0.005, 1)
    ('clevr_mini-dact-5e-3-s0', 'gqa-mac-0-s1')
    >>> run_name("clevr", "dact", 0.005, 0, target_steps=3.0)
    'clevr-dact-budget3-s0'
    """
    if model not in ADAPTIVE_NETWORKS:
        ponder = "0"
    else:
        ponder = cost_name(cost) if target_steps is None else f"budget{target_steps:g}"
    return f"{data}-{model}-{ponder}-s{seed}"


def folders_of(mode: str, name: str) -> list[Path]:
    """Existing folders of a configuration, oldest first."""
    pattern = re.compile(re.escape(name) + r"(?:-(\d+))?")
    numbered = [
        (int(match[1] or 1), folder)
        for folder in Path("logs", mode).glob(f"{name}*")
        if (match := pattern.fullmatch(folder.name)) and folder.is_dir()
    ]
    return [folder for _, folder in sorted(numbered)]


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints of a run folder, the newest first (by training step, not by file time).

    Those of later steps than `last.ckpt` are of a run that was given up: somebody went on from an
    earlier one.
    """
    paths = sorted((folder / CHECKPOINTS).glob("[!.]*.ckpt"), key=Path.is_symlink, reverse=True)
    distinct = {path.resolve(): path for path in paths if path.exists()}  # files before links
    last = step_of(folder / CHECKPOINTS / LAST)
    valid = [path for path in distinct.values() if last < 0 or step_of(path) <= last]
    return sorted(valid, key=step_of, reverse=True)


def checkpoint_name(epoch: int, step: int) -> str:
    """Name of a checkpoint, without anything that Hydra could not read back.

    >>> checkpoint_name(3, 625)
    'epoch03-step000625.ckpt'
    """
    return f"epoch{epoch:02d}-step{step:06d}.ckpt"


def step_of(path: Path) -> int:
    """Training step of a checkpoint, or of the one that a link points to; -1 if not in its name."""
    match = re.search(r"step(\d+)", path.resolve().name)
    return int(match[1]) if match else -1


def newest_with_checkpoint(name: str) -> Path | None:
    """The newest training folder of a configuration that holds a checkpoint."""
    folders = [folder for folder in folders_of("fit", name) if checkpoints_in(folder)]
    return folders[-1] if folders else None


def has_begun(folder: Path) -> bool:
    """Whether a run in this folder can be gone on with."""
    return bool(checkpoints_in(folder)) or stopped_before_its_own_training(folder)


def stopped_before_its_own_training(folder: Path) -> bool:
    """Whether a run was stopped while it still trained the MAC that it starts from."""
    return not checkpoints_in(folder) and bool(checkpoints_in(folder / WARM_START))


@functools.cache
def allocate(mode: str, name: str, ckpt_path: str | None) -> str:
    """Take a folder for this run: the one to be resumed, or a new one.

    The same answer is given again in the same process, since Hydra asks more than once.

    Args:
        mode: fit, validate, test or predict.
        name: from `run_name`.
        ckpt_path: `last` or a checkpoint in a folder of this configuration continues there.
    """
    if _is_not_first_process():  # which gets to know the first one's later
        return str(Path("logs", mode, f".{uuid.uuid4().hex}"))
    if mode == "fit":
        folder = _folder_of_requeued_job(name) or _folder_to_resume(name, ckpt_path)
        if folder is not None:
            return str(folder)
    if mode != "fit" and ckpt_path:
        name = _run_of(Path(ckpt_path)) or name
    number = 1
    while True:
        folder = Path("logs", mode, name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise UserError(
                f"cannot write to {folder.parent}: {error.strerror}; "
                "give another place with hydra.run.dir=PATH"
            ) from error
        return str(folder)


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    Raises:
        UserError: another process is at work in it, or its disk refuses locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(folder)
    if not lock.acquire():
        raise UserError(
            f"another run is at work in {folder}: give another hydra.run.dir ({lock.path} is "
            f"{lock.holder() or 'locked'})"
        )
    try:
        yield
    finally:
        lock.release()


def _lock_of(folder: Path) -> Lock:
    return Lock(folder / ".lock", "hydra.run.dir=PATH (of a sweep: hydra.sweep.dir=PATH)")


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8 that is there in whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    # Bytes of the command line that are no text in this locale come out as they came in.
    temporary.write_text(text, "utf-8", "surrogateescape")
    os.replace(temporary, path)


def finish(
    folder: Path,
    options: Mapping[str, Any],
    result: float | None,
    stopped: Mapping[str, Any] | None = None,
) -> None:
    """Note that the run in a folder has come to its end, or to a limit of steps or time.

    Args:
        folder: of the run.
        options: resolved configuration.
        result: of `run.py`: the accuracy, if there is one.
        stopped: by which option, after which step, and of how many; None: the run is complete.
    """
    noted = {} if stopped is None else {"stopped": stopped}
    text = json.dumps({"accuracy": result, **noted, "options": options}, indent=1)
    write_whole(folder / RESULT, f"{text}\n")


def result_in(folder: Path) -> dict[str, Any] | None:
    """What `finish` noted in a folder: `accuracy`, `options`, and `stopped` of a run that is not
    complete; None if nothing was noted.
    """
    try:
        return json.loads((folder / RESULT).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def note_job(folder: Path) -> None:
    """Note which cluster job a run is, so that it goes on in its folder when it is requeued."""
    if job := _job_and_command():
        (folder / _JOB).write_text(job, "utf-8")


def _job_and_command() -> str | None:
    """Of this process; a job may hold several runs."""
    job = slurm_job()
    return None if job is None else json.dumps([job, *sys.argv[1:]])


def _folder_of_requeued_job(name: str) -> Path | None:
    if not was_requeued():
        return None
    for folder in reversed(folders_of("fit", name)):
        note = folder / _JOB
        if note.is_file() and note.read_text("utf-8") == _job_and_command():
            return folder
    return None


def _is_not_first_process() -> bool:
    """Whether a cluster has started this process beside others, of whose run it is one."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) not in ("", "0")


def remove_if_unused(folder: Path) -> None:
    """Remove the folder of a run that failed before it left anything but its configuration."""
    if not folder.is_dir():
        return
    lock = _lock_of(folder)
    with suppress(UserError):  # where locks are refused, no run can be at work
        if not lock.acquire():  # it is another run's, which has only just begun
            return
        lock.release()
    left = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if all(path.parts[0] == ".hydra" or path.name in (".lock", _JOB) for path in left):
        shutil.rmtree(folder, ignore_errors=True)


def _run_of(checkpoint: Path) -> str | None:
    """Name of the run whose checkpoint it is, if Hydra can read that name; None of others."""
    folder = checkpoint.absolute().parent
    name = folder.parent.name
    return name if folder.name == CHECKPOINTS and re.fullmatch(r"[\w.+-]+", name) else None


def _folder_to_resume(name: str, ckpt_path: str | None) -> Path | None:
    if ckpt_path is None:
        return None
    if ckpt_path == "last":
        begun = [folder for folder in folders_of("fit", name) if has_begun(folder)]
        return begun[-1] if begun else None
    folder = Path(ckpt_path).absolute().parent
    same = [known.absolute() for known in folders_of("fit", name)]
    return folder.parent if folder.name == CHECKPOINTS and folder.parent in same else None


def candidates(ckpt_path: str, folder: Path, name: str) -> list[Path]:
    """The files that `ckpt_path` may mean, the best first.

    Args:
        ckpt_path: a file, or `last`.
        folder: run folder, searched first for `last`.
        name: configuration, whose newest training folder is searched next.

    Raises:
        UserError: there is none.
    """
    if ckpt_path != "last":
        path = Path(ckpt_path).expanduser()
        if not path.is_file():
            raise UserError(f"ckpt_path={ckpt_path} does not exist or is not a file")
        return [path]
    for place in (folder, newest_with_checkpoint(name)):
        if place is not None and (found := checkpoints_in(place)):
            return found
    raise UserError(
        f"ckpt_path=last finds no checkpoint in {folder} nor in logs/fit/{name}: "
        "train first, or give a file"
    )
