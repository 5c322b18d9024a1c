"""Signals that ask a training to stop: it goes on to a point from where it can be resumed."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dact.errors import UserError

#: What tells a SLURM job, with `#SBATCH --signal=SIGUSR1@90`, that its time is nearly up.
REQUEUE = signal.SIGUSR1
_ALWAYS = (signal.SIGTERM, signal.SIGINT)
_IF_MEANT = (signal.SIGUSR1, signal.SIGUSR2)
#: In the environment of a program whose parent puts the SLURM job into its queue again.
_BY_PARENT = "DACT_REQUEUED_BY_PARENT"


class StopSignals:
    """Notes that a signal came, for somebody who asks when it suits.

    Make one before the trainer, which has handlers of its own: they would save in the middle of a
    step, and end the processes of a run at different ones.
    """

    def __init__(self) -> None:
        self.received = 0
        """Number of the signal that came, or 0."""
        self._before = {number: signal.getsignal(number) for number in (*_ALWAYS, *_IF_MEANT)}
        self._watched: list[int] = []

    def watch(self) -> None:
        """Note signals from now on; nothing outside the main thread, where Python allows none."""
        if not _in_main_thread():
            return
        meant = [n for n in _IF_MEANT if callable(self._before[n])]
        if slurm_job() and REQUEUE not in meant:
            meant.append(REQUEUE)
        self._watched = [*_ALWAYS, *meant]
        for number in self._watched:
            signal.signal(number, self._note)

    def release(self) -> None:
        """Put the handlers back that were there before all."""
        while self._watched:
            number = self._watched.pop()
            signal.signal(number, self._before[number])

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received:  # the user will not wait
            raise KeyboardInterrupt
        self.received = number

    def obey(self, number: int, *, first: bool) -> None:
        """End the program, now that everything is saved.

        A handler that was there before the training began decides for itself, as that of a
        launcher of cluster jobs which puts the job into its queue again.

        Args:
            number: the signal.
            first: whether this is the first process of the run.

        Raises:
            SystemExit: with the status that a program has which the signal ended.
        """
        self.received = 0
        before = self._before.get(number)
        if number != signal.SIGINT and callable(before):
            before(number, None)
            return
        if number == REQUEUE and first:
            _requeue()
        # Another status than 0 of a process that Lightning started ends the first one at once.
        raise SystemExit(128 + number if first else 0)


@contextmanager
def requeued_when_told(first: Callable[[], bool]) -> Iterator[None]:
    """Put a SLURM job into its queue again whose time is up while it does not train.

    While it does, `StopSignals` stands before this.

    Args:
        first: whether this is the first process of the run.
    """
    before = signal.getsignal(REQUEUE)
    if not slurm_job() or callable(before) or not _in_main_thread():
        yield
        return

    def requeue(number: int, frame: FrameType | None) -> None:
        if first():
            _requeue()
        raise SystemExit(128 + number if first() else 0)

    signal.signal(REQUEUE, requeue)
    try:
        yield
    finally:
        signal.signal(REQUEUE, before)


class _PassedOn(StopSignals):
    """Signals that are for a program which this process has started, and waits for."""

    program: subprocess.Popen | None = None

    def start(self, command: Sequence[str]) -> subprocess.Popen:
        """Start the program; a signal that came before is passed on now."""
        self.program = subprocess.Popen(command, env=os.environ | {_BY_PARENT: "1"})
        if self.received:
            self._pass_on(self.received)
        return self.program

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if self.program is None or number == signal.SIGINT:
            return
        # Of a launcher, of which the program knows nothing, it would die without saving.
        known = number == REQUEUE and slurm_job()
        self.program.send_signal(number if known else signal.SIGTERM)


def run_program(command: Sequence[str]) -> int:
    """Run a program to its end; returns its status.

    A signal that asks this process to stop goes on to the program, which saves and ends, or just
    ends if it has nothing to save yet. Ctrl-C comes to both anyway, as to all that was started
    from a terminal. It is this process that puts a SLURM job into its queue again, and not the
    program, to which SLURM may have sent the signal too.

    Raises:
        SystemExit: one of both was asked to stop, whatever the program made of it.
    """
    signals = _PassedOn()
    signals.watch()
    try:
        status = signals.start(command).wait()
    finally:
        signals.release()
    if number := signals.received or _asked_by(status):
        try:
            signals.obey(number, first=True)
        except UserError as error:  # as such it would end but one job of a sweep
            raise SystemExit(f"error: {error}") from error
        raise SystemExit(128 + number)  # the program has ended, whatever a launcher's handler says
    return status


def _asked_by(status: int) -> int:
    """The signal that asked a program of this status to stop, or 0; it is not asked by SIGKILL."""
    if status > 128:
        return status - 128
    asking = (*_ALWAYS, REQUEUE) if slurm_job() else _ALWAYS
    return -status if -status in asking else 0


def _in_main_thread() -> bool:
    """Where alone Python allows handlers of signals."""
    return threading.current_thread() is threading.main_thread()


def slurm_job() -> str | None:
    """Id of the SLURM job that this process is part of; it stays the same when requeued."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID")


def was_requeued() -> bool:
    """Whether the SLURM job of this process has run before."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def _requeue() -> None:
    if _BY_PARENT in os.environ:
        return
    job = slurm_job() or ""
    if not re.fullmatch(r"\d+(_\d+)?", job):
        raise UserError(f"SLURM's job id {job!r} is none: the job is saved, but not requeued")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"the job is saved, but cannot be requeued ({error}): submit it again with "
            "ckpt_path=last"
        ) from error
