"""The archives of a dataset, one after the other."""

import hashlib
import json
import os
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

from dact.datamodules.cache import check_room, unfinished
from dact.errors import UserError
from dact.options import ArchiveOptions, MemberOptions

from .archives import contents, plan, unpack
from .parts import DamagedError, Partial, Remote, is_fetched, origin
from .transfer import ask, fetch

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
    def fetched(self) -> bool:
        """Whether the archive is there, whole and from its address."""
        return is_fetched(self.archive, self.options.url)

    def forget_archive(self) -> None:
        """Delete the archive."""
        origin(self.archive).unlink(missing_ok=True)
        self.archive.unlink()

    @property
    def done(self) -> bool:
        """Whether everything needed was unpacked, of this very archive."""
        try:
            had, wanted = json.loads(self.note.read_text("utf-8")), self.receipt
        except (FileNotFoundError, ValueError):
            return False
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
        UserError: unknown `features`, an archive that cannot be had or is damaged, or no room.
    """
    _check_features(archives, features)
    how = {"retries": 5, "timeout": 60.0, "pause": time.sleep, **how}
    folder = root / FOLDER
    with _locked(folder):
        jobs = _jobs(archives, features, pictures, folder, say)
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
                job.forget_archive()
            say(f"{job.name}: {files:,} files in {root}")


def _jobs(
    archives: Mapping[str, ArchiveOptions],
    features: str,
    pictures: bool,
    folder: Path,
    say: Callable[[str], None],
) -> list[Job]:
    """The archives of which something is needed, without those that are left out."""
    jobs = []
    for name, options in archives.items():
        members = needed(options, features, pictures)
        if members and options.url is None:
            say(f"{name}: left out, since archives.{name}.url=null")
        elif members:
            jobs.append(Job(name, options, members, folder))
    return jobs


def _check_features(archives: Mapping[str, ArchiveOptions], features: str) -> None:
    """Raise UserError if the archives name values of `data.features`, but not this one."""
    members = [member for options in archives.values() for member in options.members]
    known = sorted({name for member in members for name in member.features or ()})
    if known and features not in known:
        raise UserError(f"data.features={features} is unknown: choose {' or '.join(known)}")


def needed(options: ArchiveOptions, features: str, pictures: bool) -> list[MemberOptions]:
    """What of an archive is needed."""
    if options.pictures and not pictures:
        return []
    return [one for one in options.members if one.features is None or features in one.features]


def survey(
    jobs: Sequence[Job], folder: Path, timeout: float, say: Callable[[str], None]
) -> dict[str, Remote]:
    """What has to be fetched: say how much it is, and check that there is room for it."""
    remotes = {job.name: ask(job.options.url, timeout) for job in jobs if not job.fetched}
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

        def show(done: int) -> None:
            bar.update(task, completed=done)

        fetch(remote, job.archive, show=show, check=lambda path: _check(job, path), **how)


def _check(job: Job, path: Path) -> None:
    """Raise DamagedError unless the file at `path` is the archive, and a harmless one."""
    url, md5 = job.options.url, job.options.md5
    try:
        contents(path, url)
    except DamagedError as error:
        raise DamagedError(
            f"{error}, or give the archive's present address with archives.{job.name}.url=…, or "
            "null to do without it"
        ) from error
    if md5 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5.lower():
        raise DamagedError(
            f"{url} is damaged or has changed: its md5 is {found}, not {md5}; "
            f"run the same command again, or give archives.{job.name}.md5"
        )


def _unpack(job: Job, root: Path) -> int:
    """Unpack what is needed and note it; returns the number of files."""
    try:
        files = plan(job.archive, contents(job.archive, job.archive), job.members, root)
        size = sum(one.entry.size for one in files)
        with _bar(f"unpacking {job.name}", size) as (bar, task):
            unpack(job.archive, files, lambda size: bar.advance(task, size))
    except DamagedError:
        job.forget_archive()  # kept, it would be refused again and again
        raise
    unfinished(job.note).write_text(json.dumps(job.receipt), "utf-8")
    os.replace(unfinished(job.note), job.note)
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
