"""A disk without room ends a program in one line, and leaves nothing that looks whole."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from dact.datamodules import gqa_mini
from dact.datamodules.packed_file import ArrayWriter
from dact.errors import UserError

#: Bytes that a file may have before the system refuses more, as a full disk does.
LIMIT = 4096


FULL = pytest.mark.faults(
    "disk full",
    tried="before extraction and before packing; while packing",
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


@FULL
def test_a_packed_file_is_not_begun_without_room_for_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=15))
    with (
        pytest.raises(UserError, match=r"packed\.h5 needs 0\.0 GB, but 0\.0 GB are free"),
        ArrayWriter(tmp_path / "packed.h5", {"numbers": "int32"}) as writer,
    ):
        writer.append("numbers", [3, 1, 4, 1])
    assert list(tmp_path.iterdir()) == []
