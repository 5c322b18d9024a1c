"""The archives of a dataset, one after the other."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dact.datamodules.cache import check_room
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions

from .archives import plan, unpack
from .transfer import Partial, Remote, ask, fetch

#: Below the dataset's root: archives, and notes of what was unpacked.
FOLDER = ".downloads"


class Job(NamedTuple):
    """An archive of which something is still missing."""

    name: str
    options: ArchiveOptions
    members: list[MemberOptions]
    folder: Path

    @property
    def archive(self) -> Path:
        """Where the archive is once it is whole."""
        return self.folder / f"{self.name}.zip"

    @property
    def note(self) -> Path:
        """Says what was unpacked, of what."""
        return self.folder / f"{self.name}.json"

    @property
    def receipt(self) -> dict[str, Any]:
        """What the note says once the job is done."""
        members = [asdict(member) for member in self.members]
        return {"url": self.options.url, "md5": self.options.md5, "members": members}

    @property
    def done(self) -> bool:
        """Whether everything needed was unpacked, of this very archive."""
        if not self.note.exists():
            return False
        had, wanted = json.loads(self.note.read_text("utf-8")), self.receipt
        same = (had["url"], had["md5"]) == (wanted["url"], wanted["md5"])
        return same and all(member in had["members"] for member in wanted["members"])


def download(
    root: Path,
    archives: Mapping[str, ArchiveOptions],
    features: str,
    *,
    pictures: bool = False,
    keep_archives: bool = False,
    say: Callable[[str], None] = print,
    **how: Any,
) -> None:
    """Fetch, check and unpack what a dataset consists of, going on with what is there.

    Args:
        root: folder of the dataset.
        archives: by name.
        features: `data.features`, which decides what is needed.
        pictures: also what only reports show.
        keep_archives: do not delete them once they are unpacked.
        say: prints a line.
        **how: `retries`, `timeout` and `pause` of `fetch`.

    Raises:
        UserError: an archive cannot be fetched, is not what it should be, or there is no room.
    """
    how = {"retries": 5, "timeout": 60.0, "pause": time.sleep, **how}
    folder = root / FOLDER
    with _locked(folder):
        jobs = [
            Job(name, options, members, folder)
            for name, options in archives.items()
            if (members := needed(options, features, pictures))
        ]
        for job in jobs:
            if job.done:
                say(f"{job.name}: already there")
        jobs = [job for job in jobs if not job.done]
        remotes = survey(jobs, folder, how["timeout"], say)
        for job in jobs:
            if job.name in remotes:
                _fetch(job, remotes[job.name], how)
            files = _unpack(job, root)
            if not keep_archives:
                job.archive.unlink()
            say(f"{job.name}: {files:,} files in {root}")


def needed(options: ArchiveOptions, features: str, pictures: bool) -> list[MemberOptions]:
    """What of an archive is needed."""
    if options.pictures and not pictures:
        return []
    return [one for one in options.members if one.features is None or features in one.features]


def survey(
    jobs: Sequence[Job], folder: Path, timeout: float, say: Callable[[str], None]
) -> dict[str, Remote]:
    """What has to be fetched: say how much it is, and check that there is room for it."""
    remotes = {job.name: ask(job.options.url, timeout) for job in jobs if not job.archive.exists()}
    total = 0
    for job in jobs:
        if (remote := remotes.get(job.name)) is None:
            say(f"{job.name}: {decimal(job.archive.stat().st_size)}, fetched already")
            continue
        have = Partial(job.archive).size_of(remote)
        total += max((remote.size or 0) - have, 0)
        size = "of unknown size" if remote.size is None else decimal(remote.size)
        say(f"{job.name}: {size}, {decimal(have)} of it here, from {remote.url}")
    if jobs:
        free = shutil.disk_usage(folder).free
        say(f"{decimal(total)} to be fetched, {decimal(free)} free on the disk")
        check_room(folder / "archives", total)
    return remotes


def _fetch(job: Job, remote: Remote, how: Mapping[str, Any]) -> None:
    """Fetch an archive, and keep it only if it is what it should be."""
    with _bar(job.name, remote.size) as (bar, task):
        fetch(remote, job.archive, show=lambda done: bar.update(task, completed=done), **how)
    if job.options.md5 is None:
        return
    with job.archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != job.options.md5:
        job.archive.unlink()
        raise UserError(
            f"{remote.url} is damaged or has changed: its md5 is {found}, not {job.options.md5}; "
            f"run the same command again, or give archives.{job.name}.md5"
        )


def _unpack(job: Job, root: Path) -> int:
    """Unpack what is needed and note it; returns the number of files."""
    files = plan(job.archive, job.members, root)
    with _bar(f"unpacking {job.name}", sum(one.member.file_size for one in files)) as (bar, task):
        unpack(job.archive, files, lambda size: bar.advance(task, size))
    job.note.write_text(json.dumps(job.receipt), "utf-8")
    return len(files)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / "lock").acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"another process downloads into {folder.parent}: let it end") from error
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}; give another data.root"
        ) from error
    with held:
        yield


@contextmanager
def _bar(name: str, size: int | None) -> Iterator[tuple[Progress, Any]]:
    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn(name), BarColumn(), *columns) as bar:
        yield bar, bar.add_task(name, total=size)
