"""Memory of tensors that were freed, kept for the next ones."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_CHOSEN_BY_USER = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "GLIBC_TUNABLES",
)


def keep_freed_memory() -> bool:
    """Let the C library keep what a training step or a batch has freed, for the next one.

    glibc gives large pieces back to the system and gets them anew, page by page, at the next step:
    on a CPU that costs as much as some passes over the tensor. The process then holds on to the
    most that it ever used, up to 2 GiB of it unused. Threads share one pool, since those of their
    own cannot hold large pieces.

    Returns:
        Whether it was done: not where the C library is another one, nor where the environment
        already says what it should do.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name in os.environ for name in _CHOSEN_BY_USER):
        return False
    # Either of the two alone would leave the other at a fixed, small value; some versions of glibc
    # take no more than 32 MiB for the first.
    taken = mallopt(_M_MMAP_THRESHOLD, 2**30) or mallopt(_M_MMAP_THRESHOLD, 2**25)
    mallopt(_M_ARENA_MAX, 1)
    return bool(taken and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
