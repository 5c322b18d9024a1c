"""Mistakes of all kinds: one line that says what to do, and nothing half-written left behind."""

import itertools
import json
import re

import h5py
import numpy as np
import pytest
import torch
from clevr_files import make_questions, make_scene, write_clevr, write_grid, write_questions
from clevr_files import write_scenes as write_scene_file
from conftest import TINY, Program, command, everything_in

from dact import checkpoint, run_folder
from dact.datamodules import CLEVRDataModule
from dact.errors import UserError

ODD_DATA = pytest.mark.faults(
    "data missing, cut short or of another kind",
    tried="folders, files, fields, rows, datasets and types, each by itself",
    happened="one line; nothing left behind",
)
KILLED = pytest.mark.faults(
    "preprocessing that does not come to its end",
    tried="an exception in the middle of a file; leftovers as of a killed process",
    happened="done again; nothing half-written is used",
)
OTHER_CHECKPOINT = pytest.mark.faults(
    "a checkpoint that does not fit",
    tried="missing, damaged, of another width, of other features, edited",
    happened="one line; nothing left behind",
)


class PowerCutError(Exception):
    """Ends a run where no one expects it."""


@pytest.fixture
def root(tmp_path):
    return write_clevr(tmp_path / "clevr")


@pytest.fixture
def clevr(configured, root, tmp_path):
    """run.py on a folder in the layout of CLEVR."""
    return Program(tmp_path, "data=clevr", f"data.root={root}", "data.features=state", *TINY)


@pytest.fixture
def grid(clevr, root):
    """The same with image features."""
    for split, images in (("train", 7), ("val", 5)):
        write_grid(root, split, np.ones((images, 5, 3, 2), np.float32))
    clevr.defaults = (*clevr.defaults, "data.features=grid")
    return clevr


def refusal(program, *typed):
    """The one line that a run ends with, after a look at what it left behind."""
    folder = program.folder / "refused"
    with pytest.raises(UserError) as raised:
        program(*typed, folder=folder)
    run_folder.remove_if_unused(folder)
    assert not folder.exists()
    unfinished = re.compile(r"unfinished|\.tmp|\.part|~")
    assert not [path for path in everything_in(program.folder) if unfinished.search(path)]
    message = str(raised.value)
    assert "\n" not in message
    return message


# Folders and files.


@ODD_DATA
def test_a_missing_root(clevr, tmp_path):
    message = refusal(clevr, f"data.root={tmp_path / 'no where'}")
    assert f"data.root={tmp_path / 'no where'}: no such folder" in message
    assert not (tmp_path / "no where").exists()


@ODD_DATA
def test_a_root_that_is_something_else(clevr, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refusal(clevr, f"data.root={tmp_path / 'empty'}")
    assert "questions/CLEVR_train_questions.json is missing" in message
    assert everything_in(tmp_path / "empty") == []


@ODD_DATA
@pytest.mark.parametrize("name", ["questions/CLEVR_val_questions", "scenes/CLEVR_train_scenes"])
def test_a_missing_file(clevr, root, name):
    (root / f"{name}.json").unlink()
    assert f"{name}.json is missing" in refusal(clevr, "model=mac")


@ODD_DATA
@pytest.mark.parametrize("name", ["questions/CLEVR_val_questions", "scenes/CLEVR_train_scenes"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_truncated_file(clevr, root, name, share):
    path = root / f"{name}.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert f"{name}.json" in refusal(clevr, "model=mac")


@ODD_DATA
def test_missing_features(grid, root):
    (root / "features" / "val_features.hdf5").unlink()
    message = refusal(grid, "model=mac")
    assert "val_features.hdf5 is missing" in message
    assert "data.features=state" in message


@ODD_DATA
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_features(grid, root, share):
    path = root / "features" / "train_features.hdf5"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "train_features.hdf5 is no whole HDF5 file" in refusal(grid, "model=mac")


@ODD_DATA
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((7, 6), np.float32), "shape"),
        (np.ones((7, 9, 5), np.float32), "9 tokens of 5 features"),
        (np.ones((7, 5, 3, 2), np.float64), "float"),
        (np.ones((7, 5, 3, 2), np.int32), "int32"),
    ],
)
def test_features_of_another_kind(grid, root, values, said):
    write_grid(root, "train", values)
    message = refusal(grid, "model=mac")
    assert "train_features.hdf5" in message
    assert said in message


@ODD_DATA
def test_features_without_their_dataset(grid, root):
    path = root / "features" / "val_features.hdf5"
    path.unlink()
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((5, 5, 3), np.int8)
        file["more"] = np.ones((5, 5, 3, 2), np.int8)
    assert "val_features.hdf5 has no dataset 'data'" in refusal(grid, "model=mac")


def test_features_that_are_no_numbers(grid, root):
    values = np.ones((5, 5, 3, 2), np.float32)
    values[3, 0, 0, 0] = np.nan
    write_grid(root, "val", values)
    message = refuse_late(grid, "model=mac")
    assert re.search(r"val_features\.hdf5: row 3 holds NaN", message)


def refuse_late(program, *typed):
    """A mistake that shows only when the batch is read; the checkpoints of before may stay."""
    with pytest.raises(UserError) as raised:
        program(*typed)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# What is in the files.


@ODD_DATA
def test_a_question_about_a_missing_row(grid, root):
    entries = make_questions("val", 5, 3)
    entries[7]["image_index"] = 99
    write_questions(root, "val", entries)
    message = refusal(grid, "model=mac")
    assert "99" in message
    assert "val_features.hdf5" in message


@ODD_DATA
def test_a_question_about_a_missing_scene(clevr, root):
    entries = make_questions("train", 7, 5)
    entries[-1]["image_index"] = 7
    write_questions(root, "train", entries)
    message = refusal(clevr, "model=mac")
    assert re.search(r"\b7\b", message)
    assert "train" in message


@ODD_DATA
@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split(clevr, root, split):
    write_questions(root, split, [])
    assert f"CLEVR_{split}_questions.json" in refusal(clevr, "model=mac")


@ODD_DATA
def test_a_training_split_without_answers(clevr, root):
    entries = make_questions("train", 7, 5)
    for entry in entries:
        del entry["answer"]
    write_questions(root, "train", entries)
    assert "CLEVR_train_questions.json" in refusal(clevr, "model=mac")


@ODD_DATA
@pytest.mark.parametrize("field", ["question", "image_index", "question_index"])
def test_a_question_without_a_field(clevr, root, field):
    entries = make_questions("train", 7, 5)
    del entries[11][field]
    write_questions(root, "train", entries)
    message = refusal(clevr, "model=mac")
    assert field in message
    assert "11" in message


@ODD_DATA
def test_a_scene_without_a_field(clevr, root):
    scenes = [make_scene(index, 1 + index % 4) for index in range(7)]
    del scenes[3]["objects"][0]["3d_coords"]
    write_scene_file(root, "train", scenes)
    message = refusal(clevr, "model=mac")
    assert "3d_coords" in message
    assert "CLEVR_train_scenes.json" in message


def test_an_answer_that_training_never_showed_is_wrong_and_reported(clevr, root, caplog):
    entries = make_questions("val", 5, 3)
    entries[4]["answer"] = "perhaps"
    write_questions(root, "val", entries)
    with caplog.at_level("INFO"):
        mac = clevr("model=mac")
    assert "1 answers of val never occur in train: scored as wrong" in caplog.text
    typed = ("data=clevr", f"data.root={root}", "data.num_workers=0", "trainer=cpu")
    lines = Program(clevr.folder, *typed)("mode=predict", f"ckpt_path={mac.last}").predictions
    assert lines[4]["answer"] == "perhaps"
    right = [line["prediction"] == line["answer"] for line in lines]
    assert mac.value == pytest.approx(sum(right) / 15)


@KILLED
def test_interrupted_preprocessing_is_done_again(clevr, root, monkeypatch):
    cache = root / ".dact"
    proper = CLEVRDataModule.read_file

    def interrupted(path, progress):
        yield from itertools.islice(proper(path, progress), 20)
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr(CLEVRDataModule, "read_file", staticmethod(interrupted))
        with pytest.raises(PowerCutError):
            clevr("model=mac")
    assert not (cache / "questions_train.h5").exists()
    assert not (cache / "vocabulary.json").exists()
    whole = clevr("model=mac")
    assert not [name for name in everything_in(cache) if "unfinished" in name]
    assert len(checkpoint.describe(whole.checkpoint).vocabulary["answers"]) == 4
    assert whole.checkpoint["global_step"] == 3


@KILLED
def test_leftovers_of_a_killed_process_are_not_used(clevr, root):
    cache = root / ".dact"
    cache.mkdir()
    (cache / "questions_train.h5.unfinished").write_bytes(b"half")
    (cache / "vocabulary.json").write_text('{"words": {"What"')
    whole = clevr("model=mac")
    assert json.loads((cache / "vocabulary.json").read_text())["lowercase"] is False
    assert "questions_train.h5.unfinished" not in everything_in(cache)
    assert whole.checkpoint["global_step"] == 3


# Options and checkpoints.


@pytest.mark.parametrize("typed", ["ponder=-5e-3", "ponder=nan", "ponder.cost=-1", "ponder=-inf"])
def test_a_ponder_cost_below_zero_or_none_at_all(clevr, root, typed):
    assert "ponder.cost=" in refusal(clevr, typed)
    assert not (root / ".dact").exists()


def test_a_ponder_cost_for_a_network_without_one(clevr, root):
    assert "has no ponder cost" in refusal(clevr, "model=mac", "ponder=5e-3")
    assert clevr("model=mac", "ponder=0").value is not None


@OTHER_CHECKPOINT
def test_a_missing_checkpoint(clevr):
    for mode in ("fit", "validate", "predict"):
        message = refusal(clevr, f"mode={mode}", "ckpt_path=no where/x.ckpt")
        assert message == "ckpt_path=no where/x.ckpt does not exist or is not a file"
        assert "ckpt_path=last finds no checkpoint" in refusal(
            clevr, f"mode={mode}", "ckpt_path=last"
        )


@OTHER_CHECKPOINT
def test_a_damaged_checkpoint(trained, evaluate, tmp_path):
    path = tmp_path / "short.ckpt"
    path.write_bytes(trained.dact.last.read_bytes()[:5000])
    assert f"checkpoint {path}" in refusal(evaluate, "mode=validate", f"ckpt_path={path}")


@OTHER_CHECKPOINT
def test_a_checkpoint_of_another_width(trained, program):
    message = refusal(program, "model=dact", "model.dim=10", f"ckpt_path={trained.dact.last}")
    assert re.search(r"it differs: \S+ has shape \(.*\) instead of \(.*\)", message)


@OTHER_CHECKPOINT
def test_a_checkpoint_of_other_features(trained, configured, root, tmp_path):
    values = np.ones((5, 5, 3, 2), np.float32)
    write_grid(root, "val", values)
    typed = ("data=clevr", f"data.root={root}", "data.num_workers=0", "data.features=grid")
    program = Program(tmp_path, *typed, "trainer=cpu")
    message = refusal(program, "mode=validate", f"ckpt_path={trained.dact.last}")
    assert "was trained on other features" in message


@OTHER_CHECKPOINT
def test_a_checkpoint_whose_description_was_changed(trained, evaluate, tmp_path):
    saved = trained.dact.checkpoint
    saved[checkpoint.ENTRY]["config"]["model"]["dim"] = 12
    torch.save(saved, tmp_path / "wide.ckpt")
    message = refusal(evaluate, "mode=predict", f"ckpt_path={tmp_path / 'wide.ckpt'}")
    assert "does not fit this network" in message


@OTHER_CHECKPOINT
def test_a_split_that_is_not_there(trained, evaluate):
    typed = ("mode=predict", f"ckpt_path={trained.dact.last}", "data.split=tset")
    message = refusal(evaluate, *typed)
    assert "CLEVR_tset_questions.json is missing" in message
    assert "train, val" in message


# As real commands.


def one_line(done, folder):
    """Standard error of a command that failed, and left nothing."""
    assert done.returncode == 1
    assert all("never occur in train" in note for note in done.stdout.splitlines())
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not [name for name in everything_in(folder) if name.count("/") > 1]
    return line


@pytest.mark.slow
def test_a_missing_root_as_typed(tmp_path):
    done = command("data=clevr", "data.root=no where", cwd=tmp_path)
    assert "data.root=no where: no such folder" in one_line(done, tmp_path)


def test_a_negative_cost_as_typed(tmp_path):
    done = command("ponder=-1e-3", cwd=tmp_path)
    assert "ponder.cost=-0.001 is not possible" in one_line(done, tmp_path)


@pytest.mark.slow
def test_a_checkpoint_of_another_width_as_typed(trained, tmp_path):
    typed = (f"data.root={trained.root}", f"data.cache_dir={trained.cache}", "model.dim=10")
    done = command(*typed, f"ckpt_path={trained.dact.last}", cwd=tmp_path)
    assert "does not fit this network" in one_line(done, tmp_path)


def test_an_unknown_option_as_typed(tmp_path):
    done = command("model.dimm=8", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[-1] == "there is no option model.dimm: did you mean model.dim?"
    assert everything_in(tmp_path) == []
