"""A sweep whose jobs are programs of their own stops when it is asked to, whatever they do."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from conftest import REPOSITORY, TINY

from dact import checkpoint
from dact.stopping import run_program

#: What most programs below begin with; `tell(n)` is a signal to who waits for the program.
HEAD = """
import os, signal, time
from dact.stopping import StopSignals, requeued_when_told
def tell(number):
    os.kill(os.getppid(), number)
def wait():
    time.sleep(60)
"""
#: A program that trains, and is told that the time of the job is up.
TRAINS = """
signals = StopSignals()
signals.watch()
{tell}
while not signals.received:
    time.sleep(0.01)
signals.obey(signals.received, first=True)
"""
#: One that does not train yet.
PREPARES = """
with requeued_when_told(lambda: True):
    {tell}
    wait()
"""
TO_PARENT = "tell(signal.SIGUSR1)"
TO_ITSELF = "os.kill(os.getpid(), signal.SIGUSR1)"


def python(code):
    """Run a program as a sweep does."""
    return run_program([sys.executable, "-c", HEAD + code])


def status_of(code):
    """Status that the program ends this process with."""
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(SystemExit) as ended:
        python(code)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1)] == handlers
    return ended.value.code


@pytest.mark.parametrize(
    "then",
    [
        "wait()",  # it has no handler yet
        "wait_for_it(); raise SystemExit(143)",
        "wait_for_it(); raise SystemExit(1)",
        "wait_for_it()",  # it came too late
        "os.kill(os.getpid(), signal.SIGKILL)",
    ],
    ids=["dies", "obeys", "fails", "finishes", "is_killed"],
)
def test_a_program_asked_to_stop_ends_the_sweep_whatever_its_status(then):
    handler = """
came = []
def wait_for_it():
    while not came:
        time.sleep(0.01)
signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
"""
    handler = handler if "wait_for_it" in then else ""
    assert status_of(f"{handler}\ntell(signal.SIGTERM)\n{then}") == 143


def test_ctrl_c_before_a_program_has_a_handler_ends_the_sweep(capfd):
    code = "tell(signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); wait()"
    assert status_of(code) == 130
    assert "KeyboardInterrupt" in capfd.readouterr().err


def test_a_signal_to_the_program_alone_ends_the_sweep():
    assert status_of("os.kill(os.getpid(), signal.SIGTERM); wait()") == 143
    assert status_of("raise SystemExit(143)") == 143


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_program_that_fails_or_is_killed_was_not_asked_to_stop(code):
    assert python(code) in (3, -signal.SIGKILL)


def test_a_signal_that_comes_before_the_program_is_passed_on_to_it(monkeypatch):
    proper = subprocess.Popen

    def started(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return proper(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", started)
    assert status_of("wait()") == 143


@pytest.mark.parametrize(
    "code",
    [
        TRAINS.format(tell=TO_PARENT),
        TRAINS.format(tell=TO_ITSELF),
        TRAINS.format(tell=f"{TO_PARENT}; {TO_ITSELF}"),
        PREPARES.format(tell=TO_PARENT),
        PREPARES.format(tell=TO_ITSELF),
        f"{TO_PARENT}; wait()",
        f"{TO_ITSELF}; wait()",
    ],
    ids=["trains", "alone", "both", "prepares", "prepares_alone", "begins", "begins_alone"],
)
def test_a_slurm_job_with_a_program_is_requeued_once(code, slurm):
    assert status_of(code) == 128 + signal.SIGUSR1
    assert slurm.read_text() == "requeue 4711\n"


def test_a_slurm_job_that_is_only_asked_to_stop_is_not_requeued(slurm):
    assert status_of("tell(signal.SIGTERM); wait()") == 143
    assert not slurm.exists()


def test_a_job_that_cannot_be_requeued_ends_the_sweep_in_one_line(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "none")
    assert status_of(f"{TO_PARENT}; wait()").startswith("error: SLURM's job id 'none' is none")


def test_the_handler_of_a_launcher_is_called_when_the_program_has_saved(tmp_path):
    """Its signal would kill the program, which knows nothing of the launcher."""
    seen = []
    handler = signal.signal(
        signal.SIGUSR2, lambda number, frame: seen.append((tmp_path / "saved").exists())
    )
    code = """
signals = StopSignals()
signals.watch()
tell(signal.SIGUSR2)
while not signals.received:
    time.sleep(0.01)
open({saved!r}, "w").close()
signals.obey(signals.received, first=True)
"""
    try:
        assert status_of(code.format(saved=str(tmp_path / "saved"))) == 128 + signal.SIGUSR2
    finally:
        signal.signal(signal.SIGUSR2, handler)
    assert seen == [True]


# As typed.


@pytest.fixture
def sweep(mini_root, tmp_path, monkeypatch):
    """Begin a sweep of two jobs on two devices; what is left over is killed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    typed = [f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}", *TINY]
    typed += ["data.batch_size=8", "trainer=ddp_cpu", "trainer.max_epochs=30", "model=mac"]
    begun = []

    def begin():
        command = [sys.executable, str(REPOSITORY / "run.py"), "-m", *typed, "seed=0,1"]
        with (tmp_path / f"said{len(begun)}").open("w") as said:
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=said, stderr=said, start_new_session=True
            )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(process, pattern, folder):
    """Wait for a file of the sweep."""
    deadline = time.monotonic() + 200
    while not any(folder.glob(pattern)):
        assert process.poll() is None, "the sweep has ended"
        assert time.monotonic() < deadline, f"there is no {pattern}"
        time.sleep(0.02)


def jobs(cwd):
    """Names of the folders of jobs."""
    return sorted(path.name[0] for path in cwd.glob("logs/multirun/*/[0-9]-*"))


@pytest.mark.faults(
    "a sweep of jobs on two devices asked to stop before one trains",
    tried="SIGTERM, and SIGUSR1 from SLURM, with a stand-in for scontrol, to the sweep alone",
    happened="the job ends, and with it the sweep; SLURM's is requeued, once",
)
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_sweep_stops_before_its_job_trains(sweep, slurm, number, tmp_path, monkeypatch):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "if any('hydra.run.dir=' in word for word in sys.orig_argv):\n"  # as if it loaded PyTorch
        f"    pathlib.Path({str(tmp_path / 'job')!r}).touch()\n"
        "    time.sleep(300)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hooks))
    process = sweep()
    until(process, "job", tmp_path)
    process.send_signal(number)
    assert process.wait(60) == 128 + number, (tmp_path / "said0").read_text()
    assert "1" not in jobs(tmp_path)
    requeued = slurm.read_text() if slurm.exists() else ""
    assert requeued == ("requeue 4711\n" if number == signal.SIGUSR1 else "")


@pytest.mark.faults(
    "a SLURM job that is a sweep of jobs on two devices, whose time is up",
    tried="SIGUSR1 to the sweep, and to all of its processes, with a stand-in for scontrol",
    happened="saved, requeued once; the sweep goes on",
)
@pytest.mark.slow
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["sweep", "all"])
def test_a_sweep_whose_time_is_up_is_requeued_and_goes_on(
    sweep, slurm, send, tmp_path, monkeypatch
):
    process = sweep()
    until(process, "logs/multirun/*/0-*/checkpoints/last.ckpt", tmp_path)
    send(process.pid, signal.SIGUSR1)
    assert process.wait(100) == 128 + signal.SIGUSR1, (tmp_path / "said0").read_text()
    assert slurm.read_text() == "requeue 4711\n"
    assert jobs(tmp_path) == ["0"]
    (last,) = tmp_path.glob("logs/multirun/*/0-*/checkpoints/last.ckpt")
    assert 0 < checkpoint.load(last)["global_step"] < 30 * 8
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    process = sweep()
    assert process.wait(300) == 0, (tmp_path / "said1").read_text()
    assert (tmp_path / "said1").read_text().count("going on from") == 1
    assert jobs(tmp_path) == ["0", "1"]
    for path in tmp_path.glob("logs/multirun/*/*/checkpoints/last.ckpt"):
        assert checkpoint.load(path)["global_step"] == 30 * 8
