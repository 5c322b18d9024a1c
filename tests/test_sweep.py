"""Sweeps: finished jobs are skipped, stopped ones go on, and none takes another one along."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY, TINY, Finished, command, compose
from test_resume import assert_same
from test_run import IN_A_RUN_FOLDER
from test_stopping import DROPOUT, stopped

import run
from dact import checkpoint, config, run_folder, sweeps
from dact.errors import UserError
from dact.runs import job as jobs


@pytest.fixture
def job(program):
    """A job of a sweep, in the folder that the sweep gives it."""

    def call(*typed, folder):
        folder.mkdir(exist_ok=True)
        typed = program.typed(*program.defaults, *typed)
        return Finished(run.run(compose(*typed), folder=folder, typed=typed, sweep=True), folder)

    return call


def test_a_finished_job_is_skipped(job, tmp_path, capsys):
    first = job("model=mac", folder=tmp_path / "0")
    written = first.last.resolve().stat().st_mtime_ns
    again = job("model=mac", folder=tmp_path / "0")
    assert again.value == first.value
    assert "finished before, and left as it is" in capsys.readouterr().out
    assert again.last.resolve().stat().st_mtime_ns == written


def test_a_finished_job_with_other_options_is_not_taken_for_this_one(job, tmp_path):
    job("model=mac", folder=tmp_path / "0")
    with pytest.raises(UserError, match=r"finished run with trainer\.max_epochs=1, not 2: give"):
        job("model=mac", "trainer.max_epochs=2", folder=tmp_path / "0")


def test_an_evaluation_is_done_again(evaluate, trained, tmp_path):
    """Its checkpoint may be another one by now."""
    path, folder, found = tmp_path / "same_name.ckpt", tmp_path / "0", []
    folder.mkdir()
    for source in sorted(trained.mac.folder.glob("checkpoints/epoch*")):
        path.write_bytes(source.read_bytes())
        typed = evaluate.typed(*evaluate.defaults, "mode=validate", f"ckpt_path={path}")
        run.run(compose(*typed), folder=folder, typed=typed, sweep=True)
        found.append(Finished(None, folder).metrics[-1]["val/nll"])
    assert len(found) == len(set(found)) == 2


def test_a_job_on_several_devices_is_started_as_one_run(configured, monkeypatch, tmp_path):
    """Not as the sweep again, where a file says `hydra.mode: MULTIRUN`."""
    started = []
    monkeypatch.setattr(jobs, "run_program", lambda command: started.append(command) or 0)
    typed = [*TINY, "trainer=ddp_cpu"]
    program = ["run.py", "--config-name=mine"]
    jobs.execute_in_sweep(config.resolve(compose(*typed)), tmp_path / "0", typed, program)
    (command,) = started
    assert command[1:] == [*program, *typed, "hydra.mode=RUN", f"hydra.run.dir='{tmp_path / '0'}'"]


def test_sweeps_of_the_same_second_have_folders_of_their_own(monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "2001-02-03_04-05-06")
    noted = [SimpleNamespace(task=[words], hydra=[]) for words in ("seed=0,1", "seed=2,3")]
    first, second = (sweeps.sweep_folder(one, "config", []) for one in noted)
    assert (first, second) == (
        "logs/multirun/2001-02-03_04-05-06",
        "logs/multirun/2001-02-03_04-05-06-2",
    )


@pytest.mark.parametrize("step", [3, 12])
def test_a_stopped_job_goes_on(program, job, step, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", "optimizer.ema_decay=0.8", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "1"
    stopped(lambda *typed, folder: job(*typed, folder=folder), *typed, step=step, folder=folder)
    assert not (folder / "result.json").exists()
    resumed = job(*typed, folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])
    assert resumed.metrics == whole.metrics


@IN_A_RUN_FOLDER
def test_an_evaluation_of_a_stopped_job_does_not_finish_it(program, evaluate, job, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", "optimizer.ema_decay=0.8", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "1"
    stopped(lambda *typed, folder: job(*typed, folder=folder), *typed, step=12, folder=folder)
    evaluate("mode=validate", "ckpt_path=last", folder=folder)
    resumed = job(*typed, folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])
    assert resumed.metrics == whole.metrics


@pytest.mark.slow
def test_a_job_that_was_stopped_while_it_trained_the_mac_goes_on_with_that(
    program, job, tmp_path, capsys
):
    typed = ("model=dact", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    shutil.rmtree(tmp_path / "cache" / "warm_start")
    folder = tmp_path / "1"
    stopped(lambda *typed, folder: job(*typed, folder=folder), *typed, step=3, folder=folder)
    assert not (folder / "checkpoints").exists()
    capsys.readouterr()
    resumed = job(*typed, folder=folder)
    assert f"going on from {folder}/warm_start/checkpoints" in capsys.readouterr().out
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])


@pytest.mark.faults(
    "a SLURM job whose time is up",
    tried="SIGUSR1 while it trains, and before, with a stand-in for scontrol",
    happened="saved, requeued; goes on in its folder",
)
def test_a_requeued_job_goes_on_in_its_folder(program, monkeypatch, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "job"
    stopped(program, *typed, step=5, folder=folder)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    resumed = program(*typed, folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])
    assert resumed.metrics == whole.metrics


def test_a_requeued_job_of_several_runs_finds_the_folder_of_each(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    commands = ["optimizer.learning_rate=0.01"], ["optimizer.learning_rate=0.001"]
    folders = []
    for typed in commands:
        monkeypatch.setattr("sys.argv", ["run.py", *typed])
        run_folder.allocate.cache_clear()
        folders.append(Path(run_folder.allocate("fit", "name", None)))
        run_folder.note_job(folders[-1])
    assert folders[0] != folders[1]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    for typed, folder in zip(commands, folders, strict=True):
        monkeypatch.setattr("sys.argv", ["run.py", *typed])
        run_folder.allocate.cache_clear()
        assert Path(run_folder.allocate("fit", "name", None)) == folder


# As typed.

FIT = (*TINY, "trainer.max_epochs=1")


@pytest.fixture
def mini(mini_root, tmp_path):
    """Overrides for the tiny clevr_mini."""
    return f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}"


def jobs_of(cwd):
    """Folders of the jobs of the one sweep there is, by name."""
    (sweep,) = (cwd / "logs" / "multirun").iterdir()
    return {path.name: path for path in sorted(sweep.iterdir()) if path.name[0] != "."}


@pytest.mark.faults(
    "a mistake in one job of a sweep",
    tried="an option that cannot be",
    happened="the others run; status 1",
)
@pytest.mark.slow
def test_a_mistake_in_one_job_does_not_end_the_others(mini, tmp_path):
    typed = ("-m", *mini, *FIT, "model=mac", "keep_checkpoints=3,0,4")
    for _ in range(2):
        done = command(*typed, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("error: keep_checkpoints=0 is not possible") == 2
        names = [name for name in jobs_of(tmp_path) if name != "multirun.yaml"]
        assert names == ["0-clevr_mini-mac-0-s0", "2-clevr_mini-mac-0-s0"]
    assert done.stdout.count("finished before") == 2


@pytest.mark.faults(
    "kill -9 in a sweep",
    tried="in the second of two jobs, then the same command",
    happened="the first is skipped, the second goes on",
)
@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(mini, tmp_path):
    typed = ("-m", *mini, *FIT, "model=mac", "seed=0,1", "trainer.max_epochs=40")
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    with subprocess.Popen(
        program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seen = 0
        for line in process.stdout:
            seen += "epoch 2/" in line
            if seen == 2:  # that of the second job
                process.send_signal(signal.SIGKILL)
                break
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before") == 1
    assert done.stdout.count("going on from") == 1
    for folder in (path for path in jobs_of(tmp_path).values() if path.is_dir()):
        saved = checkpoint.load(folder / "checkpoints" / "last.ckpt")
        assert saved["global_step"] == 40 * 8


@pytest.mark.slow
def test_jobs_that_run_at_once_share_the_mac(mini, tmp_path):
    pytest.importorskip("submitit", reason="submitit is an extra")
    typed = ("-m", "hydra/launcher=submitit_local", *mini, *FIT, "ponder=1e-3,5e-3")
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = [path.read_text() for path in tmp_path.glob("logs/multirun/*/.submitit/*/*_log.out")]
    assert len(said) == 2
    assert sum(text.count("training it first") for text in said) == 1
    starts = [line for text in said for line in text.splitlines() if "starting from" in line]
    assert len(set(starts)) == 1
    assert len(starts) == 2


@pytest.mark.faults(
    "a sweep of jobs on two devices asked to stop",
    tried="SIGTERM to the sweep in its second job",
    happened="the job saves and ends, and with it the sweep; it goes on when typed again",
)
@pytest.mark.slow
def test_a_sweep_on_two_devices_stops_when_it_is_asked_to(mini, tmp_path):
    typed = ("-m", *mini, *FIT, "trainer=ddp_cpu", "data.batch_size=8", "model=mac", "seed=0,1")
    typed += ("trainer.max_epochs=30",)
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    with subprocess.Popen(
        program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        seen = 0
        for line in process.stdout:
            seen += "epoch 2/" in line
            if seen == 2:
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM, rest
    assert "SIGTERM after step" in rest
    _, second = (path for path in jobs_of(tmp_path).values() if path.is_dir())
    assert checkpoint.load(second / "checkpoints" / "last.ckpt")["global_step"] < 30 * 8
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before") == 1
    assert checkpoint.load(second / "checkpoints" / "last.ckpt")["global_step"] == 30 * 8
