"""From rendered pictures to a report, with the commands of the README."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

DATA = os.environ.get("DACT_CLEVR_DIR")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not DATA,
        reason="set DACT_CLEVR_DIR to a folder with rendered/ made by the official generator",
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The rendered pictures and their questions, in a folder that can be written."""
    folder = tmp_path_factory.mktemp("pictures") / "root"
    folder.mkdir()
    for name in ("images", "questions", "scenes"):
        (folder / name).symlink_to(Path(DATA).resolve() / "rendered" / name)
    return folder


def python(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_extract_train_report_and_ask(root, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch", reason="extra `backbone` is not installed")
    where = f"data.root={root}"
    scripts = REPOSITORY / "scripts"
    python(
        scripts / "extract_features.py",
        "data=clevr",
        where,
        "backbone=efficientnet_lite0",
        cwd=tmp_path,
    )
    trained = python(
        REPOSITORY / "run.py", "experiment=few_images", where, "trainer.max_epochs=1", cwd=tmp_path
    )
    (checkpoint,) = (tmp_path / "logs" / "fit").glob("*/checkpoints/last.ckpt")
    python(scripts / "report.py", "--checkpoint", checkpoint, cwd=tmp_path)
    page = (checkpoint.parents[1] / "report" / "report.html").read_text()
    accuracy = float(page.partition("%</b>accuracy")[0].rpartition("<b>")[2])
    assert f"{accuracy:.1f} %" in trained
    assert accuracy > 15, "no more than answers drawn at random"
    assert page.count("<article") == 20
    (question, *_) = json.loads((root / "questions" / "CLEVR_val_questions.json").read_text())[
        "questions"
    ]
    answer = python(
        scripts / "ask.py",
        "--checkpoint",
        checkpoint,
        "--question",
        question["question"],
        "--image",
        root / "images" / "val" / question["image_filename"],
        cwd=tmp_path,
    )
    assert "steps)" in answer.splitlines()[0]
