"""Reads needed: hand-worked programs, and the theorem on generated and on real-format questions."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dact.datamodules import clevr_mini
from dact.datamodules.clevr_mini.execution import execute_nodes
from dact.datamodules.reads_needed import anchors_not_needed, function_of, reads_needed


def program(*nodes):
    """Nodes written as "function value: input input"."""
    parsed = []
    for node in nodes:
        head, _, inputs = node.partition(":")
        function, *values = head.split()
        inputs = [int(number) for number in inputs.split()]
        parsed.append({"function": function, "value_inputs": values, "inputs": inputs})
    return parsed


RED = ("scene", "filter_color red: 0", "unique: 1")
BLUE = ("scene", "filter_color blue: 4", "unique: 5")  # the nodes 4, 5, 6
LEFT_OF_RED = (*RED, "relate left: 2", "filter_shape cube: 3")
SAME_AS_RED = (*RED, "same_size: 2", "filter_shape cube: 3")


@pytest.mark.parametrize(
    ("nodes", "reads"),
    [
        # The red things are found: their number is what was read.
        (("scene", "count: 0"), 1),
        (("scene", "filter_color red: 0", "exist: 1"), 1),
        # The red thing is found, and its size is read with it.
        ((*RED, "query_size: 2"), 1),
        # The leftmost cube: the red thing need not be found. And so on, however many relations.
        ((*LEFT_OF_RED, "unique: 4", "query_size: 5"), 1),
        ((*LEFT_OF_RED, "unique: 4", "relate front: 5", "unique: 6", "query_size: 7"), 1),
        # Left of where? The red thing, then the cubes. But its own anchor need not be found.
        ((*LEFT_OF_RED, "count: 4"), 2),
        ((*LEFT_OF_RED, "exist: 4"), 2),
        ((*LEFT_OF_RED, "unique: 4", "relate front: 5", "count: 6"), 2),
        # The same size as what? Nothing shortens that.
        ((*SAME_AS_RED, "unique: 4", "query_color: 5"), 2),
        ((*SAME_AS_RED, "count: 4"), 2),
        ((*SAME_AS_RED, "exist: 4"), 2),
        ((*SAME_AS_RED, "unique: 4", "same_color: 5", "count: 6"), 3),
        # A relation cuts a chain only where it ends in one thing.
        ((*SAME_AS_RED, "unique: 4", "relate left: 5", "unique: 6", "query_color: 7"), 1),
        ((*SAME_AS_RED, "unique: 4", "relate left: 5", "count: 6"), 3),
        # Both sides of a comparison at once, so the longer one counts.
        ((*RED, "query_size: 2", *BLUE, "query_size: 6", "equal_size: 3 7"), 1),
        (("scene", "count: 0", "scene", "filter_color red: 2", "count: 3", "less_than: 1 4"), 1),
        ((*LEFT_OF_RED, "count: 4", "scene", "count: 6", "equal_integer: 5 7"), 2),
        ((*LEFT_OF_RED, "count: 4", "scene", "count: 6", "greater_than: 5 7"), 2),
        # Red or cubes: one look for either. Left of two things: both at once, then what is there.
        (
            (
                "scene",
                "filter_color red: 0",
                "scene",
                "filter_shape cube: 2",
                "union: 1 3",
                "count: 4",
            ),
            1,
        ),
        (
            (
                *(*RED, "relate left: 2", *BLUE, "relate front: 6"),
                *("intersect: 3 7", "unique: 8", "query_size: 9"),
            ),
            2,
        ),
        # What the question says of a thing is not read: red things, but not the red cube itself.
        ((*RED, "query_color: 2"), 0),
        ((*RED, "same_color: 2", "count: 3"), 1),
        ((*RED, "same_color: 2", "unique: 3", "same_size: 4", "count: 5"), 2),
        ((*LEFT_OF_RED, "unique: 4", "same_shape: 5", "count: 6"), 2),
        ((*RED, "query_color: 2", *BLUE, "query_color: 6", "equal_color: 3 7"), 0),
        # What is used twice is read once.
        ((*RED, "query_size: 2", "query_size: 2", "equal_size: 3 4"), 1),
        # What cannot be read has no number.
        ((), -1),
        (("scene", "fly: 0"), -1),
        (("scene", "count: 1"), -1),
        (("scene", "count: 0 0"), -1),
        (("scene",), -1),
    ],
)
def test_reads_by_hand(nodes, reads):
    nodes = program(*nodes)
    assert reads_needed(nodes) == reads
    assert reads_needed([{**node, "type": node.pop("function")} for node in nodes]) == reads


@pytest.mark.parametrize(
    "node", [None, {}, {"function": "scene"}, {"function": "scene", "inputs": 0}]
)
def test_broken_nodes_have_no_number(node):
    assert reads_needed([node]) == -1


def candidates(nodes, number, scene):
    """Objects that pass the filters between a cut `unique` and its `relate`, anchor or not."""
    objects = set(range(len(scene["objects"])))
    (source,) = nodes[number]["inputs"]
    while function_of(nodes[source]).startswith("filter_"):
        attribute, (value,) = function_of(nodes[source])[7:], nodes[source]["value_inputs"]
        objects = {row for row in objects if scene["objects"][row][attribute] == value}
        (source,) = nodes[source]["inputs"]
    return objects


def check_theorem(root, split):
    """Find the object of every cut `unique` without its anchor.

    Returns:
        How many there were, and in how many of them the filters left several candidates.
    """
    scenes = json.loads((root / "scenes" / f"CLEVR_{split}_scenes.json").read_text())["scenes"]
    questions = root / "questions" / f"CLEVR_{split}_questions.json"
    places = contested = 0
    for question in json.loads(questions.read_text())["questions"]:
        nodes, scene = question["program"], scenes[question["image_index"]]
        cut = anchors_not_needed(nodes)
        found = execute_nodes(nodes, scene) if cut else []
        for number, relate in cut.items():
            direction = scene["directions"][nodes[relate]["value_inputs"][0]]
            fitting = candidates(nodes, number, scene)
            furthest = max(
                fitting, key=lambda row: np.dot(direction, scene["objects"][row]["3d_coords"])
            )
            assert furthest == found[number], question
            places += 1
            contested += len(fitting) > 1
    return places, contested


def test_the_theorem_holds_on_generated_questions(tmp_path):
    mix = {"one_hop": 1, "two_hop": 1, "three_hop": 1, "equal_attribute": 1}
    clevr_mini.generate(
        tmp_path / "data", images={"train": 60}, mix=mix, workers=1, drawings=0, progress=False
    )
    places, contested = check_theorem(tmp_path / "data", "train")
    assert places > 400
    assert contested > 200


@pytest.mark.skipif("DACT_CLEVR_DIR" not in os.environ, reason="needs real-format questions")
@pytest.mark.parametrize("kind", ["symbolic", "rendered"])
def test_the_theorem_holds_on_real_format_questions(kind):
    places, contested = check_theorem(Path(os.environ["DACT_CLEVR_DIR"]) / kind, "val")
    assert places > 250
    assert contested > 100


@pytest.mark.skipif("DACT_CLEVR_DIR" not in os.environ, reason="needs real-format questions")
def test_questions_of_clevrs_own_generator_need_two_reads_at_most():
    """The figures in docs/data.md."""
    root = Path(os.environ["DACT_CLEVR_DIR"]) / "symbolic"
    asked = json.loads((root / "questions" / "CLEVR_val_questions.json").read_text())["questions"]
    assert Counter(reads_needed(one["program"]) for one in asked) == {1: 466, 2: 534}
