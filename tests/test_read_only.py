"""Data on a file system that takes nothing: they are used, and what is made of them goes elsewhere.

Whoever runs these tests may write anywhere, so the refusals of such a file system are raised by a
hook that sees whatever Python opens, makes, renames and removes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY, json_lines
from test_extraction import draw_images

pytestmark = pytest.mark.slow

#: `sitecustomize` of the processes that are started here.
REFUSE = """
import errno, os, sys

CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

def refuse(event, arguments):
    opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if not opens and event not in CHANGES:
        return
    for path in arguments[:2]:
        if isinstance(path, (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(path))
            if path == {place!r} or path.startswith({place!r} + os.sep):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

sys.addaudithook(refuse)
"""


@pytest.fixture
def mounted(mini_root, tmp_path):
    """A folder that takes nothing, with a clevr_mini in it."""
    place = tmp_path / "mounted"
    shutil.copytree(mini_root, place / "data")
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(REFUSE.format(place=str(place)))
    return place


def call(program, *typed, cwd):
    environment = {"PYTHONPATH": str(cwd / "hook"), "XDG_CACHE_HOME": str(cwd / "home")}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / program), *typed],
        cwd=cwd,
        env=os.environ | environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def state_of(folder):
    """Every path below, with its size and its time of change."""
    found = [folder, *folder.rglob("*")]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


READ_ONLY = pytest.mark.faults(
    "data on a read-only file system",
    tried="EROFS for whatever changes the data's folder: preprocessing, training from a MAC, "
    "prediction; extraction",
    happened="caches and the MAC go to the user's cache; one line where features should go there",
)


@READ_ONLY
@pytest.mark.parametrize("data", [("data=clevr_mini",), ("data=clevr", "data.features=state")])
def test_data_that_take_nothing_are_trained_and_predicted_on(mounted, tmp_path, data):
    before = state_of(mounted)
    typed = (*data, f"data.root={mounted / 'data'}")
    said = ""
    for program, *rest in (
        ("scripts/preprocess.py",),
        ("run.py", "model=mac", *TINY),
        ("run.py", "model=dact", *TINY),
        ("run.py", "mode=predict", "ckpt_path=last", "trainer=cpu", "model=dact"),
    ):
        done = call(program, *typed, *rest, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    (cache,) = (tmp_path / "home" / "dact").iterdir()
    assert f"starting from the MAC in {cache / 'warm_start'}" in said
    (lines,) = tmp_path.glob("logs/predict/*/predictions.jsonl")
    assert len(json_lines(lines)) == 32
    assert state_of(mounted) == before


@READ_ONLY
def test_features_cannot_go_there(mounted, tmp_path):
    draw_images(mounted / "data" / "images" / "val", 2)
    before = state_of(mounted)
    typed = ("backbone.model=small_backbone:Small", "backbone.layer=features")
    typed += (
        "backbone.weights=null",
        "backbone.size=[29,43]",
        "num_workers=0",
        f"data.root={mounted / 'data'}",
    )
    (tmp_path / "hook" / "small_backbone.py").symlink_to(
        Path(__file__).with_name("small_backbone.py")
    )
    done = call("scripts/extract_features.py", *typed, cwd=tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: {mounted / 'data'}")
    assert "cannot be written: Read-only file system; give another place with" in line
    assert "Traceback" not in done.stderr
    assert state_of(mounted) == before
