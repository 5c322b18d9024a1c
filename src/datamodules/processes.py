"""Jobs shared out to worker processes, or done in this one."""

import signal
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

from dact.errors import UserError

# submit(function, *arguments) gives a call that returns the result.
Submit = Callable[..., Callable]


@contextmanager
def processes(workers: int) -> Iterator[Submit]:
    """A `submit` for `workers` processes; with one worker a job is done when its result is asked.

    On leaving, whatever has not begun is cancelled. Processes are spawned: forking one that may
    hold threads (torch's, a notebook's) can hang. Where the system has no room for their locks
    (/dev/shm) or pipes, all is done in this process.

    Raises:
        UserError: a process died, or not all of them can be started.
    """
    pool = None if workers == 1 else _pool(workers)
    if pool is None:
        yield partial
        return

    def submit(function: Callable, *arguments) -> Callable:
        try:
            with _main_hidden():
                return pool.submit(function, *arguments).result
        except OSError as error:
            raise UserError(
                f"{workers} worker processes cannot be started ({error.strerror}): raise the "
                "limits on open files (ulimit -n) and processes (ulimit -u), and start again"
            ) from error

    try:
        yield submit
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died, perhaps for lack of memory or of open files (ulimit -n): free "
            "some, or raise that limit, and start again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor | None:
    try:
        return ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupt)
    except OSError:
        return None


def _ignore_interrupt() -> None:
    """Ctrl+C is for the parent, which cancels the rest; workers would only print tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Start processes without the caller's main module.

    A spawned process imports it again: seconds of torch per worker for nothing, and an endless
    recursion from a script without an `if __name__ == "__main__"`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
