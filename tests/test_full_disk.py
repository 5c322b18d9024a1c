"""A disk without room ends a program in one line, and leaves nothing that looks whole."""

import errno
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from dact.datamodules import gqa_mini
from dact.datamodules.packed_file import ArrayWriter
from dact.errors import UserError
from dact.one_line import ends_in_one_line

#: Bytes that a file may have before the system refuses more, as a full disk does.
LIMIT = 4096


FULL = pytest.mark.faults(
    "disk full",
    tried="too little room told before extraction and before packing; no file beyond 4 KB while "
    "packing",
    happened="one line; nothing that looks whole",
)


@FULL
def test_a_full_disk_ends_preprocessing_in_one_line(tmp_path: Path):
    root, cache = tmp_path / "gqa", tmp_path / "cache"
    images = {"train": 23, "val": 3, "test": 2}
    gqa_mini.generate(
        root, images=images, questions_per_image=29, feature_dim=17, shards=2, progress=False
    )

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

    command = [sys.executable, str(REPOSITORY / "scripts/preprocess.py"), "data=gqa"]
    command += [f"data.root={root}", f"data.cache_dir={cache}", "data.val_split=val_balanced"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, preexec_fn=little_room
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "File too large: make room and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in cache.rglob("*") if path.suffix == ".h5"] == []


@pytest.mark.faults(
    "disk full while something else than a checkpoint is written",
    tried="ENOSPC in a fit with and without checkpoints, in a sweep, in an evaluation",
    happened="one line says how to go on: with ckpt_path=last, or by the same command",
)
@pytest.mark.parametrize(
    ("mode", "run", "begun", "again"),
    [
        ("fit", RunMode.RUN, True, "go on with ckpt_path=last"),
        ("fit", RunMode.RUN, False, "run the same command again"),
        ("fit", RunMode.MULTIRUN, True, "run the same command again"),
        ("validate", RunMode.RUN, True, "run the same command again"),
    ],
)
def test_a_full_disk_says_how_to_go_on(tmp_path, monkeypatch, capsys, mode, run, begun, again):
    @ends_in_one_line
    def task(cfg):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.csv")

    if begun:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "epoch00-step000003.ckpt").touch()
    known = SimpleNamespace(mode=run, runtime=SimpleNamespace(output_dir=str(tmp_path), cwd="."))
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: known))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(OSError if run == RunMode.MULTIRUN else SystemExit) as ended:
        task(OmegaConf.create({"mode": mode}))
    said = f"{capsys.readouterr().err}{ended.value}"
    assert f"error: metrics.csv: No space left on device: make room and {again}" in said


@FULL
def test_a_packed_file_is_not_begun_without_room_for_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=15))
    with (
        pytest.raises(UserError, match=r"packed\.h5 needs 0\.0 GB, but 0\.0 GB are free"),
        ArrayWriter(tmp_path / "packed.h5", {"numbers": "int32"}) as writer,
    ):
        writer.append("numbers", [3, 1, 4, 1])
    assert list(tmp_path.iterdir()) == []
