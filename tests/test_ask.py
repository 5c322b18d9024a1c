"""One question on the command line, and in the demo by several visitors at once."""

import json
import re
import socket
import subprocess
import sys
import threading

import pytest
from clevr_files import make_questions, write_questions
from conftest import REPOSITORY, TINY, Program
from PIL import Image
from test_extraction import SIZE, draw_images
from test_extraction import command as extract_features

from dact.errors import UserError
from dact.runs.restore import restore

SMALL = (
    "backbone.model=small_backbone:Small",
    "backbone.name=small",
    "backbone.layer=features",
    "backbone.weights=null",
    f"backbone.size={SIZE}".replace(" ", ""),
)


def ask(*arguments, cwd):
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "ask.py", *map(str, arguments)],
        cwd=cwd,
        env={"PYTHONPATH": str(REPOSITORY / "tests"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """A root with pictures, the features of a small backbone, and a DACT trained on them."""
    import hydra
    from conftest import CONF
    from hydra.core.global_hydra import GlobalHydra

    from dact import config

    root = tmp_path_factory.mktemp("pictured")
    for split, count in (("train", 6), ("val", 3)):
        draw_images(root / "images" / split, count)
        write_questions(root, split, make_questions(split, count, 5))
    done = extract_features(root, *SMALL, "num_workers=0")
    assert done.returncode == 0, done.stderr
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        program = Program(root, "data=clevr", f"data.root={root}", *TINY, "warm_start=none")
        fitted = program("model=dact", "data.features=grid")
    GlobalHydra.instance().clear()
    return root, fitted


@pytest.mark.slow
def test_a_checkpoint_knows_what_made_its_features(pictured):
    _, fitted = pictured
    known = restore(fitted.last).description.backbone
    assert (known["name"], known["layer"], known["size"]) == ("small", "features", SIZE)


@pytest.mark.slow
def test_a_picture_is_answered_as_its_features_are(pictured, tmp_path):
    """By way of the file, of the dataset, and of prediction."""
    root, fitted = pictured
    question = "How many things are there?"
    common = ("--checkpoint", fitted.last, "--question", question)
    name = "CLEVR_val_000001.png"
    by_file = ask(*common, "--image", root / "images" / "val" / name, cwd=tmp_path)
    by_name = ask(*common, "--image", name, "--figure", "strip.svg", cwd=tmp_path)
    assert by_file.returncode == 0, by_file.stderr
    first, *table = by_file.stdout.splitlines()
    assert first == by_name.stdout.splitlines()[0]
    answer, confidence, steps = re.match(r"(\w+) \((\d+)%, (\d) of 3", first).groups()
    assert answer in fitted.checkpoint["dact"]["vocabulary"]["answers"]
    assert 0 <= int(confidence) <= 100
    assert sum(line.startswith("│") for line in table) == int(steps)
    assert (tmp_path / "strip.svg").read_text().count("step ") >= 1


@pytest.mark.slow
def test_the_answer_is_that_of_prediction(trained, evaluate, mini_root, tmp_path):
    predicted = evaluate("mode=predict", f"ckpt_path={trained.dact.last}").predictions[5]
    scenes = mini_root / "scenes" / "CLEVR_val_scenes.json"
    index = int(predicted["image"].rpartition("_")[2].partition(".")[0])
    single = tmp_path / "scene.json"
    single.write_text(json.dumps(json.loads(scenes.read_text())["scenes"][index]))
    expected = f"{predicted['prediction']} ({predicted['confidence']:.0%}, "
    for about in (
        ("--scene", scenes, "--index", index),
        ("--scene", single),
        ("--image", predicted["image"]),
    ):
        common = ("--checkpoint", trained.dact.last, "--question", predicted["question"])
        done = ask(*common, *about, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{expected}{predicted['steps']} of 3 steps)")


@pytest.mark.slow
def test_unknown_words_are_named(trained, mini_root, tmp_path):
    scenes = mini_root / "scenes" / "CLEVR_val_scenes.json"
    common = ("--checkpoint", trained.dact.last, "--scene", scenes, "--index", 0)
    done = ask(*common, "--question", "Is there a zebra?", cwd=tmp_path)
    assert done.stdout.startswith("never seen in training: 'zebra'")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("about", "message"),
    [
        (("--image", "nowhere/x.png"), "--image nowhere/x.png: no such file"),
        (("--image", "x"), "x is neither a file nor an image of val, such as CLEVR_val_000000"),
        (("--image", "picture.png"), "reasons about state features, not about pictures"),
        (("--scene", "nowhere.json"), "nowhere.json cannot be read as a scene: No such file"),
        (("--scene", "picture.png"), "picture.png cannot be read as a scene"),
    ],
)
def test_mistakes_are_one_line(trained, tmp_path, about, message):
    Image.new("RGB", (4, 4)).save(tmp_path / "picture.png")
    done = ask("--checkpoint", trained.dact.last, "--question", "Why?", *about, cwd=tmp_path)
    assert done.returncode == 1
    *notes, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert all("never occur in train" in note for note in notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--weights", "nowhere.pth"), "nowhere.pth: no such file"),
        (("--backbone", "resnet"), "there is no backbone resnet: choose one of efficientnet_lite0"),
    ],
)
def test_backbones_are_checked(pictured, tmp_path, more, message):
    root, fitted = pictured
    picture = root / "images" / "val" / "CLEVR_val_000001.png"
    common = ("--checkpoint", fitted.last, "--question", "Why?", "--image", picture)
    done = ask(*common, *more, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr


# The demo, without its page.


@pytest.fixture(scope="module")
def demo(trained):
    from demo import Demo

    return Demo(restore(trained.dact.last), None, None)


def test_visitors_in_parallel_get_their_own_answers(demo):
    questions = ["What color is the cube?", "Is there a sphere?", "How many things are there?"]
    expected = {}
    for image, (knowledge, _) in enumerate(demo.picks):
        for question in questions:
            expected[image, question] = demo.answer(knowledge, question)
    assert len(set(expected.values())) > 1
    found = {}
    start = threading.Barrier(4)

    def visit(number):
        start.wait()
        for image, question in list(expected)[number::4]:
            found[image, question] = demo.answer(demo.picks[image][0], question)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_what_a_visitor_does_wrong_is_said(demo, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as a scene"):
        demo.load(str(tmp_path / "bad.json"))
    with pytest.raises(UserError, match="pick an image first"):
        demo.answer(None, "Why?")
    with pytest.raises(UserError, match="the question is empty"):
        demo.answer(demo.picks[0][0], "")


@pytest.mark.slow
def test_pictures_can_be_uploaded_where_the_backbone_is_known(pictured, tmp_path):
    from demo import Demo

    root, fitted = pictured
    demo = Demo(restore(fitted.last), None, None)
    assert len(demo.picks) == 3
    picture = root / "images" / "val" / "CLEVR_val_000002.png"
    uploaded = demo.answer(demo.load(str(picture)), "How many things are there?")
    picked = demo.answer(demo.picks[2][0], "How many things are there?")
    assert uploaded.partition("<style>")[0] == picked.partition("<style>")[0]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="cannot be read as an image"):
        demo.load(str(tmp_path / "bad.png"))


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        from demo import check_port

        with pytest.raises(UserError, match="cannot serve on"):
            check_port("127.0.0.1", taken.getsockname()[1])
