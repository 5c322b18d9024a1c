"""Where a run lives: one folder each, found again by its configuration.

`logs/<mode>/<data>-<model>-<ponder>-s<seed>`, then `-2`, `-3`, … while a run is in it.
"""

import functools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dact.command_line import cost_name
from dact.errors import UserError
from dact.options import ADAPTIVE_NETWORKS

#: Inside a run folder.
CHECKPOINTS = "checkpoints"
LAST = "last.ckpt"
WARM_START = "warm_start"
"""Run folder of a MAC that was trained for this run first."""


def run_name(data: str, model: str, cost: float, seed: int) -> str:
    """Name of a configuration, of letters, digits, '.', '+', '_' and '-' alone.

    >>> run_name("clevr_mini", "dact", 0.005, 0), run_name("gqa", "mac", 0.005, 1)
    ('clevr_mini-dact-5e-3-s0', 'gqa-mac-0-s1')
    """
    ponder = cost_name(cost) if model in ADAPTIVE_NETWORKS else "0"
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
    """Checkpoints of a run folder, the newest first (by training step, not by file time)."""
    paths = (folder / CHECKPOINTS).glob("[!.]*.ckpt")
    return sorted((path for path in paths if path.exists()), key=step_of, reverse=True)


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
    if mode == "fit" and ckpt_path:
        folder = _folder_to_resume(name, ckpt_path)
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
        UserError: another process trains in it.
    """
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"another run is training in {folder}: give another hydra.run.dir"
        ) from error
    with held:
        yield


def remove_if_unused(folder: Path) -> None:
    """Remove the folder of a run that failed before it left anything but its configuration."""
    if not folder.is_dir():
        return
    try:
        with FileLock(folder / ".lock", blocking=False):
            pass
    except Timeout:  # it is another run's, which has only just begun
        return
    left = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if all(path.parts[0] == ".hydra" or path.name == ".lock" for path in left):
        shutil.rmtree(folder, ignore_errors=True)


def _run_of(checkpoint: Path) -> str | None:
    """Name of the run whose checkpoint it is, if Hydra can read that name; None of others."""
    folder = checkpoint.absolute().parent
    name = folder.parent.name
    return name if folder.name == CHECKPOINTS and re.fullmatch(r"[\w.+-]+", name) else None


def _folder_to_resume(name: str, ckpt_path: str) -> Path | None:
    if ckpt_path == "last":
        return newest_with_checkpoint(name)
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
