"""An archive of a dataset: whether it is here, and whether what is needed of it was unpacked."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rich.progress

from dact.datamodules.cache import unfinished
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions

from .archives import Entry, Unpacked, plan
from .parts import Partial
from .progress import bar

#: Below the dataset's root: archives, and notes of what they are and hold.
FOLDER = ".downloads"


class Job(NamedTuple):
    """An archive, and what is needed of it."""

    name: str
    options: ArchiveOptions
    members: list[MemberOptions]
    root: Path

    @property
    def archive(self) -> Path:
        """Where the archive is once it is whole."""
        return self.root / FOLDER / f"{self.name}.zip"

    @property
    def origin(self) -> Path:
        """Says what the archive beside it is."""
        return self.root / FOLDER / f"{self.name}.zip.json"

    @property
    def note(self) -> Path:
        """Says of which archive the unpacked files are, and all that it holds."""
        return self.root / FOLDER / f"{self.name}.json"

    @property
    def md5(self) -> str | None:
        """What it should be, if that is known."""
        return self.options.md5 and self.options.md5.lower()

    def is_kept(self, say: Callable[[str], None]) -> bool:
        """Whether the archive is here; if its md5 is known only now, it is compared."""
        if not self.archive.is_file():
            return False
        known = _read(self.origin)
        if self._is_of(known):
            return True
        if self.md5 is None:
            return False
        if md5_of(self.archive, self.name) == self.md5:
            _write(self.origin, {"url": self.options.url, **known, "md5": self.md5})
            return True
        say(f"{self.name}: the archive that is here has not the md5 {self.md5}, another is fetched")
        return False

    def finish(self, partial: Partial) -> None:
        """Give a whole archive its name, and note what it is."""
        self.origin.unlink(missing_ok=True)  # it may speak of an older one
        partial.finish(self.archive)
        _write(self.origin, {"url": self.options.url, "md5": self.md5})

    def forget_archive(self) -> None:
        """Delete the archive, and what is there of another."""
        self.origin.unlink(missing_ok=True)
        self.archive.unlink()
        Partial(self.archive).drop()

    def is_done(self, say: Callable[[str], None]) -> bool:
        """Whether all that is needed was unpacked of this very archive, and is still as it was.

        Files that have not been touched since they were noted need not be read.
        """
        known = _read(self.note)
        if not self._is_of(known):
            return False
        try:
            entries = [Entry(*entry) for entry in known["entries"]]
            files = plan(self.note, entries, self.members, self.root)
        except (UserError, KeyError, TypeError):
            return False
        lost = [one for one in files if not one.has_size] or self._changed(files, known)
        if lost:
            say(f"{self.name}: {len(lost):,} of {len(files):,} files are missing or have changed")
        return not lost

    def _changed(self, files: Sequence[Unpacked], known: dict[str, Any]) -> list[Unpacked]:
        """Those that differ from the archive's; if there are none, none need be read next time."""
        noted = self.note.stat().st_mtime_ns
        touched = [one for one in files if one.touched >= noted]
        if not touched:
            return []
        size = sum(one.entry.size for one in touched)
        staged = _stage(self.note, known)  # now: files can be touched while others are read
        try:
            with bar(f"checking {self.name}", size, transient=True) as shown:
                changed = [one for one in touched if not one.has_content(shown.add)]
            if not changed:
                os.replace(staged, self.note)
            return changed
        finally:
            staged.unlink(missing_ok=True)

    def note_unpacked(self, entries: Sequence[Entry]) -> None:
        """What is needed of the archive, which holds `entries`, has been unpacked."""
        _write(self.note, {"url": self.options.url, "md5": self.md5, "entries": entries})

    def _is_of(self, known: dict[str, Any]) -> bool:
        """Whether a note is about this archive, whichever server it came from."""
        if self.md5 is not None:
            return known.get("md5") == self.md5
        return known.get("url") == self.options.url


def md5_of(path: Path, name: str) -> str:
    """The md5 of a file; `name` is for the bar."""
    with rich.progress.open(path, "rb", description=f"checking {name}") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _read(note: Path) -> dict[str, Any]:
    """What a note says; nothing if there is none, or no whole one."""
    try:
        known = json.loads(note.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(note: Path, known: dict[str, Any]) -> None:
    os.replace(_stage(note, known), note)


def _stage(note: Path, known: dict[str, Any]) -> Path:
    unfinished(note).write_text(json.dumps(known), "utf-8")
    return unfinished(note)
