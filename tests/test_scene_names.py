"""Each question gets the scene of its own image: by name, else by number, or it is refused."""

import h5py
import numpy as np
import pytest
from clevr_files import make_scene, ready, write_questions, write_scenes
from test_image_names import NAMES, NUMBERED, questions_about

from dact.datamodules import image_rows
from dact.errors import UserError
from dact.explain.views import views_of


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        write_questions(tmp_path, split, questions_about(split, NUMBERED))
    return tmp_path


def write_named_scenes(root, images):
    """Scenes (number, name); what is in one depends on its name alone."""
    for split in ("train", "val"):
        scenes = []
        for number, name in images:
            scene = make_scene(NAMES.index(name) if name in NAMES else 0, 2)
            scenes.append({**scene, "image_index": number, "image_filename": name})
        write_scenes(root, split, scenes)


@pytest.mark.parametrize("first", [0, 5000])
def test_scenes_may_start_anywhere_have_gaps_and_lie_in_any_order(root, first):
    images = [(first + 3 * number, name) for number, name in NUMBERED]
    write_named_scenes(root, images[::-1])
    for split in ("train", "val"):
        write_questions(root, split, questions_about(split, images))
    module = ready(root)
    questions, store = module.dataset("val").questions, module.dataset("val").features
    for position, row in enumerate(questions.image_rows):
        place = NAMES.index(questions.record(position).image)
        assert store.numbers[row] == images[place][0]
        y = store.read(np.array([row]))[0][0, 0, -1 - 1]
        assert y == pytest.approx((0.8 * -1 - 0.6 * 0.1 * place) / 3, abs=1e-6)
    boxes = views_of(module, "val", [0, 7])
    assert len(boxes) == 2


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([(1, "img1.png"), (0, "img2.png"), *NUMBERED[2:]], "image_index 0 is img1.png, but"),
        ([(0, "x1.png"), *NUMBERED[1:]], r"image_index 0 is img1.png, but .* calls it x1\.png"),
        ([(9, "img1.png"), *NUMBERED[1:]], r"but .* gives img1\.png image_index 9"),
    ],
)
@pytest.mark.parametrize("missing_images", ["refuse", "skip"])
def test_scenes_that_contradict_the_questions(root, images, message, missing_images):
    write_named_scenes(root, images)
    with pytest.raises(UserError, match=message):
        ready(root, missing_images=missing_images)


def test_scenes_that_are_missing_can_be_left_out(root, monkeypatch):
    write_named_scenes(root, NUMBERED[1:])
    with pytest.raises(UserError, match=r"img1\.png, .*data\.missing_images=skip"):
        ready(root)
    said = []
    monkeypatch.setattr(image_rows, "rank_zero_info", said.append)
    module = ready(root, missing_images="skip")
    assert len(module.dataset("train")) == 6
    assert len(said) == 2


def test_scenes_without_names_are_found_by_number(root):
    for split in ("train", "val"):
        write_scenes(root, split, [make_scene(number, 2) for number in range(4)])
    questions = ready(root).dataset("val").questions
    assert questions.image_rows.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_scenes_packed_before_they_had_names_are_packed_anew(root):
    write_named_scenes(root, NUMBERED)
    ready(root)
    path = root / ".dact" / "states_val.h5"
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 1
    assert ready(root).dataset("val").features.images.names == NAMES
