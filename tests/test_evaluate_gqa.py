"""The program that scores predictions for GQA: files in, files out, one line for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import evaluate_gqa
import pytest
from gqa_examples import (
    pointers,
    question,
    scene,
    write,
    write_attentions,
    write_choices,
    write_predictions,
    write_questions,
    write_scenes,
)

from dact.errors import UserError

QUESTIONS = {
    "01": question("red", entailed=["02", "03"], annotations=pointers(["11"])),
    "02": question("blue"),
    "03": question("yes", isBalanced=False),
    "04": question("no", types={"structural": "verify", "semantic": "obj", "detailed": "exist"}),
}
PREDICTIONS = {"01": "red", "02": "pink", "03": "yes", "04": "no"}
METRICS = ["accuracy", "binary", "open", "consistency"]
METRICS += ["validity", "plausibility", "distribution", "grounding"]
GROUPS = ["per_structural", "per_semantic", "per_words", "per_steps"]


class Evaluator:
    """The program on a folder of GQA."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.root, self.monkeypatch = folder, folder / "gqa", monkeypatch
        self.predictions = folder / "predictions.json"
        self.attentions = folder / "attentions.json"
        self.output = folder / "made" / "here" / "metrics.json"
        write_questions(self.root, QUESTIONS)
        write_choices(self.root, {name: (["red", "pink", "no"], ["red"]) for name in QUESTIONS})
        write_scenes(self.root, {"7": scene({"11": (0, 0, 35, 70)})})
        write_predictions(self.predictions, PREDICTIONS)
        write_attentions(
            self.attentions, {name: [[0, 0, 1, 1, 0.5], [0, 0, 0.5, 1, 0.5]] for name in QUESTIONS}
        )

    def arguments(self, *more):
        return [
            *("--root", str(self.root), "--split", "val_all"),
            *("--predictions", str(self.predictions), "--output", str(self.output), *more),
        ]

    def __call__(self, *more):
        """What the program writes."""
        self.monkeypatch.setattr(sys, "argv", ["evaluate_gqa.py", *self.arguments(*more)])
        evaluate_gqa.main()
        return json.loads(self.output.read_text())

    def refusal(self, *more):
        """The one line that it ends with, having written nothing."""
        with pytest.raises(UserError) as raised:
            self(*more)
        assert not self.output.is_file()
        assert "\n" not in str(raised.value)
        return str(raised.value)


@pytest.fixture
def evaluator(tmp_path, monkeypatch):
    return Evaluator(tmp_path, monkeypatch)


def test_every_metric_is_written(evaluator, capsys):
    """A region of half the image holds 0.5 · 0.5 + 0.5 · 1; 02 and 04 point at it twice."""
    metrics = evaluator("--attentions", str(evaluator.attentions))
    assert list(metrics) == [*METRICS, *GROUPS]
    assert [metrics[name] for name in METRICS] == pytest.approx(
        [200 / 3, 100, 50, 50, 100, 100 / 3, 0.01, 100 * (0.75 + 1.5 + 1.5) / 3]
    )
    assert metrics["per_semantic"] == {"attr": [50, 2], "obj": [100, 1]}
    assert [path.name for path in evaluator.output.parent.iterdir()] == ["metrics.json"]
    shown = capsys.readouterr().out
    assert "66.67 %" in shown
    assert shown.count("note") == 1  # of pink, which is no answer here


def test_what_is_left_out_is_neither_written_nor_zero(evaluator, capsys):
    (evaluator.root / "questions" / "val_choices.json").unlink()
    metrics = evaluator()
    assert set(metrics) == {*METRICS, *GROUPS} - {"validity", "plausibility", "grounding"}
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    assert "1 of 3 predictions are no answer" in notes[2]
    assert "validity and plausibility are left out" in notes[0]
    assert notes[1] == "note: grounding is left out: no attentions were given (attentions=PATH)"


@pytest.mark.parametrize("name", ["val_all_questions", "val_all_questions.json"])
def test_a_folder_of_shards_equals_one_file(evaluator, name):
    whole = evaluator("--attentions", str(evaluator.attentions))
    questions = evaluator.root / "questions"
    (questions / "val_all_questions.json").unlink()
    for number, part in enumerate((["04", "01"], ["03"], ["02"])):
        shard = questions / name / f"val_all_questions_{number}.json"
        write(shard, {question_id: QUESTIONS[question_id] for question_id in part})
    (questions / name / "._val_all_questions_0.json").write_text("of the file system")
    assert evaluator("--attentions", str(evaluator.attentions)) == whole


def test_a_question_in_two_shards_is_refused(evaluator):
    (evaluator.root / "questions" / "val_all_questions.json").unlink()
    for name in "ab":
        write(evaluator.root / "questions" / "val_all_questions" / f"{name}.json", QUESTIONS)
    assert "b.json: 01 comes twice in val_all" in evaluator.refusal()


@pytest.mark.parametrize("name", ["predictions.jsonl", "mine.json"])
def test_lines_of_our_own_equal_a_submission_and_have_steps(evaluator, name):
    metrics = evaluator()
    evaluator.predictions = evaluator.folder / name
    lines = [
        {"question_id": name, "image": "7", "prediction": answer, "steps": 3}
        for name, answer in PREDICTIONS.items()
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    evaluator.predictions.write_text(text + "\n\n")
    with_steps = evaluator()
    assert with_steps.pop("steps_per_structural") == {"query": [3.0, 2], "verify": [3.0, 1]}
    for grouping in ("semantic", "words", "steps"):
        groups = with_steps.pop(f"steps_per_{grouping}")
        assert {mean for mean, _ in groups.values()} == {3.0}
    assert with_steps == metrics


def test_an_older_result_is_replaced(evaluator):
    write(evaluator.output, {"accuracy": "old"})
    assert evaluator()["accuracy"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"questionId": "01", "prediction": "red"}', "broken JSON after entry 0"),
        ('{"01": "red"}', "is no JSON array"),
        ("", "is no JSON array"),
        ('["red"]', "entry 0 is not an object"),
        ('[{"questionId": 1, "prediction": "red"}]', "'questionId' is 1, not str"),
        ('[{"questionId": "01"}]', "entry 0 has no field 'prediction'"),
        ("[]", "3 of 3 balanced questions of val_all have no prediction, such as 01"),
    ],
)
def test_predictions_that_cannot_be_read(evaluator, text, message):
    evaluator.predictions.write_text(text)
    assert message in evaluator.refusal()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"question_id": "01", "prediction": "red"}\n{"a"', "line 2 is no JSON"),
        (b'{"questionId": "01", "prediction": "red"}', "line 1 has no field 'question_id'"),
        (b"\xff", "the text after line 0 is not UTF-8"),
    ],
)
def test_lines_that_cannot_be_read(evaluator, text, message):
    evaluator.predictions = evaluator.folder / "predictions.jsonl"
    evaluator.predictions.write_bytes(text)
    assert message in evaluator.refusal()


def test_a_question_that_is_predicted_twice(evaluator):
    entry = {"questionId": "02", "prediction": "red"}
    write(evaluator.predictions, [entry, entry])
    assert "entry 1: question 02 has been predicted before" in evaluator.refusal()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no JSON object"),
        ('{"01": {"answer": "red"', "broken JSON in its first entry"),
        ('{"01": "red"}', "01 is not an object"),
    ],
)
def test_questions_that_cannot_be_read(evaluator, text, message):
    (evaluator.root / "questions" / "val_all_questions.json").write_text(text)
    assert message in evaluator.refusal()


def test_files_that_are_not_there(evaluator):
    message = evaluator.refusal("--split", "test_all")
    assert "neither test_all_questions.json" in message
    assert message.endswith("splits that are there: val_all")
    assert "nowhere.json: no such file" in evaluator.refusal("--attentions", "nowhere.json")
    evaluator.root = evaluator.folder / "empty"
    assert evaluator.refusal().endswith("splits that are there: none")
    evaluator.predictions = evaluator.folder / "nothing.json"
    assert "nothing.json: no such file" in evaluator.refusal()


def test_places_that_cannot_be_written(evaluator):
    evaluator.output = evaluator.folder
    assert "it is a folder" in evaluator.refusal()
    evaluator.output = evaluator.predictions / "metrics.json"
    assert "metrics.json cannot be written: " in evaluator.refusal()


def test_a_mistake_ends_the_program_with_one_line(evaluator):
    write_predictions(evaluator.predictions, {"01": "red"})
    script = Path(evaluate_gqa.__file__)
    command = [sys.executable, str(script), *evaluator.arguments()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "error: 2 of 3 balanced questions of val_all have no prediction, such as 02\n"
    )
