"""The background row of scene states: where it is, and that checkpoints of before do without it."""

import json

import numpy as np
import pytest
from clevr_files import make_scene
from conftest import compose
from omegaconf import OmegaConf

from dact import checkpoint, checkpoint_file, config
from dact.datamodules import build_datamodule
from dact.datamodules.features import ObjectStates
from dact.datamodules.scene_states import FEATURE_DIM, is_current, pack_scene_states, scene_state
from dact.errors import UserError
from dact.explain.knowledge import of_scene
from dact.explain.page import frames


def of_before(checkpoint_path, path):
    """The checkpoint as it would have been written before there was a background row."""
    saved = checkpoint.load(checkpoint_path)
    del saved[checkpoint.ENTRY]["config"]["data"]["background"]
    saved[checkpoint.ENTRY]["features"]["kind"] = "objects"
    checkpoint_file.write(path, saved)
    return path


def test_the_row_comes_last_and_is_the_same_in_every_scene(tmp_path):
    path, scenes = tmp_path / "scenes.json", [make_scene(index, 1 + index) for index in range(3)]
    path.write_text(json.dumps({"scenes": scenes}))
    pack_scene_states(path, tmp_path / "s.h5", background=True)
    store = ObjectStates(tmp_path / "s.h5")
    features, num_cells = store.read(np.arange(3))
    assert store.made_by["kind"] == "objects, then the background"
    assert num_cells.tolist() == [2, 3, 4]
    for scene, rows in zip(scenes, features, strict=True):
        objects = scene_state(scene, "scene")
        np.testing.assert_array_equal(rows[: len(objects)], objects)
        np.testing.assert_array_equal(rows[len(objects)], np.zeros(FEATURE_DIM))
        assert objects.any(1).all(), "an object looks like the background"


def test_packed_scenes_say_which_kind_they_are(tmp_path):
    path, packed = tmp_path / "scenes.json", tmp_path / "s.h5"
    path.write_text(json.dumps({"scenes": [make_scene(0, 2)]}))
    pack_scene_states(path, packed, "stamp")
    assert is_current(packed, "stamp")
    assert not is_current(packed, "stamp", background=True)
    assert ObjectStates(packed).made_by["kind"] == "objects"


def test_both_kinds_are_served_from_one_cache_and_are_different_data(mini_root, tmp_path):
    cells, fingerprints = [], set()
    for background in (True, False, True):
        data = build_datamodule(
            "clevr_mini",
            root=mini_root,
            cache_dir=tmp_path,
            features="state",
            background=background,
            progress=False,
        )
        data.prepare_data("fit")
        data.setup("fit")
        batch = next(iter(data.val_dataloader()))
        cells.append(batch.num_cells)
        fingerprints.add(data.fingerprint)
    assert (cells[0] == cells[1] + 1).all()
    assert (cells[0] == cells[2]).all()
    assert len(fingerprints) == 2


def test_the_default_network_sees_it_and_says_so(trained):
    description = checkpoint.describe(checkpoint.load(trained.dact.last))
    assert description.config["data"]["background"] is True
    knowledge = of_scene(description, make_scene(0, 3))
    assert (knowledge.num_cells, len(knowledge.view.boxes)) == (4, 3)
    assert knowledge.view.background


def test_a_checkpoint_of_before_is_asked_about_objects_alone(trained, tmp_path):
    description = checkpoint.describe(checkpoint.load(of_before(trained.dact.last, tmp_path / "x")))
    knowledge = of_scene(description, make_scene(0, 3))
    assert knowledge.num_cells == 3
    assert not knowledge.view.background


@pytest.mark.slow
def test_a_checkpoint_of_before_is_evaluated_on_the_rows_it_was_trained_on(
    trained, evaluate, tmp_path
):
    before = of_before(trained.dact.last, tmp_path / "before.ckpt")
    for typed in ((), ("data=clevr_mini",)):
        evaluate("mode=validate", f"ckpt_path={before}", *typed)
        assert {path.name for path in (tmp_path / "cache").glob("states*")} == {"states_val.h5"}
    with pytest.raises(UserError, match=r"data\.background=True: the checkpoint's is False"):
        evaluate("mode=validate", f"ckpt_path={before}", "data.background=true")


def test_a_fit_from_a_checkpoint_of_before_goes_on_without_it(trained, program, tmp_path, capsys):
    before = of_before(trained.mac.last, tmp_path / "before.ckpt")
    run = program("model=dact", f"warm_start={before}")
    assert "without a background row" in capsys.readouterr().out
    assert checkpoint.describe(run.checkpoint).config["data"]["background"] is False
    with pytest.raises(UserError, match=r"trained with data\.background=False, not True"):
        program("model=dact", f"warm_start={before}", "data.background=true")


def test_it_is_refused_where_there_are_no_scenes(program):
    with pytest.raises(UserError, match=r"data\.background=true is for data\.features=state"):
        program("data=clevr", "data.features=grid", "data.background=true")


def test_attention_on_the_background_gets_no_frame_and_fades_the_objects():
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32)
    (frame,) = frames(np.array([0.2, 0.0, 0.8], np.float32), boxes)
    assert frame == (0, 0, 0.5, 0.5, 0.25)


@pytest.mark.usefixtures("configured")
def test_what_a_checkpoint_of_before_does_not_say_was_not_there():
    """Defaults that came later are not those of its data and network."""
    now = config.resolve(compose("model=dact"))
    saved = OmegaConf.to_container(compose("model=dact"), resolve=True)
    del saved["model"]["step_loss"]
    for name in ("mix", "objects", "max_hops"):
        del saved["data"]["generate"][name]
    evaluated = config.for_evaluation(now, saved, [])
    assert (now.model.step_loss, evaluated.model.step_loss) == (0.8, 0)
    recipe = config.data_options(evaluated.data, seed=0)["generate"]
    assert recipe.keys() == {"seed", "images", "questions_per_image", "drawings"}


@pytest.mark.usefixtures("configured")
def test_the_recipe_of_a_checkpoint_is_not_mixed_with_that_of_the_default_dataset():
    saved = OmegaConf.to_container(compose("data=gqa_mini", "model=mac"), resolve=True)
    evaluated = config.for_evaluation(config.resolve(compose("model=mac")), saved, [])
    recipe = config.data_options(evaluated.data, seed=0)["generate"]
    assert recipe["mix"] == saved["data"]["generate"]["mix"]
