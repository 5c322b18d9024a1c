"""What freed memory costs: it stays with the process, unless its user said otherwise."""

import os
import platform
import subprocess
import sys

import pytest

MIB = 2**20
PROGRAM = """
import sys
import threading
from pathlib import Path
from dact.allocator import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

done = keep_freed_memory()
before = resident()

def work():
    large = bytearray(b"x") * (64 * 2**20)
    del large

if "thread" in sys.argv:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
print(done, resident() - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")


def freed(*arguments: str, **environment: str) -> tuple[str, int]:
    """Whether memory is kept, and bytes that a process still holds after freeing 64 MiB."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept.pop("GLIBC_TUNABLES", None)
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(
        command, env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    answer, held = done.stdout.split()
    return answer, int(held)


def test_freed_memory_is_kept_for_the_next_step():
    answer, held = freed()
    assert answer == "True"
    assert held > 60 * MIB


def test_so_is_what_another_thread_freed():
    answer, held = freed("thread")
    assert answer == "True"
    assert held > 60 * MIB


def test_what_the_environment_says_of_the_allocator_stands():
    answer, held = freed(MALLOC_TRIM_THRESHOLD_="131072")
    assert answer == "False"
    assert held < 10 * MIB
