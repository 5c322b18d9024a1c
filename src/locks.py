"""Locks that keep two processes off the same files, and say what they wait for.

A lock is the system's own (`flock`) on a file, which goes with its process. A disk that does not
know such locks (Lustre without `-o flock`) gets a file beside it whose existence is the lock;
should its process be killed on another machine, that file stays and is named to the user. Other
disks refuse to lock, which is an error in one line.
"""

import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from dact.errors import UserError

#: What `flock` says on disks that refuse it.
_REFUSED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
#: Suffix of a lock that is the existence of a file. Files that `flock` has locked stay when they
#: are free again, so these need another name.
_EXISTENCE = ".held"
#: Seconds after which a wait is said, and after which it is said again.
_FIRST, _AGAIN = 3.0, 600.0


class Lock:
    """A lock on a file that needs not exist.

    Args:
        path: the file.
        elsewhere: the options that give another place, for messages: `data.cache_dir=PATH`.
    """

    def __init__(self, path: Path, elsewhere: str) -> None:
        self.path = Path(path)
        self._elsewhere = elsewhere
        self._lock: BaseFileLock = FileLock(self.path, fallback_to_soft=False)

    @property
    def is_held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take it within `timeout` seconds; returns whether that worked.

        Raises:
            UserError: the disk refuses locks.
            OSError: the file cannot be opened.
        """
        try:
            self._lock.acquire(timeout=timeout)
        except Timeout:
            return False
        except OSError as error:
            if error.errno == errno.ENOSYS and not isinstance(self._lock, SoftFileLock):
                self._lock = SoftFileLock(self.path.with_name(self.path.name + _EXISTENCE))
                return self.acquire(timeout)
            if error.errno in _REFUSED:
                raise UserError(
                    f"{self.path}: this disk refuses locks ({error.strerror}), which keep two runs "
                    f"apart: give a place on another disk with {self._elsewhere}"
                ) from error
            raise
        self._note_holder()
        return True

    def release(self, *, remove: bool = False) -> None:
        """Let go of it, if it is held.

        Args:
            remove: the file as well: nobody will need it again.
        """
        if not self.is_held:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        self._lock.release()

    def holder(self) -> str:
        """Who holds it, and since when, as far as is known: a part of a sentence, or empty."""
        try:
            file = Path(self._lock.lock_file)
            lines = file.read_text("utf-8", "replace").split("\n")
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(file.stat().st_mtime))
        except OSError:
            return ""
        if len(lines) < 2 or not lines[0].isdecimal():
            return ""
        held = f"held by process {lines[0]} on {lines[1]} since {since}"
        if isinstance(self._lock, SoftFileLock):
            held += f"; if that process is gone, delete {file}"
        return held

    def _note_holder(self) -> None:
        """For `holder`; in a soft lock that is there already."""
        if isinstance(self._lock, SoftFileLock):
            return
        with suppress(OSError):  # a full disk: the lock holds all the same
            self.path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n", "utf-8")


@contextmanager
def waiting_for(path: Path, elsewhere: str) -> Iterator[None]:
    """Hold a lock, for which this may wait; that is said after seconds, and every ten minutes.

    Args:
        path: file of the lock.
        elsewhere: the options that give another place, for messages.

    Raises:
        UserError: the disk refuses locks, or the file cannot be opened.
    """
    lock = Lock(path, elsewhere)
    try:
        held = lock.acquire(_FIRST)
        while not held:
            tell_of_wait(lock)
            held = lock.acquire(_AGAIN)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{path} cannot be locked: {error.strerror}; give another place with {elsewhere}"
        ) from error
    with lock._lock:
        lock.release()  # held once from here on
        yield


def tell_of_wait(lock: Lock) -> None:
    """Say, on the console's error output, which lock this process waits for."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    print(
        f"waiting since {now} for {lock.path} ({lock.holder() or 'held by another process'})",
        file=sys.stderr,
        flush=True,
    )


def hdf5_lock_problem(error: BaseException) -> str | None:
    """What to say of a file that HDF5 could not lock; None if its error was another one."""
    if "unable to lock file" not in str(error):
        return None
    number = getattr(error, "errno", None)
    reason = f" ({os.strerror(number)})" if number else ""
    return (
        f"locked by a program that writes it, or locks are refused here{reason}: let that program "
        "end, or set HDF5_USE_FILE_LOCKING=FALSE in the environment"
    )
