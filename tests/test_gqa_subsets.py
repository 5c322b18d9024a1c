"""Any part of a GQA split is scored with the files of the official split that it is from."""

import json
import sys

import evaluate_gqa
import pytest
from gqa_examples import question, write, write_choices, write_predictions, write_questions

from dact.gqa_metrics import Given, evaluate, load_questions, read_predictions
from dact.one_line import one_line_errors

EVERYTHING = dict.fromkeys(("accuracy", "consistency", "validity", "plausibility"), 100.0)


@pytest.fixture(scope="module")
def predictions(gqa_root, tmp_path_factory):
    """Every right answer of two tiers."""
    answers = {}
    for split in ("testdev_all", "val_all"):
        entries = json.loads((gqa_root / f"questions/{split}_questions.json").read_text())
        answers |= {name: entry["answer"] for name, entry in entries.items()}
    return write_predictions(tmp_path_factory.mktemp("p") / "p.json", answers)


@pytest.fixture
def root(gqa_root, tmp_path):
    """A root of its own with the files of another one."""
    folder = tmp_path / "root" / "questions"
    folder.mkdir(parents=True)
    for path in (gqa_root / "questions").iterdir():
        (folder / path.name).symlink_to(path)
    return folder.parent


def half(root, split, name):
    """Every other question of a split under another name."""
    entries = json.loads((root / f"questions/{split}_questions.json").read_text())
    part = dict(list(entries.items())[::2])
    write_questions(root, part, name)
    return part


def scored(root, split, predictions, **more):
    questions = load_questions(root, split)
    result = evaluate(questions, read_predictions(predictions).answers, **more)
    return {name: result.scores.get(name) for name in EVERYTHING}, result.notes


@pytest.mark.parametrize("source", ["testdev_balanced", "testdev_all", "val_balanced"])
@pytest.mark.parametrize("name", ["ood_testdev_tail", "testdev_tail", "mine", "val_head"])
def test_right_answers_to_a_part_are_right_everywhere(root, predictions, source, name):
    half(root, source, name)
    scores, notes = scored(root, name, predictions)
    assert scores == EVERYTHING
    tier = source.partition("_")[0]
    assert any(f"of {name} are questions of {tier}, by their ids" in note for note in notes)


def test_a_part_of_two_tiers_uses_the_files_of_both(root, predictions):
    parts = [half(root, f"{tier}_balanced", f"{tier}_x") for tier in ("val", "testdev")]
    write_questions(root, parts[0] | parts[1], "both")
    scores, notes = scored(root, "both", predictions)
    assert scores == EVERYTHING
    assert any("are questions of testdev, val, by their ids" in note for note in notes)


def test_official_splits_are_known_by_name(root, predictions):
    scores, notes = scored(root, "testdev_balanced", predictions)
    assert scores == EVERYTHING
    assert not any("by their ids" in note for note in notes)


def test_other_questions_under_the_same_ids_are_not_taken_for_them(tmp_path):
    """Their split is named after val: its choices are used."""
    write_questions(tmp_path, {"1": question("red"), "2": question("blue")}, "testdev_balanced")
    write_questions(tmp_path, {"1": question("pink"), "2": question("blue", imageId="8")}, "val_x")
    write_choices(tmp_path, dict.fromkeys("12", (["none"], ["none"])), "testdev")
    write_choices(tmp_path, dict.fromkeys("12", (["pink", "blue"], ["pink"])), "val")
    given = write_predictions(tmp_path / "p.json", {"1": "pink", "2": "blue"})
    scores, notes = scored(tmp_path, "val_x", given)
    assert (scores["validity"], scores["plausibility"]) == (100, 50)
    assert not any("by their ids" in note for note in notes)


def test_questions_of_the_user_beside_those_of_another_tier_have_choices_too(tmp_path):
    """Their choices are in the file of the tier that their split is named after."""
    write_questions(tmp_path, {"1": question("red")}, "testdev_balanced")
    write_questions(tmp_path, {"1": question("red"), "own": question("blue")}, "val_x")
    for tier in ("testdev", "val"):
        write_choices(tmp_path, dict.fromkeys(("1", "own"), (["red", "blue"], [])), tier)
    given = write_predictions(tmp_path / "p.json", {"1": "red", "own": "blue"})
    scores, notes = scored(tmp_path, "val_x", given)
    assert scores["validity"] == 100
    assert any("those in no official split, such as own, need others" in note for note in notes)


def test_questions_that_were_unbalanced_are_found_in_the_whole_split(tmp_path):
    asked = {"1": question("red"), "2": question("blue", isBalanced=False)}
    write_questions(tmp_path, {"1": asked["1"]}, "val_balanced")
    write_questions(tmp_path, asked, "val_all")
    write_questions(tmp_path, {"2": question("blue")}, "mine")
    write_choices(tmp_path, {"2": (["blue"], ["blue"])})
    given = write_predictions(tmp_path / "p.json", {"2": "blue"})
    scores, _ = scored(tmp_path, "mine", given)
    assert scores["validity"] == scores["plausibility"] == 100


def test_entailed_questions_are_found_beside_a_part_in_a_file_of_an_official_name(tmp_path):
    asked = {"1": question("red", entailed=["2"]), "2": question("blue")}
    write_questions(tmp_path, asked, "val_all")
    part = write(tmp_path / "elsewhere" / "val_all_questions.json", {"1": asked["1"]})
    given = write_predictions(tmp_path / "p.json", {"1": "red", "2": "blue"})
    questions = load_questions(tmp_path, "val_all", files=[part])
    result = evaluate(questions, read_predictions(given).answers)
    assert result.scores["consistency"] == 100


def test_files_can_be_named(tmp_path, monkeypatch, capsys):
    asked = {"1": question("red", entailed=["2"])}
    files = {
        "questions": write(tmp_path / "a" / "tail_questions.json", asked),
        "choices": write(tmp_path / "c.json", {"1": {"valid": ["red"], "plausible": []}}),
        "all-questions": write(tmp_path / "all.json", asked | {"2": question("blue")}),
    }
    given = write_predictions(tmp_path / "p.json", {"1": "red", "2": "blue"})
    output = tmp_path / "m.json"
    usual = ["--root", tmp_path, "--predictions", given, "--output", output]
    named = [word for name, path in files.items() for word in (f"--{name}", path)]
    monkeypatch.setattr(sys, "argv", list(map(str, ["evaluate_gqa.py", *usual, *named])))
    evaluate_gqa.main()
    found = json.loads(output.read_text())
    assert found["consistency"] == found["validity"] == 100
    assert found["plausibility"] == 0
    assert "tail: 1 questions" in capsys.readouterr().out
    for more, said in ((usual, "give --split, or --questions"), ([*usual, *named], "--choices")):
        files["choices"].unlink(missing_ok=True)
        monkeypatch.setattr(sys, "argv", list(map(str, ["evaluate_gqa.py", *more])))
        assert one_line_errors(evaluate_gqa.main) == 1
        assert said in capsys.readouterr().err
    assert Given() == (None, None, None)
