"""Features that meet were made by the same backbone, or are refused with both named."""

import json

import h5py
import numpy as np
import pytest
from clevr_files import ready, write_clevr, write_grid
from conftest import TINY, Program

from dact import checkpoint, checkpoint_checks
from dact.datamodules.provenance import describe, differences, has_random_weights, read_backbone
from dact.errors import UserError
from dact.runs.explain import report_of_checkpoint

A = {
    "name": "a",
    "model": "resnet18",
    "layer": "layer3",
    "weights": "W",
    "size": [64, 64],
    "fingerprint": "aaaaaaaaaaaa",
}
OTHER_BACKBONE = pytest.mark.faults(
    "features of another backbone",
    tried="other weights, layers, sizes or grids between splits, and against a checkpoint",
    happened="one line that names both",
)


def write_features(root, split, made_by, shape=(5, 3, 2)):
    path = write_grid(root, split, np.ones((7, *shape), np.float32))
    if made_by is not None:
        with h5py.File(path, "r+") as file:
            text = made_by if isinstance(made_by, str) else json.dumps(made_by)
            file["data"].attrs["backbone"] = text
    return path


@pytest.fixture
def root(tmp_path):
    return write_clevr(tmp_path / "clevr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fingerprint": "b"},
            r"a \(layer layer3, fingerprint a+\), but those of val by a \(layer la",
        ),
        ({"layer": "layer2"}, r"layer layer2, fingerprint a+\): make the features of all splits"),
        ({"size": [32, 32]}, r"size \[64, 64\]\), but .* size \[32, 32\]\)"),
        ({"fingerprint": "b", "weights": None}, r"fingerprint b, random weights\)"),
        ({"tokens": True}, None),
        ({"name": "b", "model": "package:b", "weights": "moved.pth"}, None),
    ],
)
@OTHER_BACKBONE
def test_splits_of_another_backbone_are_refused(root, change, message):
    write_features(root, "train", A)
    write_features(root, "val", A | change)
    if message is None:
        assert ready(root, features="grid").backbone == A
        return
    with pytest.raises(UserError, match=message) as raised:
        ready(root, features="grid")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("made_by", [(A, None), (None, A), (None, None), ("old", None)])
def test_files_that_do_not_say_are_taken_and_training_s_is_noted(root, made_by):
    for split, one in zip(("train", "val"), made_by, strict=True):
        write_features(root, split, one)
    known = {"name": "old"} if made_by[0] == "old" else made_by[0]
    module = ready(root, features="grid")
    assert module.backbone == known
    assert module.store.made_by == {**(known or {}), "grid_size": [3, 2]}


@OTHER_BACKBONE
def test_grids_of_another_size_are_refused(root):
    write_features(root, "train", None)
    write_features(root, "val", None, shape=(5, 2, 3))
    with pytest.raises(UserError, match=r"\(grid size \[3, 2\]\), but .*\(grid size \[2, 3\]\)"):
        ready(root, features="grid")


def test_what_differs_and_what_does_not():
    assert differences(A, A | {"name": "b", "weights": None, "model": "x"}) == []
    assert differences(A, A | {"white": 4095.0}) == ["white"]
    assert differences(A, {"name": "b"}) == ["name"]
    assert differences({"name": "a"}, {"fingerprint": "b"}) == []
    assert describe(A) == "a (layer layer3, fingerprint aaaaaaaaaaaa)"
    assert describe({}) == "an unnamed backbone"


def test_whose_weights_are_random():
    assert has_random_weights(A | {"weights": None})
    assert not has_random_weights(A)
    assert not has_random_weights({"model": "package.module:function", "weights": None})
    assert not has_random_weights({})


@pytest.mark.parametrize("attribute", [b"resnet", "resnet", "[1", '"resnet"', "3"])
def test_an_attribute_that_is_no_object_is_a_name(attribute):
    assert set(read_backbone({"backbone": attribute})) == {"name"}
    assert read_backbone({}) is None


@pytest.mark.slow
@OTHER_BACKBONE
def test_a_checkpoint_takes_the_features_of_its_training(configured, root, tmp_path, capsys):
    other = A | {"fingerprint": "b", "weights": None}
    for split in ("train", "val"):
        write_features(root, split, A)
    options = "data=clevr", f"data.root={root}", "data.features=grid", *TINY
    program = Program(tmp_path, *options)
    (tmp_path / "evaluated").mkdir()
    evaluated = Program(tmp_path / "evaluated", *(o for o in options if "model." not in o))
    mac = program("model=mac", "trainer.max_epochs=1")
    entry = mac.checkpoint["dact"]
    assert (entry["backbone"], entry["features"]) == (A, A | {"grid_size": [3, 2]})
    assert "random weights" not in capsys.readouterr().out
    resume = ("model=mac", "trainer.max_epochs=2", f"ckpt_path={mac.last}")
    evaluate = (f"ckpt_path={mac.last}", "data.split=val")
    for split in ("train", "val"):
        write_features(root, split, other)
    refused = r"was trained on were made by a .*fingerprint a.*, but those of these data by a .*b"
    for run, *typed in (
        (program, *resume),
        (evaluated, "mode=validate", *evaluate),
        (evaluated, "mode=predict", *evaluate),
        (program, "model=dact", f"warm_start={mac.last}"),
    ):
        with pytest.raises(UserError, match=refused):
            run(*typed)
    with pytest.raises(UserError, match=refused):
        report_of_checkpoint(mac.last, tmp_path / "report")
    for split in ("train", "val"):
        write_features(root, split, A | {"name": "renamed"})
    program(*resume)
    evaluated("mode=validate", *evaluate)
    for split in ("train", "val"):
        write_features(root, split, other)
    capsys.readouterr()
    program("model=mac", "trainer.max_epochs=1", "seed=1")
    assert "fingerprint b, random weights): nobody trained it" in capsys.readouterr().out


def test_checkpoints_of_before_are_compared_by_what_they_note(tmp_path):
    known = checkpoint.Description({}, {}, 5, True, [], backbone=A)
    path = tmp_path / "x.ckpt"
    checkpoint_checks.check_features(known, {}, path)
    checkpoint_checks.check_features(known._replace(backbone=None), A, path)
    with pytest.raises(UserError, match=r"x\.ckpt was trained on were made by a"):
        checkpoint_checks.check_features(known, A | {"layer": "layer2"}, path)
    states = known._replace(features={"name": "scene states", "kind": "objects"})
    with pytest.raises(UserError, match=r"kind objects.*kind all"):
        checkpoint_checks.check_features(states, {"name": "scene states", "kind": "all"}, path)
