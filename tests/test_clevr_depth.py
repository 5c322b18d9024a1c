"""Rings of objects: the reads that nothing can shorten."""

import json
import random
from collections import Counter

import pytest

from dact.datamodules.clevr_mini import depth
from dact.datamodules.clevr_mini.execution import execute
from dact.datamodules.reads_needed import reads_needed
from dact.errors import UserError

SMALL = {"images": {"train": 30, "val": 7}, "questions_per_image": 13, "drawings": 1}


def made(folder, **changed):
    depth.generate(folder, **(SMALL | {"workers": 1, "progress": False} | changed))
    return [
        json.loads((folder / kind / f"CLEVR_train_{kind}.json").read_text())[kind]
        for kind in ("scenes", "questions")
    ]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return made(tmp_path_factory.mktemp("depth") / "data")


def partner(objects, here, names):
    """The one other object that is the same in all of `names`."""
    (there,) = [
        thing
        for thing in objects
        if thing is not here and all(thing[name] == here[name] for name in names)
    ]
    return there


def test_objects_form_one_ring():
    for seed in range(20):
        objects = depth.ring(random.Random(seed))
        here, seen = objects[0], []
        while not seen or here is not objects[0]:
            there = partner(objects, here, ["color"])
            seen += [here, there]
            here = partner(objects, there, ["size", "shape"])
        assert len(seen) == len(objects) == depth.OBJECTS
        assert {id(thing) for thing in seen} == {id(thing) for thing in objects}


def test_answers_lie_so_many_hops_away(content):
    scenes, questions = content
    for question in questions:
        scene, distance = scenes[question["image_index"]], question["question_family_index"]
        size, color, shape = question["question"].rstrip("?").split()[-3:]
        named = {"size": size, "color": color, "shape": shape}
        (here,) = [one for one in scene["objects"] if named.items() <= one.items()]
        for left in range(distance, 0, -1):
            here = partner(scene["objects"], here, ["size", "shape"] if left % 2 else ["color"])
        assert question["answer"] == here["color"] == execute(question["program"], scene)


def test_the_distance_is_the_number_of_reads_and_nothing_else_tells_it(content):
    scenes, questions = content
    assert all(reads_needed(q["program"]) == q["question_family_index"] for q in questions)
    assert len({len(question["question"].split()) for question in questions}) == 1
    assert {q["program"][-1]["function"] for q in questions} == {"query_color"}
    asked = Counter(question["question_family_index"] for question in questions)
    assert set(asked) == set(range(depth.MAX_DEPTH + 1))
    assert max(asked.values()) - min(asked.values()) <= 1
    texts = {(question["image_index"], question["question"]) for question in questions}
    assert len(texts) == len(questions) == 30 * 13
    assert len(scenes) == 30


def test_the_same_bytes_for_any_number_of_processes(tmp_path):
    made(tmp_path / "a")
    made(tmp_path / "b", workers=2)
    files = [sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in "ab"]
    assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]
    assert any(one.suffix == ".png" for one in files[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_depth": 6}, "max_depth=6: give a whole number from 0 to 5"),
        ({"questions_per_image": 61}, "questions_per_image=61: .* from 1 to 60"),
        ({"max_depth": 0, "questions_per_image": 11}, "from 1 to 10"),
        ({"images": {}}, "no images wanted"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changed, message):
    with pytest.raises(UserError, match=message):
        made(tmp_path / "data", **changed)
    assert list(tmp_path.iterdir()) == []
