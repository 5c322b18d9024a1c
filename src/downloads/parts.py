"""Files on the way: what is there of them, and of what they are parts."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from dact.errors import UserError


class DamagedError(UserError):
    """A file that is not what it should be, and has to be fetched again."""


class Remote(NamedTuple):
    """What a server says of a file."""

    url: str
    size: int | None
    """Bytes; None if it does not say."""
    version: str | None
    """Strong ETag or date of change; None if it says neither."""


class Partial:
    """The part of a file that is there already, with the version that it is of.

    Args:
        path: where the file will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".part")
        self.now: Remote | None = None
        """What it was begun with here: servers may send a newer file than the one asked for."""
        self._note = path.with_name(path.name + ".part.json")

    def size_of(self, remote: Remote) -> int:
        """Bytes that need not be sent again; 0 if they may be of another version."""
        if remote.version is None or not self.path.exists() or not self._note.exists():
            return 0
        try:
            known = json.loads(self._note.read_text("utf-8"))
        except ValueError:
            return 0
        return self.path.stat().st_size if known == [remote.url, remote.version] else 0

    def begin(self, remote: Remote) -> None:
        """Start again, with nothing."""
        self.now = remote
        self.path.write_bytes(b"")
        self._note.write_text(json.dumps([remote.url, remote.version]), "utf-8")

    def finish(self, path: Path) -> None:
        """The file is whole: give it its name."""
        os.replace(self.path, path)
        self._note.unlink(missing_ok=True)

    def drop(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
