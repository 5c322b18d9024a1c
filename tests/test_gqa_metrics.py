"""The metrics of GQA, against cases worked by hand and what must hold for any predictions."""

import itertools
import json

import numpy as np
import pytest
from gqa_examples import (
    kinds,
    pointers,
    question,
    scene,
    write_choices,
    write_questions,
    write_scenes,
)
from hypothesis import given
from hypothesis import strategies as st

from dact.errors import UserError
from dact.gqa_metrics import GQAQuestion, GroupMean, evaluate, load_questions, mean_by_group
from dact.gqa_metrics.accuracy import accuracies, right_answers
from dact.gqa_metrics.choices import fit
from dact.gqa_metrics.consistency import consistency, entailed_by_right
from dact.gqa_metrics.distribution import distribution
from dact.gqa_metrics.grounding import Box, attention_on, cells, grounding
from dact.gqa_metrics.questions import count_steps


def scored(root, questions, predictions, attentions=None, split="val_all"):
    """The evaluation of questions that are written to `root`."""
    write_questions(root, questions, split)
    return evaluate(load_questions(root, split), predictions, attentions)


# Accuracy.


def test_accuracy_of_binary_and_open_questions(tmp_path):
    """Right: both of the open ones' first, one of three binary ones; an unbalanced one is none."""
    questions = {
        "1": question("red"),
        "2": question("blue"),
        "3": question("yes", types=kinds("verify")),
        "4": question("no", types=kinds("logical")),
        "5": question("left", types=kinds("choose", "rel")),
        "6": question("red", isBalanced=False),
    }
    predictions = {"1": "red", "2": "Blue", "3": "yes", "4": "yes", "5": "right", "6": "red"}
    result = scored(tmp_path, questions, predictions)
    assert result.scores["accuracy"] == 40
    assert result.scores["open"] == 50
    assert result.scores["binary"] == pytest.approx(100 / 3)
    assert result.groups["per_structural"] == {
        "choose": (0, 1),
        "logical": (0, 1),
        "query": (50, 2),
        "verify": (100, 1),
    }
    assert result.groups["per_semantic"] == {"attr": (50, 4), "rel": (0, 1)}
    assert result.to_dict()["per_semantic"] == {"attr": [50, 4], "rel": [0, 1]}


def test_groups_by_length_are_in_the_order_of_numbers(tmp_path):
    program = question()["semantic"]
    questions = {
        "1": question(question="one  two three four five six seven\teight nine ten?"),
        "2": question(question="Is it?", semantic=program[:1]),
        "3": question(question="Is it?", semantic=program * 5),
    }
    groups = scored(tmp_path, questions, {"1": "red", "2": "red", "3": "?"}).groups
    assert list(groups["per_words"].items()) == [("2", (50, 2)), ("10", (100, 1))]
    assert list(groups["per_steps"].items()) == [("1", (100, 1)), ("2", (100, 1)), ("10", (0, 1))]


@pytest.mark.parametrize(
    ("operation", "argument", "steps"),
    [
        ("select", "cup (11)", 1),
        ("exist", "?", 0),
        ("query", "name", 0),
        ("query", "color", 1),
        ("query", "hposition", 1),
        ("choose name", "cup|plate", 0),
        ("choose color", "red|blue", 1),
        ("verify", "name", 1),
        ("select", "existing thing (3)", 0),
    ],
)
def test_operations_that_count_as_steps(operation, argument, steps):
    assert count_steps([{"operation": operation, "argument": argument}]) == steps


def test_any_number_has_means_by_group(tmp_path):
    write_questions(tmp_path, {"1": question(), "2": question(types=kinds("verify", "obj"))})
    balanced = load_questions(tmp_path, "val_all").balanced
    means = mean_by_group(balanced, {"1": 2, "2": 5})
    assert set(means) == {"per_structural", "per_semantic", "per_words", "per_steps"}
    assert means["per_structural"] == {"query": GroupMean(2, 1), "verify": GroupMean(5, 1)}
    assert means["per_words"] == {"5": GroupMean(3.5, 2)}


# Validity and plausibility.


def test_validity_and_plausibility(tmp_path):
    questions = {name: question() for name in "1234"} | {"5": question(isBalanced=False)}
    write_choices(
        tmp_path,
        {name: (["red", "blue", "pink"], ["red", "blue"]) for name in "12345"},
    )
    predictions = {"1": "red", "2": "blue", "3": "pink", "4": "cup", "5": "cup"}
    scores = scored(tmp_path, questions, predictions).scores
    assert (scores["validity"], scores["plausibility"]) == (75, 50)


@pytest.mark.parametrize("detailed", ["twoCommon", "CommonThings"])
def test_what_things_have_in_common_is_an_attribute(tmp_path, detailed):
    """Whatever the choices say: only color, material and shape are valid and plausible."""
    names = ["color", "material", "shape", "size"]
    questions = {name: question(types=kinds("compare", "obj", detailed)) for name in names}
    write_choices(tmp_path, {name: (["size"], ["size"]) for name in names})
    scores = scored(tmp_path, questions, {name: name for name in names}).scores
    assert (scores["validity"], scores["plausibility"]) == (75, 75)


def test_common_is_written_with_a_capital(tmp_path):
    write_choices(tmp_path, {"1": (["size"], ["size"])})
    scores = scored(
        tmp_path, {"1": question(types=kinds(detailed="common"))}, {"1": "color"}
    ).scores
    assert (scores["validity"], scores["plausibility"]) == (0, 0)


def test_choices_of_a_tier_belong_to_all_its_splits(tmp_path):
    write_choices(tmp_path, {"1": (["red"], [])}, "testdev")
    write_choices(tmp_path, {"1": ([], ["red"])}, "val")
    for split, expected in (("testdev_balanced", (100, 0)), ("val_balanced", (0, 100))):
        scores = scored(tmp_path, {"1": question()}, {"1": "red"}, split=split).scores
        assert (scores["validity"], scores["plausibility"]) == expected


# Consistency.

#: "1" is right and entails itself, a right and a wrong one; "2" is right and entails a right one
#: twice and a wrong one; "3" is wrong, "4" entails itself only, "5" and "6" are unbalanced.
ENTAILING = {
    "1": question(entailed=["1", "5", "6"]),
    "2": question(entailed=["5", "6", "5"]),
    "3": question(entailed=["5"]),
    "4": question(entailed=["4"]),
    "5": question("yes", isBalanced=False, entailed=["6"]),
    "6": question("no", isBalanced=False),
}
ENTAILED_ANSWERS = {"1": "red", "2": "red", "3": "blue", "4": "red", "5": "yes", "6": "yes"}


def test_consistency(tmp_path):
    """(1/2 + 2/3) / 2."""
    scores = scored(tmp_path, ENTAILING, ENTAILED_ANSWERS).scores
    assert scores["consistency"] == pytest.approx(100 * 7 / 12)


def test_entailed_questions_of_a_balanced_split_are_looked_up(tmp_path):
    write_questions(tmp_path, ENTAILING, "val_all")
    balanced = {name: entry for name, entry in ENTAILING.items() if entry["isBalanced"]}
    result = scored(tmp_path, balanced, ENTAILED_ANSWERS, split="val_balanced")
    assert result.scores["consistency"] == pytest.approx(100 * 7 / 12)
    assert not any("consistency" in note or "ignored" in note for note in result.notes)


def test_without_the_entailed_questions_consistency_is_left_out(tmp_path):
    balanced = {name: entry for name, entry in ENTAILING.items() if entry["isBalanced"]}
    result = scored(tmp_path, balanced, ENTAILED_ANSWERS, split="val_balanced")
    assert "consistency" not in result.scores
    assert (
        "consistency is left out: 2 entailed questions are not in val_balanced or val_all, "
        "such as 5" in result.notes
    )


def test_without_entailed_predictions_consistency_is_left_out(tmp_path):
    predictions = {name: ENTAILED_ANSWERS[name] for name in "12345"}
    result = scored(tmp_path, ENTAILING, predictions)
    assert "consistency" not in result.scores
    assert (
        "consistency is left out: 1 entailed questions have no prediction, such as 6; "
        "predict the *_all split" in result.notes
    )


def test_what_wrong_answers_entail_is_not_needed(tmp_path):
    questions = {
        "1": question(entailed=["2"]),
        "2": question("yes"),
        "3": question(entailed=["8"]),
        "8": question(isBalanced=False),
    }
    result = scored(tmp_path, questions, {"1": "red", "2": "no", "3": "blue"})
    assert result.scores["consistency"] == 0
    assert not any("consistency" in note for note in result.notes)


def test_means_over_no_questions_are_zero_and_said_so(tmp_path):
    result = scored(tmp_path, {"1": question()}, {"1": "red"})
    assert (result.scores["consistency"], result.scores["binary"]) == (0, 0)
    for name in ("consistency", "binary"):
        assert f"{name} is 0 because it is a mean over no questions" in result.notes


# Distribution.


def test_distribution(tmp_path):
    """Group A, gold 3 red and 1 blue, given 1 red and 3 green: χ² = 4/3 + 1; group B of 2: 0.

    (4 · 7/3 + 2 · 0) / 6 / 100. The question without a group would add to it.
    """
    a, b, none = ({"global": group, "local": None} for group in ("A", "B", None))
    questions = {
        **{name: question("red", groups=a) for name in "123"},
        "4": question("blue", groups=a),
        "5": question("yes", groups=b),
        "6": question("no", groups=b),
        "7": question("red", groups=none),
        "8": question("red", groups=a, isBalanced=False),
    }
    given_answers = ["red", "green", "green", "green", "no", "yes", "blue", "blue"]
    predictions = dict(zip(questions, given_answers, strict=True))
    scores = scored(tmp_path, questions, predictions).scores
    assert scores["distribution"] == pytest.approx(14 / 9 / 100)


def test_distribution_without_groups_is_left_out(tmp_path):
    questions = {"1": question(groups={"global": None, "local": None}), "2": question(groups={})}
    result = scored(tmp_path, questions, {"1": "red", "2": "red"})
    assert "distribution" not in result.scores
    assert "distribution is left out: no question has a global group" in result.notes


# Grounding.


def spot(i, j, size=7, weight=1.0):
    """A map with all attention in one cell."""
    attention = np.zeros((size, size))
    attention[i][j] = weight
    return attention.tolist()


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        (spot(1, 2), 100),  # x in 10..20, y in 20..30: inside
        (spot(2, 1), 0),  # the first index is x
        (spot(3, 3), 25),  # a quarter of it
        (spot(3, 2, weight=0.5), 25),  # half of half the attention
        (np.full((7, 7), 1 / 49).tolist(), 100 * 2.5 * 1.5 / 49),
        (spot(0, 0, size=2), 100 * (25 * 15) / (35 * 35)),
    ],
)
def test_grounding_of_a_map(tmp_path, attention, expected):
    """The image is 70 × 70, the object covers 10..35 × 20..35."""
    write_scenes(tmp_path, {"7": scene({"11": (10, 20, 25, 15)})})
    questions = {"1": question(annotations=pointers(asked=["11"]))}
    scores = scored(tmp_path, questions, {"1": "red"}, [("1", attention)]).scores
    assert scores["grounding"] == pytest.approx(expected)


def test_grounding_of_objects(tmp_path):
    """The object covers 0.1..0.5 × 0.4..0.8 of an image of 100 × 50."""
    write_scenes(tmp_path, {"7": scene({"11": (10, 20, 40, 20)}, width=100, height=50)})
    attention = [
        [0.1, 0.4, 0.5, 0.8, 0.5],  # the object itself
        [0.3, 0.4, 0.7, 0.8, 0.3],  # half outside
        [0.0, 0.0, 1.0, 1.0, 0.1],  # the whole image: 0.16 of it
        [0.6, 0.0, 1.0, 1.0, 0.1],  # beside it
        [0.0, 0.0, 0.0, 0.0, 9.0],  # padding
    ]
    questions = {"1": question(annotations=pointers(asked=["11"]))}
    scores = scored(tmp_path, questions, {"1": "red"}, [("1", attention)]).scores
    assert scores["grounding"] == pytest.approx(100 * (0.5 + 0.15 + 0.016))


def test_every_pointer_of_question_and_full_answer_counts(tmp_path):
    """Not those of the short answer; an object that both point at counts twice."""
    write_scenes(
        tmp_path,
        {"7": scene({"11": (0, 0, 10, 10), "12": (0, 0, 5, 10), "13": (0, 0, 70, 70)}), "8": {}},
    )
    annotations = {**pointers(["11", "12"], ["11"]), "answer": {"0": "13"}}
    scores = scored(
        tmp_path, {"1": question(annotations=annotations)}, {"1": "red"}, [("1", spot(0, 0))]
    ).scores
    assert scores["grounding"] == pytest.approx(250)


def test_boxes_past_the_edge_are_not_clipped(tmp_path):
    """The object covers -0.5..0.5 × 0..1; the second cell lies where the image does not."""
    write_scenes(tmp_path, {"7": scene({"11": (-35, 0, 70, 70)})})
    questions = {name: question(annotations=pointers(["11"])) for name in "12"}
    attentions = [
        ("1", np.full((7, 7), 1 / 49)),
        ("2", np.array([[-0.4, 0, -0.2, 1, 0.25], [0, 0, 1, 1, 0.5]])),
    ]
    scores = scored(tmp_path, questions, {"1": "red", "2": "red"}, attentions).scores
    assert scores["grounding"] == pytest.approx(100 * (0.5 + 0.5) / 2)


def test_the_whole_scene_is_no_region(tmp_path):
    """A question that points at nothing counts with 0, even when it speaks of the scene."""
    program = [{"operation": "select", "argument": "scene", "dependencies": []}]
    write_scenes(tmp_path, {"7": scene({"11": (0, 0, 70, 70)})})
    questions = {
        "1": question(semantic=program, annotations=pointers()),
        "2": question(annotations=pointers(["11"])),
        "3": question(isBalanced=False),
    }
    attentions = [("2", spot(1, 1)), ("1", spot(1, 1)), ("3", spot(0, 0)), ("unknown", None)]
    scores = scored(tmp_path, questions, dict.fromkeys("12", "red"), attentions).scores
    assert scores["grounding"] == pytest.approx(50)


def test_no_attention_is_on_nothing():
    assert attention_on([Box(0, 0, 1, 1)], cells([])) == 0
    assert attention_on([], cells(spot(0, 0))) == 0


@pytest.mark.parametrize(
    "attention",
    [[[1, 2], [3]], [[1, 2, 3]], [0.5], [[None] * 5], [["a"] * 5], [[float("nan")] * 5], {"a": 1}],
    ids=str,
)
def test_attentions_of_no_known_shape_are_refused(tmp_path, attention):
    write_scenes(tmp_path, {"7": scene({"11": (0, 0, 70, 70)})})
    with pytest.raises(UserError, match="the attention of question 1: "):
        scored(tmp_path, {"1": question()}, {"1": "red"}, [("1", attention)])


@pytest.mark.parametrize(
    ("scenes", "attentions", "message"),
    [
        ({"7": scene({"11": (0, 0, 1, 1)})}, [], "1 questions have no attention, such as 1"),
        (
            {"7": scene({"11": (0, 0, 1, 1)})},
            [("1", []), ("1", [])],
            "attention of question 1 is given twice",
        ),
        ({"8": scene({})}, [], "1 images have no scene graph, such as 7"),
        ({"7": scene({})}, [], r"sceneGraphs\.json: 7: objects has no field '11'"),
        ({"7": scene({"11": "...."})}, [], "object 11: field 'x' is '.', not int"),
        ({"7": scene({}, width=0)}, [], "the image is 0 wide and 70 high"),
        ({"7": []}, [], "7 is not an object"),
    ],
)
def test_scenes_and_attentions_that_do_not_fit(tmp_path, scenes, attentions, message):
    write_scenes(tmp_path, scenes)
    with pytest.raises(UserError, match=message):
        scored(tmp_path, {"1": question()}, {"1": "red"}, attentions)


def test_questions_without_annotations_have_no_grounding(tmp_path):
    bare = question()
    del bare["annotations"]
    assert scored(tmp_path, {"1": bare}, {"1": "red"}).scores["accuracy"] == 100
    write_scenes(tmp_path, {})
    with pytest.raises(UserError, match="question 1 has no annotations"):
        scored(tmp_path, {"1": bare}, {"1": "red"}, [("1", spot(0, 0))])


# What is missing or broken.


def test_what_cannot_be_computed_is_left_out_and_said_so(tmp_path):
    result = scored(tmp_path, {"1": question()}, {"1": "red"})
    assert not {"validity", "plausibility", "grounding"} & set(result.to_dict())
    assert "grounding is left out: no attentions were given (attentions=PATH)" in result.notes
    choices = tmp_path / "questions" / "val_choices.json"
    assert f"validity and plausibility are left out: there is no {choices}" in result.notes
    result = scored(tmp_path, {"1": question()}, {"1": "red"}, [("1", spot(0, 0))])
    scenes = tmp_path / "sceneGraphs" / "val_sceneGraphs.json"
    assert "grounding" not in result.scores
    assert f"grounding is left out: there is no {scenes}" in result.notes


def test_predictions_of_unknown_questions_are_counted(tmp_path):
    result = scored(tmp_path, {"1": question()}, {"1": "red", "8": "red", "9": "red"})
    message = "2 predictions are for questions that val_all does not need: ignored"
    assert result.notes[0] == message
    assert result.scores["accuracy"] == 100


def test_balanced_questions_need_predictions(tmp_path):
    questions = {name: question() for name in "123"} | {"0": question(isBalanced=False)}
    message = "2 of 3 balanced questions of val_all have no prediction, such as 2"
    with pytest.raises(UserError, match=message):
        scored(tmp_path, questions, {"1": "red"})


def test_questions_need_choices_if_others_have_them(tmp_path):
    write_choices(tmp_path, {"1": ([], [])})
    with pytest.raises(UserError, match="1 questions have no choices, such as 2"):
        scored(tmp_path, {"1": question(), "2": question()}, {"1": "red", "2": "red"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"isBalanced": 1}, "field 'isBalanced' is 1, not bool"),
        ({"answer": None}, "field 'answer' is None, not str"),
        ({"types": {"structural": "query"}}, "1: types has no field 'semantic'"),
        ({"groups": {"global": 3}}, "1: groups: field 'global' is 3, not str"),
        ({"semantic": [{"operation": "exist"}]}, "1: semantic has no field 'argument'"),
        ({"entailed": [5]}, "1: entailed: 5 is no id"),
        ({"annotations": {"question": {}}}, "1: annotations has no field 'fullAnswer'"),
    ],
)
def test_annotations_of_another_kind(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        scored(tmp_path, {"1": question(**changes)}, {"1": "red"})


def test_questions_without_answers_cannot_be_scored(tmp_path):
    entry = question()
    del entry["answer"]
    with pytest.raises(UserError, match="1 has no answer: this split cannot be scored"):
        scored(tmp_path, {"1": entry}, {"1": "red"})


def test_nothing_balanced_is_nothing_to_score(tmp_path):
    with pytest.raises(UserError, match="no question has isBalanced"):
        scored(tmp_path, {"1": question(isBalanced=False)}, {"1": "red"})


def test_a_question_that_comes_twice(tmp_path):
    path = write_questions(tmp_path, {"1": question()})
    text = json.dumps(question())
    path.write_text(f'{{"1": {text}, "1": {text}}}')
    with pytest.raises(UserError, match="1 comes twice in val_all"):
        load_questions(tmp_path, "val_all")


# Theorems.

ANSWERS = ["red", "blue", "yes", "color"]


@st.composite
def examples(draw):
    """Up to twelve questions with predictions and choices; any may entail any."""
    names = [str(number) for number in range(draw(st.integers(1, 12)))]
    some = st.lists(st.sampled_from(names), max_size=4).map(tuple)
    questions = {
        name: GQAQuestion(
            answer=draw(st.sampled_from(ANSWERS)),
            structural=draw(st.sampled_from(["query", "verify"])),
            semantic="attr",
            words=draw(st.integers(1, 3)),
            steps=draw(st.integers(1, 3)),
            group=draw(st.sampled_from([None, "A", "B"])),
            common=draw(st.booleans()),
            entailed=draw(some),
            image="7",
            objects=draw(some),
        )
        for name in names
    }
    predictions = {name: draw(st.sampled_from(ANSWERS)) for name in names}
    subset = st.lists(st.sampled_from(ANSWERS))
    choices = {name: {"valid": draw(subset), "plausible": draw(subset)} for name in names}
    return questions, predictions, choices


def everything(questions, predictions, choices):
    """All metrics of questions in memory, whose objects have boxes by their number."""
    right = right_answers(questions, predictions)
    answers = {name: entry.answer for name, entry in questions.items()}
    boxes = {("7", name): Box(0, 0, 1 / (2 + int(name)), 1 / 3) for name in questions}
    attentions = [(name, spot(0, int(name) % 3, weight=0.7)) for name in questions]
    return {
        **accuracies(questions, right),
        **mean_by_group(questions, right),
        **fit(questions, predictions, [("", *pair) for pair in choices.items()])._asdict(),
        "consistency": consistency(entailed_by_right(questions, right), predictions, answers),
        "distribution": distribution(questions, predictions),
        "grounding": grounding(questions, boxes, attentions),
    }


@given(examples(), st.randoms(use_true_random=False))
def test_the_order_of_the_questions_changes_nothing(example, random):
    questions, predictions, choices = example
    names = list(questions)
    random.shuffle(names)
    shuffled = [{name: part[name] for name in names} for part in (questions, choices)]
    assert everything(shuffled[0], predictions, shuffled[1]) == everything(*example)


@given(examples())
def test_perfect_predictions_have_perfect_scores(example):
    questions, _, choices = example
    found = everything(questions, {name: q.answer for name, q in questions.items()}, choices)
    assert found["accuracy"] == 100
    assert {found["open"], found["binary"], found["consistency"]} <= {100, None}
    assert found["distribution"] in (0, None)


@given(examples())
def test_metrics_stay_in_their_ranges(example):
    found = everything(*example)
    for name in ("accuracy", "open", "binary", "consistency", "validity", "plausibility"):
        assert found[name] is None or 0 <= found[name] <= 100
    assert found["distribution"] is None or found["distribution"] >= 0
    most = max(len(entry.objects) for entry in example[0].values())
    assert 0 <= found["grounding"] <= 70 * most + 1e-9


@given(examples())
def test_accuracy_is_the_mean_of_its_groups(example):
    found = everything(*example)
    for name in ("per_structural", "per_words", "per_steps"):
        groups = found[name].values()
        assert sum(group.questions for group in groups) == len(example[0])
        total = sum(group.mean * group.questions for group in groups)
        assert 100 * total / len(example[0]) == pytest.approx(found["accuracy"])


@given(st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4))
def test_a_region_and_its_parts_hold_the_same_attention(numbers):
    (x0, x1), (y0, y1) = sorted(numbers[:2]), sorted(numbers[2:])
    attention = cells(np.arange(49.0).reshape(7, 7))
    columns = [(0, x0), (x0, x1), (x1, 1)]
    rows = [(0, y0), (y0, y1), (y1, 1)]
    parts = [Box(a, c, b, d) for (a, b), (c, d) in itertools.product(columns, rows)]
    assert attention_on(parts, attention) == pytest.approx(np.arange(49.0).sum())
    assert attention_on([Box(0, 0, 1, 1)], attention) == pytest.approx(np.arange(49.0).sum())
