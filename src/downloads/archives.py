"""Zip files: what of them is needed, where it goes, and nothing that leaves the folder."""

import errno
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from dact.datamodules.cache import check_room, unfinished
from dact.errors import UserError
from dact.options import MemberOptions

from .parts import DamagedError

_BLOCK = 1 << 20
#: What the library raises about damage; ValueError and IndexError where it has not expected any,
#: RuntimeError when a file says that it is encrypted, or packed in a way that is unknown.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
)


class Entry(NamedTuple):
    """A file of an archive."""

    name: str
    size: int
    crc: int


class Unpacked(NamedTuple):
    """A file of an archive and where it goes."""

    entry: Entry
    path: Path

    @property
    def has_size(self) -> bool:
        """Whether there is a file of this size."""
        return self.path.is_file() and self.path.stat().st_size == self.entry.size

    @property
    def touched(self) -> int:
        """When the file, its name or its permissions last changed, in ns; a program can set back
        only the first of the two times.
        """
        found = self.path.stat()
        return max(found.st_mtime_ns, found.st_ctime_ns)

    def has_content(self, show: Callable[[int], None] = lambda size: None) -> bool:
        """Whether the file that is there has this content; reads all of it.

        Raises:
            UserError: it cannot be read.
        """
        crc = 0
        try:
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    crc = zlib.crc32(block, crc)
                    show(len(block))
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}") from error
        return crc == self.entry.crc


def contents(archive: Path, name: object) -> list[Entry]:
    """The files of a zip file.

    Args:
        archive: a zip file.
        name: what messages call it.

    Raises:
        DamagedError: it is no whole zip file, or has a file that would leave the folder.
        UserError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
    except OSError as error:
        raise UserError(f"{archive} cannot be read: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise DamagedError(
            f"{name} is no whole zip file ({error}): run the same command again to fetch it anew"
        ) from error
    for member in members:
        _check_safe(name, member)
    return [Entry(member.filename, member.file_size, member.CRC) for member in members]


def plan(
    archive: Path, entries: Sequence[Entry], wanted: Sequence[MemberOptions], root: Path
) -> list[Unpacked]:
    """What is to be unpacked.

    Args:
        archive: for messages.
        entries: its files.
        wanted: those that are needed.
        root: the dataset's folder.

    Raises:
        UserError: there are none of a kind that is wanted and not optional, or two for one place.
    """
    found: dict[Path, Unpacked] = {}
    for one in wanted:
        files = [
            Unpacked(entry, root / one.to / tail)
            for entry in entries
            if (tail := _tail(entry.name, one.match))
        ]
        if not files and not one.optional:
            raise UserError(
                f"{archive} has no {one.match}: is it another version of the dataset? Delete it "
                "to fetch it anew"
            )
        for file in files:
            other = found.setdefault(file.path, file)
            if other.entry is not file.entry:
                raise UserError(
                    f"{archive} has two files for {file.path}: {other.entry.name} and "
                    f"{file.entry.name}; delete it to fetch it anew"
                )
    return list(found.values())


def unpack(
    archive: Path, plan: Sequence[Unpacked], show: Callable[[int], None] = lambda size: None
) -> None:
    """Unpack what is not there yet; each file gets its name when it is whole.

    Args:
        archive: the zip file.
        plan: of it.
        show: is told the bytes of every piece.

    Raises:
        DamagedError: the archive is damaged.
        UserError: there is no room, or something cannot be read or written.
    """
    missing = []
    for one in plan:
        if one.has_size and one.has_content():
            show(one.entry.size)
        else:
            missing.append(one)
    check_room(archive, sum(one.entry.size for one in missing))
    with zipfile.ZipFile(archive) as file:
        for one in missing:
            try:
                _write(file, one, show)
            except OSError as error:
                reason = error.strerror or error
                raise UserError(f"{one.path} cannot be unpacked: {reason}") from error
            except _DAMAGE as error:
                raise DamagedError(
                    f"{archive} is damaged at {one.entry.name} ({error}): run the same "
                    "command again to fetch it anew"
                ) from error


def _write(file: zipfile.ZipFile, one: Unpacked, show: Callable[[int], None]) -> None:
    one.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(one.path)
    try:
        with _opened(file, one.entry.name) as source, temporary.open("wb") as target:
            while block := source.read(_BLOCK):
                target.write(block)
                show(len(block))
        os.replace(temporary, one.path)
    finally:
        temporary.unlink(missing_ok=True)


def _opened(file: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return file.open(name)
    except OSError as error:
        if error.errno == errno.EINVAL:  # it is said to begin before the archive
            raise zipfile.BadZipFile("a file at an impossible place") from error
        raise


def _tail(name: str, pattern: str) -> str | None:
    """The end of a path that a pattern speaks of, if it matches; not what macOS adds.

    >>> _tail("CLEVR_v1.0/images/val/a.png", "images/*/*.png")
    'images/val/a.png'
    """
    path = PurePosixPath(name)
    if path.name.startswith("._") or not path.match(pattern):
        return None
    return str(PurePosixPath(*path.parts[-len(PurePosixPath(pattern).parts) :]))


def _check_safe(archive: object, member: zipfile.ZipInfo) -> None:
    """Refuse an archive with a path that leaves the folder, or with a link."""
    link = stat.S_ISLNK(member.external_attr >> 16)
    for name in (member.filename, member.orig_filename):  # a file can have two names
        leaves = PurePosixPath(name).is_absolute() or ".." in PureWindowsPath(name).parts
        if link or leaves or "\\" in name or PureWindowsPath(name).drive or "\0" in name:
            what = "a link" if link else "a path that leaves the folder"
            raise DamagedError(
                f"{archive} holds {what}, {name!r}, and is refused: run the same "
                "command again to fetch it anew"
            )
