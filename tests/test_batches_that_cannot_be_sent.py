"""Worker processes without shared memory or open files: one line instead of a hang."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clevr_files import ready, write_clevr, write_grid
from conftest import REPOSITORY
from test_extraction import draw_images, run

from dact.datamodules import processes, worker_errors
from dact.datamodules.collate import VQADataset
from dact.datamodules.loaders import dead_workers_in_one_line
from dact.datamodules.worker_errors import what_is_short
from dact.errors import UserError
from dact.extraction import images as pictures

PARENT = os.getpid()
#: What PyTorch and Python say.
MEMORY = RuntimeError(
    "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"
)
FILES = OSError(errno.EMFILE, "Too many open files")
SHM, ULIMIT = r"/dev/shm.*give {}=0", r"`ulimit -n` allows \d+; .*give {}=0"


class Unsendable(torch.Tensor):
    """Fails when a worker sends it."""

    error = MEMORY

    def __reduce_ex__(self, protocol):
        if os.getpid() != PARENT:
            raise self.error
        return super().__reduce_ex__(protocol)


shortages = pytest.mark.parametrize(("error", "said"), [(MEMORY, SHM), (FILES, ULIMIT)])
#: Found in a worker's own thread, where nobody hears an exception.
UNSENT = pytest.mark.faults(
    "batches that worker processes cannot send",
    tried="no shared memory, no open file left; in training, evaluation and extraction; 64 MB and "
    "less of /dev/shm, 40 to 60 open files",
    happened="one line within seconds names /dev/shm or ulimit -n, and the option",
)


@UNSENT
@shortages
@pytest.mark.parametrize("loader", ["train", "predict"])
def test_what_cannot_be_sent_ends_in_one_line(tmp_path, monkeypatch, error, said, loader):
    stage = {"train": "fit", "val": "validate"}.get(loader, loader)
    module = ready(write_clevr(tmp_path / "clevr"), stage, num_workers=1, split="val")
    whole = VQADataset.__getitems__

    def unsendable(dataset, indices):
        batch = whole(dataset, indices)
        return batch._replace(features=batch.features.as_subclass(Unsendable))

    monkeypatch.setattr(VQADataset, "__getitems__", unsendable)
    monkeypatch.setattr(Unsendable, "error", error)
    with pytest.raises(UserError, match=said.format(r"data\.num_workers")) as raised:
        list(getattr(module, f"{loader}_dataloader")())
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@UNSENT
@shortages
def test_images_that_cannot_be_sent_end_extraction_in_one_line(tmp_path, monkeypatch, error, said):
    whole = pictures.to_tensor
    monkeypatch.setattr(pictures, "to_tensor", lambda *given: whole(*given).as_subclass(Unsendable))
    monkeypatch.setattr(Unsendable, "error", error)
    images = draw_images(tmp_path / "images", 5)
    with pytest.raises(UserError, match=said.format("num_workers")) as raised:
        run(images, tmp_path / "f.hdf5", num_workers=1)
    assert "data." not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MEMORY, SHM),
        (OSError(errno.ENOSPC, "No space left on device"), SHM),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It"), SHM),
        (FILES, ULIMIT),
        (RuntimeError("Too many open files. Communication with the workers is no"), ULIMIT),
        (RuntimeError("unable to open shared memory object </t>: Too many open files"), ULIMIT),
        (RuntimeError("received 0 items of ancdata"), ULIMIT),
        (RuntimeError("Pin memory thread exited unexpectedly"), ULIMIT),
        (EOFError(), ULIMIT),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), ULIMIT),
    ],
)
def test_what_is_short_is_told_from_what_is_said(error, said):
    assert "\n" not in what_is_short(error, "n")
    with (
        pytest.raises(UserError, match=said.format("n")),
        worker_errors.shortage_in_one_line("n", 1),
    ):
        raise error


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), OSError(errno.EIO, "I/O")])
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as raised, worker_errors.shortage_in_one_line("n", 1):
        raise error
    assert raised.value is error
    with pytest.raises(OSError, match="open files"), worker_errors.shortage_in_one_line("n", 0):
        raise FILES  # without workers it is about something else


def test_a_bus_error_of_a_worker_names_shared_memory():
    with pytest.raises(UserError, match=r"/dev/shm.*ckpt_path=last"), dead_workers_in_one_line():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_without_room_for_a_pool_its_jobs_are_done_here(monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(processes, "ProcessPoolExecutor", refuse)
    with processes.processes(4) as submit:
        assert submit(divmod, 7, 2)() == (3, 1)


def test_a_pool_that_cannot_be_started_is_one_line(monkeypatch):
    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, *_):
            raise FILES

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    with (
        pytest.raises(UserError, match=r"4 worker processes cannot be started .*ulimit -n"),
        processes.processes(4) as submit,
    ):
        submit(divmod, 7, 2)


def unshared(size: str) -> list[str]:
    """The start of a command whose /dev/shm has only `size`; skips where that is refused."""
    command = ["unshare", "-rm", "sh", "-c"]
    mount = f"mount -t tmpfs -o size={size} none /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*command, mount], check=False).returncode:
        pytest.skip("needs the right to mount a /dev/shm of its own")
    return [*command, f'{mount} && exec "$@"', "sh"]


@pytest.mark.slow
@UNSENT
@pytest.mark.parametrize("short", ["40k", "300k", 40])
@pytest.mark.parametrize("trainer", ["cpu", "ddp_cpu"])
def test_a_machine_without_room_ends_a_training_in_one_line(tmp_path: Path, short, trainer):
    root = write_clevr(tmp_path / "clevr")
    for split in ("train", "val"):  # a batch of which does not fit
        write_grid(root, split, np.zeros((7, 64, 14, 14), np.float32))
    command = [] if isinstance(short, int) else unshared(short)
    command += [sys.executable, str(REPOSITORY / "run.py"), "data=clevr", f"data.root={root}"]
    command += ["model=mac", "model.dim=8", "model.max_steps=2", "data.num_workers=2"]
    command += ["trainer.max_epochs=1", f"trainer={trainer}", f"hydra.run.dir={tmp_path / 'run'}"]

    def limit() -> None:
        if isinstance(short, int):
            resource.setrlimit(resource.RLIMIT_NOFILE, (short, short))

    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=limit, timeout=300
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert ("ulimit -n" if isinstance(short, int) else "/dev/shm") in last
