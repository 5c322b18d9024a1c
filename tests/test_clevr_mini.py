"""The clevr_mini generator: what its scenes, questions, answers and pictures must obey."""

import ast
import json
import math
import os
import random
import sys
from collections import Counter, defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import compose

from dact.datamodules import clevr_mini, processes
from dact.datamodules.clevr_mini import FAMILIES, MIX, draw, execute, generate, generation
from dact.datamodules.clevr_mini.attributes import DESCRIPTIONS, RADIUS, RELATIONS
from dact.datamodules.clevr_mini.balance import Balance
from dact.datamodules.clevr_mini.camera import HEIGHT, HOME, JITTER, WIDTH, look_at_origin, recover
from dact.datamodules.clevr_mini.families import COUNT_SHARES
from dact.datamodules.clevr_mini.masks import SceneMasks
from dact.datamodules.clevr_mini.scenes import any_objects, sample_scene
from dact.errors import UserError

#: A mix with questions of every family.
EVERY = {
    **{"zero_hop": 0.2, "one_hop": 0.15, "two_hop": 0.08, "three_hop": 0.04},
    **{"one_hop_set": 0.1, "two_hop_set": 0.05, "three_hop_set": 0.03},
    **{"same_attribute": 0.1, "equal_attribute": 0.08, "equal_attribute_hop": 0.05},
    **{"compare_integer": 0.06, "single_and": 0.04, "single_or": 0.02},
}
SMALL = {
    "images": {"train": 300, "val": 20},
    "mix": EVERY,
    "objects": (3, 6),
    "drawings": 3,
    "progress": False,
}


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small data set made by one process: two chunks of train, one of val."""
    path = tmp_path_factory.mktemp("clevr_mini") / "data"
    generate(path, workers=1, **SMALL)
    return path


@pytest.fixture(scope="module")
def train(root):
    scenes = read(root / "scenes" / "CLEVR_train_scenes.json")["scenes"]
    questions = read(root / "questions" / "CLEVR_train_questions.json")["questions"]
    return scenes, questions


def family(question):
    return FAMILIES[question["question_family_index"]]


# Files


def test_files_have_the_release_format(root, train):
    scenes, questions = train
    assert sorted(map(str, contents(root))) == [
        *(f"images/val/CLEVR_val_{i:06d}.png" for i in range(3)),
        *(f"questions/CLEVR_{split}_questions.json" for split in ("train", "val")),
        *(f"scenes/CLEVR_{split}_scenes.json" for split in ("train", "val")),
    ]
    assert [s["image_index"] for s in scenes] == list(range(300))
    assert [q["question_index"] for q in questions] == list(range(3000))
    assert [q["image_index"] for q in questions] == [i // 10 for i in range(3000)]
    assert set(questions[0]) == {
        *("image_index", "program", "question_index", "image_filename", "question_family_index"),
        *("split", "answer", "question"),
    }
    assert set(scenes[0]) == {
        *("split", "image_index", "image_filename", "objects", "directions", "relationships"),
    }
    assert (
        questions[-1]["image_filename"] == scenes[-1]["image_filename"] == "CLEVR_train_000299.png"
    )
    assert "date" not in read(root / "scenes" / "CLEVR_train_scenes.json")["info"]


def test_bytes_depend_on_the_seed_and_not_on_the_workers(root, tmp_path):
    generate(tmp_path / "two", workers=2, **SMALL)
    assert contents(tmp_path / "two") == contents(root)
    generate(tmp_path / "other", workers=1, seed=1, **SMALL | {"images": {"val": 20}})
    name = Path("scenes", "CLEVR_val_scenes.json")
    assert contents(tmp_path / "other")[name] != contents(root)[name]


def test_splits_share_no_scene(root, train):
    val = read(root / "scenes" / "CLEVR_val_scenes.json")["scenes"]
    places = [
        {tuple(o["3d_coords"]) for s in scenes for o in s["objects"]} for scenes in (train[0], val)
    ]
    assert not places[0] & places[1]


def test_the_test_split_hides_its_answers(tmp_path):
    generate(tmp_path / "t", images={"test": 2}, workers=1, progress=False)
    (first, *_) = read(tmp_path / "t" / "questions" / "CLEVR_test_questions.json")["questions"]
    assert not {"answer", "program", "question_family_index"} & set(first)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(scene):
        raise error

    monkeypatch.setattr(generation, "draw", fail)
    with pytest.raises(error):
        generate(tmp_path / "data", workers=1, **SMALL | {"images": {"val": 5}})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_user_error(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generation, "make", full)
    with pytest.raises(UserError, match="No space left"):
        generate(tmp_path / "data", workers=1, **SMALL)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        with pytest.raises(UserError):
            generate(place, workers=1, **SMALL)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"images": {"train": 0}}, "no images"),
        ({"images": {"dev": 5}}, "dev"),
        ({"images": {"train": -5}}, "train"),
        ({"images": {"train": 1_000_000}}, "999999"),
        ({"questions_per_image": 0}, "questions_per_image"),
        ({"questions_per_image": 51}, "questions_per_image"),
        ({"max_hops": 4}, "max_hops"),
        ({"objects": (5, 4)}, r"objects \(fewest\)=5: give a whole number from 1 to 4"),
        ({"objects": (0, 4)}, r"objects \(fewest\)=0"),
        ({"objects": (3, 11)}, r"objects \(most\)=11: give a whole number from 1 to 10"),
        ({"objects": (3,)}, "give two numbers, the fewest and the most"),
        ({"max_hops": 0, "mix": {"one_hop": 1}}, "max_hops"),
        ({"workers": 0}, "workers"),
        ({"mix": {"zerohop": 1}}, "zerohop"),
        ({"mix": {"zero_hop": 0}}, "mix"),
        ({"mix": {"zero_hop": -1}}, "zero_hop"),
        ({"mix": {"zero_hop": math.nan}}, "zero_hop"),
        ({"mix": {"zero_hop": "much"}}, "zero_hop"),
        ({"mix": {}}, "mix"),
    ],
)
def test_impossible_wishes_are_user_errors(tmp_path, wish, message):
    with pytest.raises(UserError, match=message) as caught:
        generate(tmp_path / "data", **SMALL | {"workers": 1} | wish)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled(tmp_path):
    generate(tmp_path, images={"val": 1}, drawings=0, workers=1, progress=False)
    assert {p.name for p in tmp_path.iterdir()} == {"scenes", "questions"}


def test_workers_need_no_torch():
    allowed = {"numpy", "PIL", "rich"}
    for path in [*Path(clevr_mini.__file__).parent.glob("*.py"), Path(processes.__file__)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name in ("dact.errors", "dact.datamodules.processes")
                ours = ours or name.startswith("dact.datamodules.clevr_mini")
                top = name.partition(".")[0]
                assert ours or top in allowed or top in sys.stdlib_module_names, (path.name, name)


# Scenes


def test_objects_keep_their_distance(train):
    for scene in train[0]:
        assert 3 <= len(scene["objects"]) <= 6
        right, behind = (np.array(scene["directions"][d]) for d in ("right", "behind"))
        for thing in scene["objects"]:
            assert max(map(abs, thing["3d_coords"][:2])) <= 3
            assert thing["3d_coords"][2] == RADIUS[thing["size"]]
            assert 0 <= thing["rotation"] < 360
        for a, b in combinations(scene["objects"], 2):
            offset = np.subtract(a["3d_coords"], b["3d_coords"])
            gap = np.hypot(*offset[:2]) - RADIUS[a["size"]] - RADIUS[b["size"]]
            assert gap >= 0.25
            assert abs(offset @ (right * [1, 1, 0])) >= 0.4
            assert abs(offset @ (behind * [1, 1, 0])) >= 0.4


def test_relationships_follow_the_directions(train):
    for scene in train[0]:
        for relation in RELATIONS:
            direction = np.array(scene["directions"][relation])
            for i, others in enumerate(scene["relationships"][relation]):
                here = np.array(scene["objects"][i]["3d_coords"])
                assert others == [
                    j
                    for j, other in enumerate(scene["objects"])
                    if j != i and (np.array(other["3d_coords"]) - here) @ direction > 0.2
                ]


def test_directions_are_orthonormal(train):
    directions = train[0][0]["directions"]
    frame = np.array([directions[d] for d in ("right", "behind", "above")])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1)  # right × behind = above
    for one, other in (("left", "right"), ("front", "behind"), ("below", "above")):
        assert np.add(directions[one], directions[other]).tolist() == [0, 0, 0]


def test_projection_keeps_the_order_of_places():
    camera = look_at_origin(HOME)
    assert camera.project((0, 0, 0))[:2] == pytest.approx((WIDTH / 2, HEIGHT / 2))
    steps = np.linspace(-3, 3, 7)[:, None]
    across = [camera.project(p) for p in steps * np.array(camera.right)]
    assert all(a[0] < b[0] for a, b in pairwise(across))
    away = [camera.project(p) for p in steps * [camera.forward[0], camera.forward[1], 0]]
    assert all(a[1] > b[1] and a[2] < b[2] for a, b in pairwise(away))


def test_every_object_is_in_the_picture_and_the_camera_can_be_found(train):
    for scene in train[0]:
        for thing in scene["objects"]:
            column, row, depth = thing["pixel_coords"]
            assert 0 < column < WIDTH
            assert 0 < row < HEIGHT
            assert depth > 5
    for scene in train[0][:20]:
        camera = recover(scene)
        assert np.abs(np.subtract(camera.position, HOME)).max() < JITTER + 0.05
        for thing in scene["objects"]:
            seen = camera.project(thing["3d_coords"])
            np.testing.assert_allclose(seen, thing["pixel_coords"], atol=1)


# Questions


def test_answers_are_those_of_the_programs(train):
    """`execute` also refuses every `unique` of a set that is not one object."""
    scenes, questions = train
    for question in questions:
        assert execute(question["program"], scenes[question["image_index"]]) == question["answer"]


def test_masks_mean_what_descriptions_say(train):
    for scene in train[0][:10]:
        view = SceneMasks(scene)
        for values, mask in zip(DESCRIPTIONS, view.described, strict=True):
            for i, thing in enumerate(scene["objects"]):
                named = zip(("size", "color", "material", "shape"), values, strict=True)
                assert bool(mask >> i & 1) == all(v in (None, thing[k]) for k, v in named)


def answer_or_none(program, scene):
    try:
        return execute(program, scene)
    except ValueError:
        return None


def test_no_relation_can_be_left_out(train):
    """Replacing the last relation by the scene changes the answer or makes it undefined."""
    scenes, questions = train
    checked = 0
    for question in questions:
        if family(question).restriction != "relate" or question["answer"] == "yes":
            continue
        program = [dict(node) for node in question["program"]]
        last = max(i for i, node in enumerate(program) if node["function"] == "relate")
        program[last] |= {"function": "scene", "inputs": [], "value_inputs": []}
        scene = scenes[question["image_index"]]
        assert answer_or_none(program, scene) != question["answer"]
        checked += 1
    assert checked > 500


def test_no_question_names_what_it_asks_for(train):
    for question in train[1]:
        asked = family(question).asked
        if asked is None or family(question).group == "equal_attribute":
            continue
        *_, last_filter_on = (n for n in question["program"] if n["function"] != "unique")
        head = []
        for node in reversed(question["program"][:-2]):
            if not node["function"].startswith("filter"):
                break
            head.append(node["function"])
        assert last_filter_on["function"].replace("query", "filter") not in head


def test_all_families_occur_and_groups_keep_their_shares(train):
    _, questions = train
    assert {q["question_family_index"] for q in questions} == set(range(len(FAMILIES)))
    groups = Counter(family(q).group for q in questions)
    for group, share in EVERY.items():
        assert groups[group] / len(questions) == pytest.approx(share, abs=0.005)


def test_answers_are_balanced(train):
    tallies = defaultdict(Counter)
    for question in train[1]:
        tallies[family(question).task][question["answer"]] += 1
    for task, tally in tallies.items():
        total = tally.total()
        if task == "count":
            for number, share in COUNT_SHARES.items():
                assert tally[number] / total == pytest.approx(share, abs=0.04)
        else:
            # Within a family and chunk by two questions, here summed over at most 34 of them.
            even = total / len(tally)
            assert all(abs(n - even) < 0.2 * even + 2 for n in tally.values()), (task, tally)


def test_texts_differ_within_an_image_and_read_as_english(train):
    seen = set()
    for question in train[1]:
        text = question["question"]
        assert (question["image_index"], text) not in seen
        seen.add((question["image_index"], text))
        assert text[0].isupper()
        assert text.endswith("?")
        assert not set(text) & set("{}")
        assert "  " not in text
        for wrong in (" a object", " an t", " an b", " any other thing ", " is any "):
            assert wrong not in text
    words = [len(q["question"].split()) for q in train[1]]
    assert 10 < np.mean(words) < 14
    assert max(words) < 45


def test_mix_and_hops_limit_the_groups(tmp_path):
    generate(
        tmp_path / "m",
        images={"val": 10},
        mix={"zero_hop": 1, "equal_attribute": 3, "two_hop": 1},
        max_hops=0,
        drawings=0,
        workers=1,
        progress=False,
    )
    questions = read(tmp_path / "m" / "questions" / "CLEVR_val_questions.json")["questions"]
    assert len(questions) == 100
    groups = Counter(family(q).group for q in questions)
    assert set(groups) == {"zero_hop", "equal_attribute"}
    assert groups["equal_attribute"] > groups["zero_hop"]
    assert all(n["function"] != "relate" for q in questions for n in q["program"])


def test_every_scene_has_as_many_objects_as_asked_for(tmp_path):
    generate(
        tmp_path / "m", images={"val": 30}, objects=(4, 6), drawings=0, workers=1, progress=False
    )
    scenes = read(tmp_path / "m" / "scenes" / "CLEVR_val_scenes.json")["scenes"]
    assert {len(scene["objects"]) for scene in scenes} == {4, 5, 6}


@pytest.mark.usefixtures("configured")
def test_the_default_mix_is_that_of_the_configuration():
    assert compose("data=clevr_mini").data.generate.mix == MIX
    assert set(EVERY) == set(MIX) == {family.group for family in FAMILIES}


def test_the_deck_holds_exact_shares():
    shares = {"zero_hop": 2.0, "one_hop": 1.0, "two_hop": 0.0}
    balance = Balance(shares, 3, 31, random.Random(0))
    assert Counter(balance.deck) == {"zero_hop": 21, "one_hop": 10}


# Execution


def test_executor_on_a_scene_worked_by_hand():
    def thing(size, color, material, shape):
        return {"size": size, "color": color, "material": material, "shape": shape}

    scene = {
        "objects": [
            thing("large", "red", "metal", "cube"),
            thing("small", "red", "rubber", "sphere"),
            thing("small", "blue", "rubber", "cube"),
        ],
        "relationships": {"left": [[], [0], [0, 1]]},
    }

    def run(*nodes):
        keys = ("function", "inputs", "value_inputs")
        return execute([dict(zip(keys, node, strict=True)) for node in nodes], scene)

    everything = ("scene", [], [])
    red = ("filter_color", [0], ["red"])
    blue = ("filter_color", [0], ["blue"])
    assert run(everything, ("count", [0], [])) == "3"
    assert run(everything, red, ("count", [1], [])) == "2"
    assert run(everything, red, ("exist", [1], [])) == "yes"
    the_blue = (everything, blue, ("unique", [1], []))
    assert run(*the_blue, ("relate", [2], ["left"]), ("count", [3], [])) == "2"
    assert run(*the_blue, ("same_shape", [2], []), ("count", [3], [])) == "1"
    assert run(*the_blue, ("query_material", [2], [])) == "rubber"
    assert run(everything, red, blue, ("union", [1, 2], []), ("count", [3], [])) == "3"
    assert run(everything, red, blue, ("intersect", [1, 2], []), ("exist", [3], [])) == "no"
    counts = (everything, red, blue, ("count", [1], []), ("count", [2], []))
    answers = [
        run(*counts, (f, [3, 4], [])) for f in ("equal_integer", "less_than", "greater_than")
    ]
    assert answers == ["no", "no", "yes"]
    assert execute([{"type": "scene", "inputs": [], "value_inputs": []}], scene) == "[0, 1, 2]"
    with pytest.raises(ValueError, match="unique of 2"):
        run(everything, red, ("unique", [1], []))
    with pytest.raises(ValueError, match="unknown program function"):
        run(("fold", [], []))


# Pictures


def test_drawing_shows_every_object():
    for index in range(6):
        scene = sample_scene(random.Random(index), index, "val", lambda rng: any_objects(rng, 3, 6))
        image = draw(scene)
        assert (image.size, image.mode) == ((320, 240), "RGB")
        empty = np.array(draw(scene | {"objects": scene["objects"][:0]}), int)
        pixels = np.array(image, int)
        for thing in scene["objects"]:
            column, row, _ = thing["pixel_coords"]
            assert np.abs(pixels[row, column] - empty[row, column]).max() > 20, thing
    assert draw(scene, (160, 120)).size == (160, 120)


# The official data, where they are at hand


@pytest.fixture(scope="module")
def official():
    folder = os.environ.get("DACT_CLEVR_DIR")
    if not folder:
        pytest.skip("set DACT_CLEVR_DIR to a folder with symbolic/ made by the official generator")
    symbolic = Path(folder) / "symbolic"
    scenes = read(symbolic / "scenes" / "CLEVR_val_scenes.json")["scenes"]
    return scenes, read(symbolic / "questions" / "CLEVR_val_questions.json")["questions"]


def test_executor_agrees_with_the_official_answers(official):
    scenes, questions = official
    assert len(questions) >= 1000
    for question in questions:
        assert execute(question["program"], scenes[question["image_index"]]) == question["answer"]


def test_projection_agrees_with_the_official_scenes(official):
    """With only the camera's place unknown, within rounding to whole pixels."""
    for scene in official[0]:
        camera = recover(scene)
        assert np.abs(np.subtract(camera.position, HOME)).max() < JITTER + 0.05
        for thing in scene["objects"]:
            seen = camera.project(thing["3d_coords"])
            np.testing.assert_allclose(seen[:2], thing["pixel_coords"][:2], atol=0.75)
            assert seen[2] == pytest.approx(thing["pixel_coords"][2], abs=0.02)


def test_directions_agree_with_the_official_scenes(official, train):
    for name, direction in train[0][0]["directions"].items():
        np.testing.assert_allclose(official[0][0]["directions"][name], direction, atol=1e-6)
