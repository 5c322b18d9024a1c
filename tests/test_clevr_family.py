"""CLEVR-CoGenT and CLEVR-Humans, as released, on tiny folders in their layout."""

import json
import re
import shlex

import numpy as np
import pytest
from clevr_files import (
    COGENT,
    HUMANS,
    make_questions,
    make_scene,
    ready,
    times_of,
    write_clevr,
    write_cogent,
    write_humans,
    write_questions,
)
from conftest import TINY, Program
from test_extraction import command as extract_features
from test_extraction import draw_images

from dact import checkpoint
from dact.datamodules import CLEVRCoGenTDataModule, CLEVRHumansDataModule
from dact.errors import UserError


def prepared(kind, root, stage="fit", **options):
    module = kind(root, progress=False, **options)
    module.prepare_data(stage)
    module.setup(stage)
    return module


# CLEVR-CoGenT.


@pytest.fixture
def cogent_root(tmp_path):
    return write_cogent(tmp_path / "cogent")


@pytest.fixture
def cogent(configured, cogent_root, tmp_path):
    """run.py on it."""
    typed = ("data=clevr_cogent", f"data.root={cogent_root}", "data.features=state")
    return Program(tmp_path, *typed, *TINY)


@pytest.fixture
def evaluation(configured, tmp_path):
    """run.py that knows nothing but a checkpoint."""
    return Program(tmp_path, "trainer=cpu", "trainer.enable_progress_bar=false")


def test_the_conditions_are_those_of_the_paper():
    pairs = {
        condition: {
            (thing["shape"], thing["color"])
            for index in range(50)
            for thing in make_scene(index, 6, condition)["objects"]
        }
        for condition in "AB"
    }
    cubes = {("cube", color) for color in ("gray", "blue", "brown", "yellow")}
    cylinders = {("cylinder", color) for color in ("red", "green", "purple", "cyan")}
    spheres = {("sphere", color) for _, color in cubes | cylinders}
    assert pairs["A"] == cubes | cylinders | spheres
    assert (
        pairs["B"]
        == {
            ("cylinder" if shape == "cube" else "cube", color) for shape, color in cubes | cylinders
        }
        | spheres
    )


def test_words_and_answers_come_from_condition_a(cogent_root):
    questions = make_questions("valB", 4, 3)
    questions[0] |= {"question": "Is there a teapot?", "answer": "perhaps"}
    write_questions(cogent_root, "valB", questions)
    module = prepared(CLEVRCoGenTDataModule, cogent_root, "validate", split="valB")
    assert "teapot" not in module.vocabulary
    assert module.vocabulary.answer_id("perhaps") == -1
    assert len(module.dataset("valB")) == 12
    assert module.splits_of("fit") == ["trainA", "valA"]
    assert [module.splits_of(stage) for stage in ("validate", "test")] == [["valB"], ["valB"]]
    assert CLEVRCoGenTDataModule(cogent_root).splits_of("test") == ["testA"]


def test_cogent_is_trained_on_a_and_tested_on_a_and_b(cogent, evaluation, capsys):
    fitted = cogent("model=mac")
    assert fitted.checkpoint["dact"]["results"]["all"][2] == 15
    (hint,) = re.findall(r"the same on valB: `python run\.py (.*)`", capsys.readouterr().out)
    on_a = evaluation("mode=validate", f"ckpt_path={fitted.last}")
    assert on_a.value == fitted.value
    assert "valA steps" not in capsys.readouterr().out
    on_b = evaluation(*shlex.split(hint))
    said = capsys.readouterr().out
    assert "last.ckpt on clevr_cogent valB" in said
    assert "valA steps" in said
    assert f"{100 * fitted.value:.1f} %" in said
    assert 0 <= on_b.value <= 1
    answered = evaluation("mode=predict", f"ckpt_path={fitted.last}", "data.split=testA")
    assert len(answered.predictions) == 3 * 2
    assert {line["image"] for line in answered.predictions} == {
        f"CLEVR_testA_{index:06d}.png" for index in range(3)
    }
    assert not any("answer" in line for line in answered.predictions)
    for split in ("testA", "testB"):
        with pytest.raises(UserError, match=f"split {split} has no answers .* use mode=predict"):
            evaluation("mode=test", f"ckpt_path={fitted.last}", f"data.split={split}")


def test_training_on_both_validates_on_b_without_a_hint(cogent, capsys):
    cogent("model=mac", "data.val_split=valB")
    assert "the same on" not in capsys.readouterr().out


def test_dact_on_cogent_starts_from_a_mac_on_cogent(cogent, capsys):
    with pytest.raises(UserError, match=r"train it with `python run\.py data=clevr_cogent model"):
        cogent("model=dact")
    mac = cogent("model=mac")
    dact = cogent("model=dact", "ponder=5e-3")
    assert f"({100 * mac.value:.1f} % on validation)" in capsys.readouterr().out
    assert checkpoint.describe(dact.checkpoint).config["data"]["name"] == "clevr_cogent"


def test_a_missing_split_of_cogent_is_named_with_those_there_are(cogent, cogent_root):
    (cogent_root / "questions" / "CLEVR_trainA_questions.json").unlink()
    with pytest.raises(UserError) as raised:
        cogent("model=mac")
    said = str(raised.value)
    assert "CLEVR_trainA_questions.json is missing" in said
    assert "testA, testB, valA, valB" in said
    assert "\n" not in said


@pytest.mark.slow  # a process of its own
def test_features_of_cogent_are_extracted_and_trained_on(cogent, evaluation, cogent_root):
    for split, (images, _) in COGENT.items():
        draw_images(cogent_root / "images" / split, images)
    backbone = ("backbone.model=small_backbone:Small", "backbone.layer=features")
    sizes = ("backbone.size=[29,43]", "backbone.weights=null", "num_workers=0", "devices=cpu")
    done = extract_features(cogent_root, "data=clevr_cogent", *backbone, *sizes)
    assert done.returncode == 0, done.stderr
    fitted = cogent("model=mac", "data.features=grid")
    assert checkpoint.describe(fitted.checkpoint).grid
    on_b = evaluation("mode=validate", f"ckpt_path={fitted.last}", "data.split=valB")
    assert 0 <= on_b.value <= 1


# CLEVR-Humans.


@pytest.fixture
def root(tmp_path):
    """A root of CLEVR, with the questions of people."""
    root = write_clevr(tmp_path / "clevr")
    for split in HUMANS:
        write_humans(root / "CLEVR-Humans", split)
    return root


def test_the_questions_of_people_are_about_the_images_of_clevr(root):
    module = prepared(CLEVRHumansDataModule, root)
    clevr = ready(root)
    assert [module.records("val", [n])[0] for n in range(2)] == [
        (n, f"CLEVR_val_{n:06d}.png", text, answer)
        for n, (text, answer) in enumerate(HUMANS["val"])
    ]
    questions = module.dataset("val").questions
    assert questions.families.tolist() == questions.program_lengths.tolist() == [-1, -1]
    assert {module.type_names[kind] for kind in questions.question_types} == {"unknown"}
    for row in range(2):
        rows = np.array([row])
        ours, theirs = (m.dataset("val").features.read(rows)[0] for m in (module, clevr))
        assert (ours == theirs).all()


def test_neither_set_takes_the_files_of_the_other(root):
    humans, clevr = prepared(CLEVRHumansDataModule, root), ready(root)
    files = times_of(root / ".dact")
    again = prepared(CLEVRHumansDataModule, root), ready(root)
    assert times_of(root / ".dact") == files
    for one, other in zip((humans, clevr), again, strict=True):
        assert one.vocabulary.to_dict() == other.vocabulary.to_dict()
    assert "gumballs" in humans.vocabulary
    assert "gumballs" not in clevr.vocabulary
    assert len(again[0].dataset("train")) == 5
    assert len(again[1].dataset("train")) == 35


@pytest.mark.parametrize("place", ["", "questions", "CLEVR-Humans"])
def test_the_files_lie_in_any_of_three_places(tmp_path, place):
    root = write_clevr(tmp_path / "clevr")
    for split in ("train", "val"):
        write_humans(root / place, split)
    assert len(prepared(CLEVRHumansDataModule, root).dataset("val")) == 2


def test_of_two_files_the_first_place_has_it(root):
    path = write_humans(root, "val", [("Is there a sphere?", "no")])
    assert CLEVRHumansDataModule(root).question_files("val") == [path]


def test_a_missing_file_of_people_names_the_places(root):
    (root / "CLEVR-Humans" / "CLEVR-Humans-val.json").unlink()
    with pytest.raises(UserError) as raised:
        CLEVRHumansDataModule(root, progress=False).prepare_data("fit")
    said = str(raised.value)
    places = f"{root}, {root / 'questions'}, {root / 'CLEVR-Humans'}"
    assert said.startswith(f"CLEVR-Humans-val.json is in none of {places}: ")
    assert "scripts/download.py data=clevr_humans" in said
    assert "\n" not in said


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        CLEVRHumansDataModule(tmp_path / "nowhere").prepare_data("fit")


def test_a_question_without_a_number_has_its_place(root):
    write_humans(root / "CLEVR-Humans", "val", question_index=None)
    module = prepared(CLEVRHumansDataModule, root)
    assert [module.records("val", [n])[0].question_id for n in range(2)] == [0, 1]


@pytest.mark.parametrize("entry", [3, {"question_index": "four"}, {"image_index": None}])
def test_odd_questions_of_people_are_named(root, entry):
    path = root / "CLEVR-Humans" / "CLEVR-Humans-val.json"
    path.write_text(json.dumps({"questions": [entry]}))
    with pytest.raises(UserError, match=r"CLEVR-Humans-val\.json: question") as raised:
        CLEVRHumansDataModule(root, progress=False).prepare_data("fit")
    assert "\n" not in str(raised.value)


def test_people_ask_of_images_that_are_there(root):
    write_humans(root / "CLEVR-Humans", "val", image_index=5)
    with pytest.raises(UserError, match="image"):
        prepared(CLEVRHumansDataModule, root)
