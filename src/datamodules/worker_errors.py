"""Batches that a worker process cannot send, in one line instead of a hang.

PyTorch hands batches over in shared memory, a file in /dev/shm for each tensor, which both
processes keep open. Containers often have 64 MB of it, and some systems allow few open files.
"""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType
from typing import Any

from torch._utils import ExceptionWrapper
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from dact.errors import UserError

_SHARED = Path("/dev/shm")
#: What PyTorch, Python and the system say, where one of the two is short. A worker that cannot open
#: more files ends the connection, of which the other side sees only that.
_NO_MEMORY = ("shared memory", "Bus error", os.strerror(errno.ENOSPC))
_NO_FILES = (
    os.strerror(errno.EMFILE),
    os.strerror(errno.ENFILE),
    "ancdata",
    "Pin memory thread exited",
)


def what_is_short(error: BaseException, option: str) -> str | None:
    """What to say of an error between workers and this process; None if it is another one.

    Args:
        error: that was raised.
        option: of the number of workers, for the message.
    """
    text = str(error)
    if any(sign in text for sign in _NO_FILES) or isinstance(error, EOFError | ConnectionError):
        return (
            f"worker processes may not open the files to send batches: `ulimit -n` allows "
            f"{_open_files_allowed()}; raise it (ulimit -n 4096), or give {option}=0"
        )
    if any(sign in text for sign in _NO_MEMORY):
        size = f" ({shutil.disk_usage(_SHARED).total >> 10:,} KiB)" if _SHARED.is_dir() else ""
        return (
            f"worker processes have too little shared memory to send batches: /dev/shm{size} is "
            f"full; make it larger (docker run --shm-size=8g), or give {option}=0 or smaller "
            "batches"
        )
    return None


def _open_files_allowed() -> str:
    try:
        import resource
    except ImportError:  # not on every system
        return "too few"
    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


@contextmanager
def shortage_in_one_line(option: str, workers: int) -> Iterator[None]:
    """Around all that starts workers and takes batches from them.

    Args:
        option: of the number of workers, for the message.
        workers: how many there are; without any, errors stay as they are.

    Raises:
        UserError: shared memory or open files are short.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, RuntimeError, EOFError) as error:
        if not workers or (said := what_is_short(error, option)) is None:
            raise
        _say_nothing_of_iterators()
        raise UserError(said) from error


def _say_nothing_of_iterators() -> None:
    """Without PyTorch's notes on an iterator that is half made, or whose workers are dead: what was
    short is an error of this process already.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.object is not _MultiProcessingDataLoaderIter.__del__:
            before(unraisable)

    sys.unraisablehook = hook


def send_errors() -> None:
    """Call it in a worker: a batch that cannot be sent is an error of the parent.

    By default it is dropped by the thread that sends, and the parent waits for it for ever.
    """
    sys.excepthook = _excepthook  # of the thread that hands open files over
    Queue._on_queue_feeder_error = _send_error  # type: ignore[method-assign]


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
    """Without the tracebacks of connections that ended: the parent says what was short."""
    if not issubclass(kind, OSError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _send_error(queue: Queue, error: BaseException, batch: Any) -> None:
    number = batch[0] if isinstance(batch, tuple) else None  # as DataLoader's workers send them
    try:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    except RuntimeError:
        queue.put((number, ExceptionWrapper(sys.exc_info(), where="in a worker process")))
