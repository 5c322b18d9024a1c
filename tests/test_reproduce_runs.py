"""How scripts/reproduce.py runs its plan, with a stand-in for run.py that trains nothing."""

import json
import os
import re
import signal
import threading
import time

import pytest
import reproduce_runs
from reproduce_plan import SIZES, Training, command, plan
from reproduce_runs import Trainer, commit, commits, last_checkpoint, seconds

from dact.errors import UserError

TRIAL = SIZES["trial"]
#: Notes in `events` when it begins and ends, and does what the environment says of its training.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path

options = dict(one.split("=", 1) for one in sys.argv[1:])
folder = Path(options["hydra.run.dir"].strip("'"))

def note(what):
    with open(folder.parent / "events", "a") as file:
        file.write(f"{what} {folder.name}\\n")

def stop(number, frame):
    note("stopped")
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, stop)
start = Path(options.get("warm_start", "/"))
assert start.exists(), start
(folder / "typed.json").write_text(json.dumps(sys.argv[1:]))
(folder / "checkpoints").mkdir(exist_ok=True)
note("begin")
until = time.monotonic() + 60
if folder.name in os.environ.get("MEETS", "").split():  # waits for the others that do
    names = {f"begin {name}" for name in os.environ["MEETS"].split()}
    while not names <= set((folder.parent / "events").read_text().splitlines()):
        assert time.monotonic() < until
        time.sleep(0.01)
if folder.name in os.environ.get("FAILS", "").split():
    print("epoch 1\\nerror: it is broken\\n")
    sys.exit(1)
(folder / "checkpoints" / "epoch00-step000001.ckpt").touch()
if folder.name in os.environ.get("HANGS", "").split():
    note("hangs")
    while time.monotonic() < until:
        time.sleep(0.01)
    sys.exit("was not stopped")
(folder / "checkpoints" / "last.ckpt").touch()
(folder / "result.json").write_text("{}")
note("end")
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path, monkeypatch):
    path = tmp_path / "program" / "run.py"
    path.parent.mkdir()
    path.write_text(STAND_IN)
    monkeypatch.setattr(reproduce_runs, "RUN", path)


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


def events(work):
    """What happened, in order: pairs of an event and a name."""
    path = work / "events"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def names(work, event):
    return [name for what, name in events(work) if what == event]


def independent(*wanted):
    return [Training(name, "mac", 0, (f"seed={n}",)) for n, name in enumerate(wanted)]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_what_others_start_from_ends_before_they_begin(work, jobs):
    trainings = sorted(  # what starts from one follows at its heels
        plan(TRIAL), key=lambda one: (one.starts_from or one.name, one.group != "start")
    )
    Trainer(work, TRIAL, ()).run_all(trainings, jobs)
    order = {event: place for place, event in enumerate(events(work))}
    for one in trainings:
        assert order["begin", one.name] < order["end", one.name]
        if one.starts_from:
            assert order["end", one.starts_from] < order["begin", one.name]
    assert len(order) == 2 * len(trainings)
    running = most = 0
    for what, _ in order:
        running += 1 if what == "begin" else -1
        most = max(most, running)
    assert most <= jobs


def test_jobs_run_at_once(work, monkeypatch):
    """Each waits for the others."""
    monkeypatch.setenv("MEETS", "a b c")
    Trainer(work, TRIAL, ()).run_all(independent("a", "b", "c"), 3)
    assert sorted(names(work, "end")) == ["a", "b", "c"]


def test_a_training_is_told_its_options_and_its_folders(work):
    one = next(one for one in plan(TRIAL) if one.starts_from)
    start = Training(one.starts_from, "start", 0, ())
    Trainer(work, TRIAL, ["model.dim=8"]).run_all([start, one], 1)
    assert json.loads((work / one.name / "typed.json").read_text()) == [
        *command(one, TRIAL, ["model.dim=8"]),
        f"data.cache_dir={work / 'cache'}",
        f"hydra.run.dir='{work / one.name}'",
        f"warm_start={last_checkpoint(work, start.name)}",
    ]


def test_what_is_finished_is_not_trained_again(work):
    Trainer(work, TRIAL, ()).run_all(independent("a", "b"), 1)
    before = events(work)
    Trainer(work, TRIAL, ()).run_all(independent("a", "b", "c"), 1)
    assert events(work) == [*before, ("begin", "c"), ("end", "c")]


def test_a_folder_of_other_options_is_refused(work):
    Trainer(work, TRIAL, ()).run_all(independent("a"), 1)
    before = events(work)
    said = rf"^{re.escape(str(work / 'a'))} was trained with other options: give another --work$"
    with pytest.raises(UserError, match=said):
        Trainer(work, TRIAL, ["model.dim=9"]).run_all(independent("a", "b"), 1)
    assert events(work) == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_is_named_with_its_last_line_and_ends_it(work, monkeypatch, jobs):
    """`jobs` at once, which begin together and all fail, so that every place becomes free."""
    last = ["b", "x"][:jobs]
    monkeypatch.setenv("FAILS", " ".join(last))
    monkeypatch.setenv("MEETS", " ".join(last))
    others = [f"c{n}" for n in range(20)]
    said = rf"^[{''.join(last)}] failed: error: it is broken \({re.escape(str(work))}/[bx]\.log\)$"
    with pytest.raises(UserError, match=said):
        Trainer(work, TRIAL, ()).run_all(independent(*last, *others), jobs)
    assert sorted(names(work, "begin")) == last
    assert not any((work / name).exists() for name in others)


def test_what_starts_from_a_failure_is_not_begun(work, monkeypatch):
    monkeypatch.setenv("FAILS", "a")
    start, *_ = independent("a")
    trainings = [start, *(Training(f"b{n}", "dact", 0, (), "a") for n in range(5))]
    with pytest.raises(UserError, match=r"^a failed: "):
        Trainer(work, TRIAL, ()).run_all(trainings, 3)
    assert names(work, "begin") == ["a"]


def test_what_failed_goes_on_when_it_is_called_again(work, monkeypatch):
    trainer = Trainer(work, TRIAL, ())
    monkeypatch.setenv("FAILS", "a")
    with pytest.raises(UserError):
        trainer.run_all(independent("a", "b"), 1)
    monkeypatch.delenv("FAILS")
    trainer.run_all(independent("a", "b"), 1)
    assert names(work, "end") == ["a", "b"]


def in_a_while(action, condition):
    """A thread that does something as soon as something else is so, at the latest in a minute."""

    def wait():
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_goes_on_to_all_that_runs(work, monkeypatch, number):
    trainings = independent("a", "b", *(f"c{n}" for n in range(20)))
    handlers = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patched:
        patched.setenv("HANGS", "a b")
        thread = in_a_while(
            lambda: os.kill(os.getpid(), number), lambda: len(names(work, "hangs")) == 2
        )
        with pytest.raises(SystemExit) as ended:
            Trainer(work, TRIAL, ()).run_all(trainings, 2)
        thread.join()
    assert ended.value.code == 128 + number
    assert sorted(names(work, "stopped")) == sorted(names(work, "begin")) == ["a", "b"]
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == handlers
    Trainer(work, TRIAL, ()).run_all(trainings, 2)
    assert sorted(names(work, "end")) == sorted(one.name for one in trainings)
    resumed = {
        one.name
        for one in trainings
        if "ckpt_path=last" in json.loads((work / one.name / "typed.json").read_text())
    }
    assert resumed == {"a", "b"}
    attempts = [len((work / one.name / "seconds.txt").read_text().split()) for one in trainings]
    assert attempts == [2, 2] + 20 * [1]


def test_a_training_begun_while_all_are_stopped_is_stopped_too(work, monkeypatch):
    """The signal came before the program could be noted down."""
    trainer, proper = Trainer(work, TRIAL, ()), reproduce_runs.subprocess.Popen

    def slow(*arguments, **options):
        program = proper(*arguments, **options)
        until = time.monotonic() + 60
        while not names(work, "hangs") and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert trainer._stopped.wait(60)
        return program

    monkeypatch.setenv("HANGS", "a")
    monkeypatch.setattr(reproduce_runs.subprocess, "Popen", slow)
    with pytest.raises(SystemExit):
        trainer.run_all(independent("a"), 1)
    assert names(work, "stopped") == ["a"]


def test_time_and_commits_are_those_of_all_attempts(work):
    trainings = independent("a", "b", "c")
    for one, times, made in zip(trainings, ("1.5\n2.0\n", "4.0\n", ""), "yxy", strict=True):
        (work / one.name).mkdir(parents=True)
        (work / one.name / "seconds.txt").write_text(times)
        (work / one.name / "origin.json").write_text(json.dumps({"typed": [], "commit": made}))
    assert seconds(work, trainings) == 7.5
    assert seconds(work, [*trainings, *independent("none")]) == 7.5
    assert commits(work, trainings) == ["x", "y"]


def test_code_outside_of_git_is_of_an_unknown_commit(monkeypatch):
    assert commit() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert commit() == "unknown"
