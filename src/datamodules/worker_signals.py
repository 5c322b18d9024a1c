"""Signals that ask a run to stop are for the process that trains, not for those that serve it.

SLURM, systemd, `timeout` and a terminal send them to all processes of a run. A worker that died of
one would take the run along before it has saved.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
#: Whether the system tells who sent a signal. Where it does not, workers die of SIGTERM as before.
_TELLS_SENDER = hasattr(signal, "sigwaitinfo")


@contextmanager
def held_back() -> Iterator[None]:
    """Start workers inside: no signal reaches them before `ignored_in_worker` is called in them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING) if _TELLS_SENDER else ()
    try:
        yield
    finally:
        if _TELLS_SENDER:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignored_in_worker(worker: int) -> None:
    """A `worker_init_fn`: of all these signals, only a SIGTERM of the parent ends the worker.

    With that the parent ends workers at its own end. Of its death they learn from PyTorch.

    Args:
        worker: its number, which does not matter.
    """
    if not _TELLS_SENDER:
        return
    for number in _STOPPING[1:]:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING[:1])
    threading.Thread(target=_wait_for_parent, name="signals", daemon=True).start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo(_STOPPING[:1]).si_pid != os.getppid():
        pass
    os._exit(0)  # as PyTorch's own handler does
