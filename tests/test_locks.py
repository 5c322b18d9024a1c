"""Locks of our own and HDF5's: on disks that have none, held by others, or left by the dead."""

import errno
import fcntl
import multiprocessing
import os
import socket
import threading

import h5py
import numpy as np
import pytest
from filelock import FileLock

from dact import locks, run_folder, warm_start
from dact.datamodules.features import GridFeatures
from dact.datamodules.packed_file import map_arrays
from dact.downloads.download import _locked
from dact.errors import UserError
from dact.extraction.feature_file import FeatureFile
from dact.locks import Lock, waiting_for
from dact.runs import start

REFUSALS = [errno.ENOLCK, errno.EOPNOTSUPP]
GONE = "4242\nnode17\n1\n"


@pytest.fixture
def flock_says(monkeypatch):
    """Make the system's lock fail with an error number."""

    def refuse(number):
        def flock(fd, operation):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return refuse


def held_run_folder(folder):
    with run_folder.taken(folder):
        pass


def held_cache(folder):
    with waiting_for(folder / "prepare.lock", "data.cache_dir=PATH"):
        pass


def held_features(folder):
    with FeatureFile(folder / "f.hdf5", ["a"], (1, 1, 1), np.dtype("float32"), {}):
        pass


def held_download(folder):
    with _locked(folder / "downloads"):
        pass


def held_training(folder):
    with start._only_trainer(folder):
        pass


PLACES = {
    "hydra.run.dir": held_run_folder,
    "data.cache_dir": held_cache,
    "output_dir": held_features,
    "data.root": held_download,
    "data.cache_dir=PATH$": held_training,
}
every_place = pytest.mark.parametrize(("option", "hold"), PLACES.items(), ids=PLACES)


@pytest.mark.faults(
    "a disk that refuses locks",
    tried="ENOLCK and EOPNOTSUPP in the run's folder, the cache, features, downloads, warm start",
    happened="one line names the file and the option for another place",
)
@pytest.mark.parametrize("number", REFUSALS)
@every_place
def test_a_disk_that_refuses_locks_is_named_with_the_option_for_another(
    tmp_path, flock_says, number, option, hold
):
    flock_says(number)
    with pytest.raises(UserError, match=rf"this disk refuses locks .*give .* with {option}"):
        hold(tmp_path)
    assert not list(tmp_path.rglob("*" + locks._EXISTENCE))


@pytest.mark.faults(
    "a disk that knows no locks, with lock files of other runs",
    tried="empty ones, and those of machines that are gone, in the same places",
    happened="they block nothing",
)
@every_place
def test_where_locks_are_unknown_leftovers_of_others_are_no_locks(
    tmp_path, flock_says, option, hold
):
    """Files that `flock` had locked, and files of old versions of machines that are gone."""
    hold(tmp_path)
    left = [path for path in tmp_path.rglob("*lock*") if path.is_file()]
    for number, path in enumerate(left):
        path.write_text(GONE if number % 2 else "")
    flock_says(errno.ENOSYS)
    hold(tmp_path)
    assert not list(tmp_path.rglob("*" + locks._EXISTENCE))


def test_a_lock_by_existence_excludes_and_names_who_holds_it(tmp_path, flock_says):
    flock_says(errno.ENOSYS)
    (tmp_path / ".lock.held").write_text(GONE)
    with pytest.raises(UserError, match=r"another run .*process 4242 on node17 since .* delete"):
        held_run_folder(tmp_path)
    (tmp_path / ".lock.held").unlink()
    with run_folder.taken(tmp_path), pytest.raises(UserError, match="another run is at work"):
        held_run_folder(tmp_path)
    held_run_folder(tmp_path)


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path, flock_says):
    flock_says(errno.ENOSYS)
    dead = multiprocessing.get_context("spawn").Process()
    dead.start()
    dead.join()
    held = tmp_path / ".lock.held"
    held.write_text(f"{dead.pid}\n{socket.gethostname()}\n")
    with run_folder.taken(tmp_path):
        assert held.read_text().startswith(f"{os.getpid()}\n")


@pytest.mark.parametrize("number", [None, errno.ENOSYS])
def test_a_wait_says_for_which_file_and_since_when_and_says_it_again(
    tmp_path, flock_says, number, monkeypatch, capsys
):
    if number:
        flock_says(number)
    monkeypatch.setattr(locks, "_FIRST", 0.01)
    monkeypatch.setattr(locks, "_AGAIN", 0.01)
    path = tmp_path / "prepare.lock"
    lock, said_twice = Lock(path, "data.cache_dir=PATH"), threading.Event()
    assert lock.acquire()
    tell, told = locks.tell_of_wait, []

    def told_of(waiting):
        tell(waiting)
        told.append(waiting.path)
        if len(told) == 2:
            said_twice.set()
            lock.release()

    monkeypatch.setattr(locks, "tell_of_wait", told_of)
    with waiting_for(path, "data.cache_dir=PATH"):
        assert said_twice.is_set()
        assert not Lock(path, "data.cache_dir=PATH").acquire()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(told) >= 2
    assert lines[0].startswith("waiting since ")
    assert f"for {path} (held by process {os.getpid()} on {socket.gethostname()}" in lines[0]
    assert Lock(path, "data.cache_dir=PATH").acquire()


def test_who_needs_not_wait_says_nothing(tmp_path, capsys):
    held_cache(tmp_path)
    assert capsys.readouterr() == ("", "")


def test_other_programs_with_the_same_lock_are_waited_for(tmp_path):
    """Of a version that leaves the file empty."""
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match=r"\.lock is locked"):
        held_run_folder(tmp_path)


def test_a_place_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "prepare.lock").mkdir()
    with pytest.raises(UserError, match=r"prepare\.lock cannot be locked: .*data\.cache_dir=PATH"):
        held_cache(tmp_path)


@pytest.mark.parametrize("number", [*REFUSALS, errno.ENOSYS, None])
def test_an_unused_folder_goes_where_locks_are_refused_and_stays_while_it_is_held(
    tmp_path, flock_says, number
):
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "config.yaml").write_text("")
    (folder / ".lock").write_text("")
    if number:
        flock_says(number)
    if number not in REFUSALS:
        with run_folder.taken(folder):
            run_folder.remove_if_unused(folder)
            assert folder.exists()
    run_folder.remove_if_unused(folder)
    assert not folder.exists()


def test_a_kept_network_is_offered_under_a_lock_that_says_what_is_wrong(tmp_path, flock_says):
    flock_says(errno.ENOLCK)
    with pytest.raises(UserError, match="refuses locks"):
        warm_start.offer(tmp_path / "place", {"state_dict": {}})


@pytest.mark.parametrize("opens", [GridFeatures, map_arrays], ids=["features", "packed"])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EAGAIN])
def test_a_lock_of_hdf5_is_named_as_such(tmp_path, monkeypatch, opens, number):
    """What HDF5 says where it cannot lock; the file itself may be as it should."""
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((2, 2, 2, 2), np.float32)

    def refuse(*_, **__):
        raise OSError(
            number, f"unable to open (unable to lock file, errno = {number}, error message = '')"
        )

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UserError, match=r"f\.hdf5 is locked .* HDF5_USE_FILE_LOCKING=FALSE"):
        opens(path)


def test_a_writer_of_the_features_is_named(tmp_path):
    """The lock that HDF5 takes of a file that it writes, here by another program."""
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros((2, 2, 2, 2), np.float32)
    with path.open("r+b") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is locked by a program that writes it"):
            GridFeatures(path)
