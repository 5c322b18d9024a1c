"""Output costs nobody a run: without UTF-8, and after its reader has gone."""

import os
import subprocess
import sys

import pytest

from dact.streams import UnfailingStream, unfailing

LINES = "τ = 5e-3\n"


@pytest.mark.faults(
    "a terminal without UTF-8",
    tried="ASCII, with letters beyond it",
    happened="the letters are replaced; status 0",
)
def test_letters_that_a_terminal_lacks_are_replaced():
    read, write = os.pipe()
    with UnfailingStream(write, "ascii", line_buffering=True) as stream:
        stream.write(LINES)
    assert os.read(read, 100) == b"? = 5e-3\n"
    os.close(read)
    os.close(write)


def test_unbuffered_output_is_there_at_once():
    read, write = os.pipe()
    stream = UnfailingStream(write, "utf-8", line_buffering=False, write_through=True)
    stream.write("address")
    assert os.read(read, 100) == b"address"
    stream.close()
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("line_buffering", [True, False])
def test_a_closed_pipe_is_no_error(line_buffering):
    read, write = os.pipe()
    stream = UnfailingStream(write, "utf-8", line_buffering)
    os.close(read)
    for _ in range(5000):
        assert stream.write(LINES) == len(LINES)
    stream.close()
    os.write(write, b"what a program that was started writes")
    os.close(write)


def test_a_full_disk_is_one():
    disk = os.open("/dev/full", os.O_WRONLY)
    stream = UnfailingStream(disk, "utf-8", line_buffering=True)
    with pytest.raises(OSError, match="No space left"):
        stream.write(LINES)
    os.close(disk)


def test_streams_that_somebody_has_put_there_stay():
    assert unfailing(None) is None
    assert unfailing(sys.stdin) is sys.stdin


@pytest.mark.faults(
    "output into a closed pipe",
    tried="a pipe whose reader has gone, as after `| head -1`",
    happened="the program goes on without output; status 0",
)
def test_a_program_whose_reader_has_gone_comes_to_its_end(tmp_path):
    code = (
        "from pathlib import Path; from dact.one_line import one_line_errors\n"
        "def main():\n"
        "    for _ in range(9999): print('τ')\n"
        "    Path('whole').touch()\n"
        "raise SystemExit(one_line_errors(main))"
    )
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "whole").exists()
