"""The archives of a dataset, one after the other."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from dact.datamodules.cache import check_room
from dact.errors import UserError
from dact.locks import Lock
from dact.options import ArchiveOptions, MemberOptions

from .archives import contents, plan, unpack
from .jobs import FOLDER, Job, md5_of
from .parts import DamagedError, Partial, Remote
from .progress import bar
from .transfer import ask, fetch


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
        jobs = [job for job in _jobs(archives, features, pictures, root, say) if _is_left(job, say)]
        remotes = survey(jobs, folder, how["timeout"], say)
        for job in jobs:
            if job.name in remotes:
                _fetch(job, remotes[job.name], how)
            files = _unpack(job)
            if not keep_archives:
                job.forget_archive()
            say(f"{job.name}: {files:,} files in {root}")


def _jobs(
    archives: Mapping[str, ArchiveOptions],
    features: str,
    pictures: bool,
    root: Path,
    say: Callable[[str], None],
) -> list[Job]:
    """The archives of which something is needed, without those that are left out."""
    jobs = []
    for name, options in archives.items():
        if options.md5 is not None and not re.fullmatch("[0-9a-fA-F]{32}", options.md5):
            raise UserError(
                f"archives.{name}.md5={options.md5} is no md5: give its 32 hexadecimal digits in "
                "quotes, or null"
            )
    for name, options in archives.items():
        members = needed(options, features, pictures)
        if members and options.url is None:
            say(f"{name}: left out, since archives.{name}.url=null")
        elif members:
            jobs.append(Job(name, options, members, root))
    return jobs


def _is_left(job: Job, say: Callable[[str], None]) -> bool:
    """Whether there is something to do; said if there is nothing."""
    done = job.is_done(say)
    if done:
        say(f"{job.name}: already there")
    return not done


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
    remotes = {job.name: ask(job.options.url, timeout) for job in jobs if not job.is_kept(say)}
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
    partial = Partial(job.archive)
    with bar(job.name, remote.size) as shown:
        fetch(remote, partial, show=shown.set, **how)
    # Before it has its name: a kill in between must not leave a bad file that looks good.
    try:
        _check(job, partial.path)
    except DamagedError:
        partial.drop()
        raise
    job.finish(partial)


def _check(job: Job, path: Path) -> None:
    """Raise DamagedError unless the file at `path` is the archive, and a harmless one."""
    url = job.options.url
    try:
        contents(path, url)
    except DamagedError as error:
        raise DamagedError(
            f"{error}, or give the archive's present address with archives.{job.name}.url=…, or "
            "null to do without it"
        ) from error
    if job.md5 is not None and (found := md5_of(path, job.name)) != job.md5:
        raise DamagedError(
            f"{url} is damaged or has changed: its md5 is {found}, not {job.md5}; "
            f"run the same command again, or give archives.{job.name}.md5"
        )


def _unpack(job: Job) -> int:
    """Unpack what is needed and note it; returns the number of files."""
    try:
        entries = contents(job.archive, job.archive)
        files = plan(job.archive, entries, job.members, job.root)
        with bar(f"unpacking {job.name}", sum(one.entry.size for one in files)) as shown:
            unpack(job.archive, files, shown.add)
    except DamagedError:
        job.forget_archive()  # kept, it would be refused again and again
        raise
    job.note_unpacked(entries)
    return len(files)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / "lock", "data.root=PATH")
        held = lock.acquire()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written: {error.strerror}; give another data.root"
        ) from error
    if not held:
        raise UserError(
            f"another process downloads into {folder.parent}: let it end ({lock.path} is "
            f"{lock.holder() or 'locked'})"
        )
    try:
        yield
    finally:
        lock.release()
