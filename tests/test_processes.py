"""Two processes are one run: the same numbers, one folder, and one line when it fails."""

import csv
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from clevr_files import make_questions, write_clevr, write_grid, write_questions
from conftest import REPOSITORY, command, json_lines
from test_resume import assert_same

from dact import checkpoint
from dact.datamodules import CLEVRDataModule

pytestmark = pytest.mark.slow
#: Two processes take 8 questions each where one takes 16.
SIZES = ("model.dim=8", "model.embedding_dim=6", "model.max_steps=3", "data.num_workers=0")
FIT = (*SIZES, "trainer.log_every_n_steps=4", "trainer.max_epochs=2", "optimizer.ema_decay=0.8")


@pytest.fixture
def clevr(tmp_path):
    """48 training questions, so that all batches are whole; the cache is the test's own."""
    root = write_clevr(tmp_path / "clevr")
    write_questions(root, "train", make_questions("train", 7, 7)[:48])
    return (
        "data=clevr",
        f"data.root={root}",
        "data.features=state",
        f"data.cache_dir={tmp_path / 'cache'}",
    )


@pytest.fixture
def mini(mini_root, tmp_path):
    """Overrides for the tiny clevr_mini."""
    return f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}"


def finished(*typed, cwd):
    """A command that ended well."""
    done = command(*typed, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stdout + done.stderr
    return done


def free_port():
    """A port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def validation(path):
    """Rows of validation in metrics.csv, as numbers."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/accuracy"]]
    return [
        {name: float(value) for name, value in row.items() if value and name.startswith("val/")}
        for row in rows
    ]


#: A halting unit that is sure of itself, of some questions that it halts and of others that not.
SURE = ("model.gate.bias=1", "model.max_steps=5")


@pytest.mark.parametrize(
    ("model", "differently"),
    [
        (("model=dact",), False),
        (("model=act", *SURE), True),
        (("model=dact", "model.train_halt_eps=0.3", *SURE), True),
    ],
    ids=["dact", "act", "eps"],
)
def test_two_processes_train_what_one_does(clevr, model, differently, tmp_path):
    """Batches are the same over all processes, so only the order of sums differs.

    Of gradients near 0 Adam makes steps of their sign, whatever rounding has made of that. Where
    training halts, a process may take fewer steps than the other in the same batch.
    """
    typed = (*clevr, *FIT, *model, "trainer.limit_train_batches=3")
    noted = by_one_and_by_two(*typed, scale=40 if differently else 1, cwd=tmp_path)
    taken = [[[steps for steps, _ in process] for process in run] for run in noted]
    folders = [tmp_path / "cpu", tmp_path / "ddp_cpu"]
    one, two = (checkpoint.load(folder / "checkpoints/last.ckpt") for folder in folders)
    assert one["global_step"] == two["global_step"] == 6
    for name, value in one["state_dict"].items():
        if not name.endswith("score.bias"):  # a softmax cancels it: its gradient is rounding alone
            torch.testing.assert_close(two["state_dict"][name], value, rtol=1e-4, atol=5e-5)
    ours, theirs = (validation(folder / "metrics.csv") for folder in folders)
    assert len(ours) == 2
    for row, other in zip(ours, theirs, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    (whole,), (first, second) = taken
    assert whole == [max(pair) for pair in zip(first, second, strict=True)]
    differ = sum(one != other for one, other in zip(first, second, strict=True))
    assert (differ >= 2) == differently


def test_two_processes_adapt_the_weight_to_the_steps_of_both(clevr, tmp_path):
    """τ is the same on both, and what one process makes of the same batches."""
    typed = (*clevr, *FIT, "model=dact", *SURE, "ponder=budget", "ponder.target_steps=2.5")
    typed += ("ponder.target_rate=50", "ponder.target_gain=0.1")
    one, two = by_one_and_by_two(*typed, scale=40, cwd=tmp_path)
    (whole,), (first, second) = [
        [[tau for _, tau in process] for process in run] for run in (one, two)
    ]
    assert first == second
    assert first == pytest.approx(whole, abs=1e-6)
    assert len(set(whole)) > len(whole) / 2
    ended = [
        checkpoint.load(tmp_path / name / "checkpoints/last.ckpt")["callbacks"]["PonderBudget"]
        for name in ("cpu", "ddp_cpu")
    ]
    assert ended[1] == pytest.approx(ended[0], abs=1e-6)


def by_one_and_by_two(*typed, scale, cwd):
    """What a run notes of each training step: of one process, and of two that share its batches.

    Without dropout, whose masks are of each process's own. Folders are named as the trainers.
    """
    names = ("stem", "question", "memory", "read", "output")
    typed += ("warm_start=none", *(f"model.dropout.{name}=0" for name in names))
    found = []
    for trainer, batch in (("cpu", 4), ("ddp_cpu", 2)):
        own = (f"trainer={trainer}", f"data.batch_size={batch}", f"hydra.run.dir={trainer}")
        found.append(noted(*typed, *own, scale=scale, cwd=cwd))
    return found


def noted(*typed, scale, cwd):
    """Steps and weight of each batch of each process, in a run with such a halting unit."""
    program = [sys.executable, str(REPOSITORY / "tests" / "halting_ranks.py"), *typed]
    environment = {"HALTING_SCALE": str(scale), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}
    done = subprocess.run(
        program, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    files = sorted(cwd.glob("steps-*.txt"))
    lines = [[line.split() for line in path.read_text().splitlines()] for path in files]
    found = [[(int(steps), float(weight)) for steps, weight in process] for process in lines]
    for path in files:
        path.unlink()
    return found


def test_two_processes_train_in_bfloat16(clevr, tmp_path):
    folder = tmp_path / "run"
    typed = (*clevr, *FIT, "model=dact", "warm_start=none", "data.batch_size=8")
    half = ("trainer=ddp_cpu", "trainer.precision=bf16-mixed")
    finished(*typed, *half, f"hydra.run.dir={folder}", cwd=tmp_path)
    weights = checkpoint.load(folder / "checkpoints/last.ckpt")["state_dict"].values()
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert all(weight.isfinite().all() for weight in weights)


def prepare(root, cache):
    """What each process of a run does first; notes which files it reads."""
    proper = CLEVRDataModule.read_file

    def read_file(path, progress):
        with (cache / "read.log").open("a") as log:
            log.write(f"{path.name}\n")
        yield from proper(path, progress)

    CLEVRDataModule.read_file = staticmethod(read_file)
    module = CLEVRDataModule(root, cache_dir=cache, progress=False)
    module.prepare_data("fit")
    module.setup("fit")
    return len(module.dataset("train"))


def test_processes_preprocess_once(tmp_path):
    root, cache = write_clevr(tmp_path / "clevr"), tmp_path / "cache"
    cache.mkdir()
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(prepare, root, cache) for _ in range(4)]
        assert {one.result() for one in found} == {35}
    names = sorted((cache / "read.log").read_text().split())
    assert names == ["CLEVR_train_questions.json", "CLEVR_val_questions.json"]


@pytest.mark.parametrize("questions", [1, 15])
def test_every_question_counts_once_on_any_number_of_processes(clevr, trained, questions, tmp_path):
    """With one question the second process has none at all."""
    root = tmp_path / "clevr"
    write_questions(root, "val", make_questions("val", 5, 3)[:questions])
    fitted = tmp_path / "fitted"
    finished(*clevr, *FIT, "model=dact", "warm_start=none", f"hydra.run.dir={fitted}", cwd=tmp_path)
    rows, lines = [], []
    for trainer in ("cpu", "ddp_cpu"):
        typed = (*clevr, f"trainer={trainer}", f"ckpt_path={fitted / 'checkpoints/last.ckpt'}")
        typed += ("data.eval_batch_size=4", "data.num_workers=0")
        for mode in ("validate", "predict"):
            folder = tmp_path / f"{trainer}-{mode}"
            finished(f"mode={mode}", *typed, f"hydra.run.dir={folder}", cwd=tmp_path)
        rows += validation(tmp_path / f"{trainer}-validate" / "metrics.csv")
        lines.append(json_lines(tmp_path / f"{trainer}-predict" / "predictions.jsonl"))
    assert rows[1] == pytest.approx(rows[0], abs=1e-6)
    assert len(lines[0]) == questions
    assert lines[0] == lines[1]


def tasks(program, cwd, **environments):
    """Start a program as two tasks of a cluster; returns the status and the output of each."""
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    own = ({name: values[rank] for name, values in environments.items()} for rank in (0, 1))
    processes = [
        subprocess.Popen(
            program,
            cwd=cwd,
            env=shared | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in own
    ]
    said = [process.communicate(timeout=200)[0] for process in processes]
    return [process.returncode for process in processes], said


def start_as_torchrun(*typed, cwd):
    """Start two processes of one machine, each a program of its own that knows its rank."""
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    return tasks(
        program,
        cwd,
        WORLD_SIZE="22",
        LOCAL_WORLD_SIZE="22",
        GROUP_RANK="00",
        RANK="01",
        LOCAL_RANK="01",
        TORCHELASTIC_RUN_ID="xx",
    )


def test_processes_of_a_cluster_share_one_folder_and_one_mac(mini, tmp_path):
    typed = (*mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", "model=dact")
    status, said = start_as_torchrun(*typed, "trainer.max_epochs=1", cwd=tmp_path)
    assert status == [0, 0], said
    (folder,) = (tmp_path / "logs" / "fit").iterdir()
    assert folder.name == "clevr_mini-dact-5e-3-s0"
    assert [text.count("training it first") for text in said] == [1, 0]
    assert json.loads((folder / "result.json").read_text())["accuracy"] is not None


def test_two_machines_of_one_process_each_are_one_run(mini, tmp_path):
    """As torchrun starts them."""
    program = [sys.executable, str(REPOSITORY / "run.py"), *mini, *FIT, "data.batch_size=8"]
    program += ["trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2", "model=mac"]
    status, said = tasks(
        program,
        tmp_path,
        WORLD_SIZE="22",
        LOCAL_WORLD_SIZE="11",
        GROUP_RANK="01",
        RANK="01",
        LOCAL_RANK="00",
        TORCHELASTIC_RUN_ID="xx",
    )
    assert status == [0, 0], said
    (folder,) = (tmp_path / "logs" / "fit").iterdir()
    two = checkpoint.load(folder / "checkpoints" / "last.ckpt")
    alone = (*mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", "model=mac")
    finished(*alone, f"hydra.run.dir={tmp_path / 'alone'}", cwd=tmp_path)
    one = checkpoint.load(tmp_path / "alone" / "checkpoints" / "last.ckpt")
    assert_same(two["state_dict"], one["state_dict"])


@pytest.mark.parametrize("model", ["mac", "dact"])
def test_a_requeued_job_of_two_tasks_goes_on_with_both(mini, model, tmp_path):
    """SLURM starts each anew, and only the first of them can find the folder of the job."""
    typed = [*mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", f"model={model}"]
    typed += ["checkpoint_every=3", "warm_start=none", "optimizer.schedule=constant"]
    whole = tmp_path / "whole"
    finished(*typed, f"hydra.run.dir={whole}", cwd=tmp_path)
    folder = (
        tmp_path / "logs" / "fit" / f"clevr_mini-{model}-{'0' if model == 'mac' else '5e-3'}-s0"
    )
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    task = {
        "SLURM_JOB_ID": ["4711"] * 2,
        "SLURM_NTASKS": "22",
        "SLURM_NTASKS_PER_NODE": "22",
        "SLURM_NNODES": "11",
        "SLURM_NODEID": "00",
        "SLURM_JOB_NAME": ["train"] * 2,
        "SLURM_NODELIST": ["localhost"] * 2,
        "SLURM_PROCID": "01",
        "SLURM_LOCALID": "01",
    }
    status, said = tasks([*program, "trainer.max_epochs=1"], tmp_path, **task)
    assert status == [0, 0], said
    for path in folder.glob("checkpoints/epoch00-step000008.ckpt"):
        path.unlink()  # as if it had been stopped in the middle of the epoch
    (folder / "checkpoints" / "last.ckpt").unlink()
    (folder / "result.json").unlink()
    note = json.loads((folder / ".slurm_job").read_text())
    (folder / ".slurm_job").write_text(json.dumps(note[:-1]))  # of the longer command
    status, said = tasks(program, tmp_path, **task, SLURM_RESTART_COUNT="11")
    assert status == [0, 0], said
    assert [text.count("going on from") for text in said] == [1, 0]
    two, one = (checkpoint.load(f / "checkpoints" / "last.ckpt") for f in (folder, whole))
    for part in ("state_dict", "current_model_state", "optimizer_states"):
        assert_same(two[part], one[part], part)


ONE_FAILS = pytest.mark.faults(
    "one process of two fails",
    tried="features that only the second reads; a checkpoint that only the first writes",
    happened="it names its mistake, the other one says that it lost it; a line each",
)


@ONE_FAILS
def test_a_mistake_that_only_the_second_process_finds_is_named(tmp_path):
    root = write_clevr(tmp_path / "clevr")
    for split, images in (("train", 7), ("val", 5)):
        values = np.ones((images, 5, 3, 2), np.float32)
        values[4, 0, 0, 0] = np.nan if split == "val" else 0
        write_grid(root, split, values)
    typed = ("data=clevr", f"data.root={root}", *FIT, "data.eval_batch_size=4", "data.batch_size=8")
    done = command(*typed, "model=mac", "trainer=ddp_cpu", cwd=tmp_path)
    assert done.returncode == 1
    named, lost = done.stderr.splitlines()
    assert re.fullmatch(r"error: .*val_features\.hdf5: row 4 holds NaN or infinity", named)
    assert lost.startswith("error: another process of the run ended (")


@ONE_FAILS
def test_a_checkpoint_that_cannot_be_written_ends_all_processes_in_one_line(mini, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoints").touch()  # where a folder should be
    typed = (*mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", "model=mac")
    status, said = start_as_torchrun(*typed, f"hydra.run.dir={folder}", cwd=tmp_path)
    assert status == [1, 1], said
    named, lost = (text.splitlines()[-1] for text in said)
    assert re.match(r"error: checkpoint .*step000008\.ckpt cannot be written", named)
    assert lost.startswith("error: another process of the run ended (")
    assert "Traceback" not in "".join(said)


def test_a_process_that_hangs_after_the_death_of_another_is_ended(tmp_path):
    """As in a collective of GPUs, which waits for ever."""
    code = """
import subprocess, sys, time
from dact.runs import observer
observer._EVERY = observer._GRACE = 0.1
processes = [subprocess.Popen([sys.executable, "-c", f"raise SystemExit({n})"]) for n in (0, 7)]
with observer.observed(processes):
    assert processes == []  # so that Lightning's own observer sees none
    time.sleep(300)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: another process of the run ended (status 7): see")


def second_of(pid):
    """The process that the first one of a run of two has started, besides its data workers."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if b"train_ddp_process_1" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("there is no second process")


def stop_when(text, *typed, number, cwd, whom="first"):
    """Start a run, and send a signal when it says something; returns its status and what follows.

    The signal is for the `first` process, the `second`, or `all` of them, as from SLURM, systemd
    and `timeout`.
    """
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    with subprocess.Popen(
        program,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if text in line:
                pid = second_of(process.pid) if whom == "second" else process.pid
                (os.killpg if whom == "all" else os.kill)(pid, number)
                break
        rest = process.stdout.read()
    return process.returncode, rest


@pytest.mark.faults(
    "two processes stopped",
    tried="SIGTERM to the first and to all, data workers too; kill -9 of either",
    happened="resumed, bit-identical; metrics.csv too; the one that is left says so in one line",
)
@pytest.mark.parametrize(
    ("number", "whom", "status"),
    [
        (signal.SIGTERM, "first", 143),
        (signal.SIGTERM, "all", 143),
        (signal.SIGKILL, "first", -9),
        (signal.SIGKILL, "second", 1),
    ],
)
def test_two_processes_stopped_go_on_as_if_they_had_not_been(mini, number, whom, status, tmp_path):
    typed = (*mini, *FIT, "data.batch_size=8", "model=dact", "warm_start=none", "trainer=ddp_cpu")
    typed += ("trainer.max_epochs=12", "checkpoint_every=3", "data.num_workers=1")
    typed += ("model.dropout.memory=0.2",)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    finished(*typed, f"hydra.run.dir={whole}", cwd=tmp_path)
    there = f"hydra.run.dir={stopped}"
    ended, said = stop_when("epoch 2/", *typed, there, number=number, cwd=tmp_path, whom=whom)
    assert ended == status
    if whom == "second":
        lines = [line for line in said.splitlines() if not line.startswith("epoch ")]
        assert len(lines) == 1
        assert lines[0].startswith("error: another process of the run ended")
    left = checkpoint.load(stopped / "checkpoints" / "last.ckpt")
    assert left["global_step"] < 12 * 8
    finished(*typed, there, "ckpt_path=last", cwd=tmp_path)
    assert_same_end(stopped, whole)


def assert_same_end(one, other):
    """Two run folders hold the same weights, the same state and the same metrics."""
    ours, theirs = (checkpoint.load(folder / "checkpoints/last.ckpt") for folder in (one, other))
    for part in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers"):
        assert_same(ours[part], theirs[part], part)
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.mark.faults(
    "SIGTERM and SIGINT to all processes of a run",
    tried="in training, with two data workers",
    happened="saved first; resumed, bit-identical; metrics.csv too",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_workers_too_is_obeyed_as_one_to_the_first(mini, number, tmp_path):
    typed = (*mini, *FIT, "data.batch_size=16", "model=act", "warm_start=none", "trainer=cpu")
    typed += ("trainer.max_epochs=20", "data.num_workers=2", "model.dropout.memory=0.2")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    finished(*typed, f"hydra.run.dir={whole}", cwd=tmp_path)
    there = f"hydra.run.dir={stopped}"
    status, _ = stop_when("epoch 2/", *typed, there, number=number, cwd=tmp_path, whom="all")
    assert status == 128 + number
    left = checkpoint.load(stopped / "checkpoints" / "last.ckpt")
    assert left["global_step"] < 20 * 8
    finished(*typed, there, "ckpt_path=last", cwd=tmp_path)
    assert_same_end(stopped, whole)


def test_a_sweep_on_two_devices_runs_each_job_once(mini, tmp_path):
    typed = ("-m", *mini, *FIT, "data.batch_size=8", "trainer=ddp_cpu", "trainer.max_epochs=1")
    typed += ("model=mac", "seed=0,1")
    done = finished(*typed, cwd=tmp_path)
    (sweep,) = (tmp_path / "logs" / "multirun").iterdir()
    jobs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert jobs == ["0-clevr_mini-mac-0-s0", "1-clevr_mini-mac-0-s1"]
    assert len(re.findall(r"all +│ +32 │", done.stdout)) == 2
    for job in jobs:
        saved = checkpoint.load(sweep / job / "checkpoints" / "last.ckpt")
        assert saved["global_step"] == 8
    again = finished(*typed, cwd=tmp_path)
    assert again.stdout.count("finished before") == 2


def test_a_run_on_two_devices_fails_in_one_line(mini, tmp_path):
    typed = (*mini, *FIT, "model=dact", "trainer=ddp_cpu", "warm_start=nowhere.ckpt")
    done = command(*typed, cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "HYDRA" not in line]
    assert lines == ["error: checkpoint nowhere.ckpt does not exist"]
