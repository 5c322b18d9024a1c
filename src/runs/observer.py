"""The death of one process of a run ends the others, in one line each."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from dact.errors import UserError

#: Seconds between two looks, and after a death until the others are ended from outside.
_EVERY, _GRACE = 1.0, 15.0


def _lost(reason: str) -> str:
    return (
        f"another process of the run ended ({reason}): see its error above; if it left none, it "
        "was killed, for instance since memory ran out. A training goes on with ckpt_path=last"
    )


@contextmanager
def lost_processes_in_one_line() -> Iterator[None]:
    """Around all that waits for the other processes of a run.

    Raises:
        UserError: instead of the error of PyTorch's backend, if the connection to one is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "/gloo/" in str(error):
            raise UserError(_lost(" ".join(str(error).split())[:200])) from error
        raise


@contextmanager
def observed(processes: list[subprocess.Popen]) -> Iterator[None]:
    """End this process if one that Lightning started for it fails, and this one hangs.

    Lightning's own observer ends it within seconds, without a word, while it is still about to say
    what has happened.

    Args:
        processes: Lightning's own list, emptied so that its observer has nothing to observe.
    """
    own, over = list(processes), threading.Event()
    processes.clear()
    if own:
        threading.Thread(target=_observe, args=(own, over), daemon=True).start()
    try:
        yield
    except BaseException:
        for process in own:
            process.kill()
        raise
    finally:
        over.set()


def _observe(processes: list[subprocess.Popen], over: threading.Event) -> None:
    while not any(process.poll() for process in processes):
        if over.wait(_EVERY):
            return
    if over.wait(_GRACE):
        return
    status = next(process.returncode for process in processes if process.returncode)
    print(f"error: {_lost(f'status {status}')}", file=sys.stderr, flush=True)
    for process in processes:
        process.kill()
    os._exit(1)
