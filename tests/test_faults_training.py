"""What may happen to a training from outside, and what is left of it."""

import errno
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, TINY, command, everything_in
from test_resume import DROPOUT, assert_same

from dact import checkpoint, run_folder
from dact.datamodules.collate import VQADataset
from dact.errors import UserError
from dact.lit_module import VQALitModule

KILLS = 8
PARTS = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step")


def at_step(monkeypatch, step, action):
    """Do something at the begin of a training step."""
    proper = VQALitModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            action()
        return proper(self, batch, batch_idx)

    monkeypatch.setattr(VQALitModule, "training_step", training_step)


def assert_same_run(one, other):
    for part in PARTS:
        assert_same(one.get(part), other.get(part), part)


@pytest.mark.parametrize("step", [1, 8, 11])
@pytest.mark.faults(
    "disk full while a checkpoint is written",
    tried="no file may grow beyond 4 KB from some step on",
    happened="one line; earlier checkpoints whole; resumed with room, bit-identical",
)
def test_a_disk_that_is_full_when_a_checkpoint_is_written(program, step, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", "checkpoint_every=1", "logger=none", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "full"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patched:
        at_step(patched, step, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard)))
        try:
            with pytest.raises(UserError, match=r"cannot be written \(File too large\).*last$"):
                program(*typed, folder=folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [name for name in everything_in(folder) if "tmp" in name]
    for path in folder.glob("checkpoints/*.ckpt"):
        checkpoint.load(path)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    assert_same_run(resumed.checkpoint, whole.checkpoint)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("batch", [0, 5])
@pytest.mark.faults(
    "a data worker killed",
    tried="SIGKILL while it makes some batch",
    happened="one line, nothing hangs; resumed, bit-identical",
)
def test_a_process_that_makes_batches_is_killed(program, batch, tmp_path, monkeypatch):
    typed = ("model=mac", "data.num_workers=1", "checkpoint_every=1", *DROPOUT)
    whole = program(*typed)
    proper, main, made = VQADataset.__getitems__, os.getpid(), []

    def getitems(self, indices):
        made.append(indices)
        if os.getpid() != main and len(made) == batch + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return proper(self, indices)

    folder = tmp_path / "killed"
    with monkeypatch.context() as patched:
        patched.setattr(VQADataset, "__getitems__", getitems)
        with pytest.raises(UserError, match="a process that makes batches died"):
            program(*typed, folder=folder)
    last = ["ckpt_path=last"] if run_folder.has_begun(folder) else []
    resumed = program(*typed, *last, folder=folder)
    assert_same_run(resumed.checkpoint, whole.checkpoint)


@pytest.mark.slow
@pytest.mark.faults(
    "kill -9 in training",
    tried="at random moments of one run, with two workers, resumed each time",
    happened="weights, optimizer, schedule and metrics.csv bit-identical to a run never killed",
    times=KILLS,
)
def test_a_run_that_is_killed_again_and_again(mini_root, tmp_path):
    typed = (f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}", *TINY, *DROPOUT)
    typed += ("model=dact", "warm_start=none", "trainer.max_epochs=60", "checkpoint_every=3")
    typed += ("data.num_workers=2", "keep_checkpoints=2")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = command(*typed, f"hydra.run.dir={whole}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    dice, last = random.Random(0), []
    for number in range(KILLS):
        target = 60 * 8 * (number + dice.random()) / (KILLS + 1)
        program = [sys.executable, str(REPOSITORY / "run.py"), *typed, *last]
        program += [f"hydra.run.dir={killed}"]
        with subprocess.Popen(
            program, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            until = time.monotonic() + 120
            while newest_step(killed) < target and time.monotonic() < until:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert newest_step(killed) >= target
        last = ["ckpt_path=last"]
    done = command(*typed, *last, f"hydra.run.dir={killed}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, other = (checkpoint.load(f / "checkpoints" / "last.ckpt") for f in (killed, whole))
    assert_same_run(one, other)
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def newest_step(folder):
    """Step of the newest checkpoint of a run folder, or -1."""
    found = run_folder.checkpoints_in(folder)
    return run_folder.step_of(found[0]) if found else -1


@pytest.mark.faults(
    "the last checkpoint damaged",
    tried="cut short at 20 places",
    happened="a warning names it; the one before is taken",
)
@pytest.mark.parametrize("share", [n / 20 for n in range(20)])
def test_a_last_checkpoint_cut_short_is_stepped_over(program, two_checkpoints, share):
    folder = two_checkpoints
    newest = (folder / "checkpoints" / "last.ckpt").resolve()
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    with pytest.warns(UserWarning, match=r"step000016.*damaged.*; taking .*step000008"):
        path, saved = checkpoint.load_first_whole(run_folder.checkpoints_in(folder))
    assert path.name == "epoch00-step000008.ckpt"
    assert saved["global_step"] == 8


@pytest.fixture
def two_checkpoints(trained, tmp_path):
    """A copy of the checkpoints of a run of two epochs."""
    folder = tmp_path / "copy" / "checkpoints"
    folder.mkdir(parents=True)
    for path in trained.mac.folder.glob("checkpoints/epoch*"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "last.ckpt").symlink_to("epoch01-step000016.ckpt")
    return folder.parent


class Call:
    """Pickled so that loading it calls a function."""

    def __init__(self, function, *arguments):
        self.state = function, arguments

    def __reduce__(self):
        return self.state


WITNESS = "witness"
GADGETS = {
    "os.system": Call(os.system, f"touch {WITNESS}"),
    "eval": Call(eval, f"open({WITNESS!r}, 'w')"),
    "exec": Call(exec, f"open({WITNESS!r}, 'w')"),
    "open": Call(open, WITNESS, "w"),
    "subprocess": Call(subprocess.call, ["touch", WITNESS]),
    "getattr": Call(getattr, Path(WITNESS), "touch"),
    "__import__": Call(__import__, "antigravity"),
    "torch.load": Call(torch.load, WITNESS),
    "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.system, f"touch {WITNESS}"))),
}
OLD_OPCODES = {
    "INST": b"(S'touch witness'\nios\nsystem\n.",
    "GLOBAL": b"cos\nsystem\n(S'touch witness'\ntR.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0dtouch witness\x85R.",
    "OBJ": b"(cos\nsystem\nS'touch witness'\no.",
}


@pytest.mark.parametrize("name", [*GADGETS, *OLD_OPCODES])
@pytest.mark.parametrize("container", ["zip", "raw"])
@pytest.mark.faults(
    "malicious pickle as .ckpt",
    tried="functions of Python and old opcodes, bare and inside torch.save's archive",
    happened="refused in one line, nothing executed",
)
def test_a_malicious_checkpoint_executes_nothing(name, container):
    content = OLD_OPCODES.get(name) or pickle.dumps({checkpoint.ENTRY: {}, "x": GADGETS[name]})
    path = Path("bad.ckpt")
    if container == "raw":
        path.write_bytes(content)
    else:
        torch.save({}, path)
        with zipfile.ZipFile(path) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w") as archive:
            for inner, old in files.items():
                archive.writestr(inner, content if inner.endswith("data.pkl") else old)
    with pytest.raises(UserError) as refused:
        checkpoint.load(path)
    assert "\n" not in str(refused.value)
    assert "bad.ckpt" in str(refused.value)
    assert not Path(WITNESS).exists()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.faults(
    "file system turns read-only or fails in training",
    tried="EROFS, EACCES and EIO when a checkpoint gets its name",
    happened="one line; earlier checkpoints whole",
)
def test_a_place_that_stops_taking_checkpoints(program, number, tmp_path, monkeypatch):
    proper = os.replace

    def replace(source, target):
        if "step000008" in str(target):
            raise OSError(number, os.strerror(number))
        return proper(source, target)

    monkeypatch.setattr("os.replace", replace)
    with pytest.raises(UserError, match=r"step000008.* cannot be written"):
        program("model=mac", "checkpoint_every=5", folder=tmp_path / "run")
    (left,) = (tmp_path / "run" / "checkpoints").glob("epoch*")
    assert checkpoint.load(left)["global_step"] == 5
