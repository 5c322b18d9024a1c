"""A folder that is there whole or not at all; also for the other generators."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dact.errors import UserError


@contextmanager
def put_in_place(root: Path, what: str) -> Iterator[Path]:
    """A new folder to fill, which becomes `root` at the end; nothing is left if that fails.

    `root` must not exist or be empty; `what` is made, for messages. An OSError within becomes a
    UserError.
    """
    root = Path(root).expanduser().resolve()
    try:
        _check(root)
        root.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        try:
            content = workshop / root.name
            content.mkdir()  # a plain one, so with the user's own permissions
            yield content
            content.replace(root)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write {what} to {root}: {error.strerror or error}; "
            "make room or choose another folder"
        ) from error


def _check(root: Path) -> None:
    """Raise UserError unless a new folder can be moved to `root`."""
    if root.is_dir():
        if any(root.iterdir()):
            raise UserError(f"{root} exists and is not empty; remove it or choose another folder")
        if os.path.ismount(root):
            raise UserError(f"{root} is a mount point and cannot be replaced; name a folder in it")
    elif root.exists():
        raise UserError(f"{root} is a file; choose another folder")
