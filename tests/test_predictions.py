"""Predictions of a split on disk."""

import json
from types import SimpleNamespace

import pytest
import torch
from conftest import everything_in

from dact.errors import UserError
from dact.lit_module import Prediction
from dact.predictions import AttentionWriter, PredictionWriter, SubmissionWriter


def record(number, answer):
    return SimpleNamespace(question_id=number, image="a.png", question="Why “so”?", answer=answer)


def process(rank=0, world_size=1):
    """What a writer knows of the trainer."""
    strategy = SimpleNamespace(barrier=lambda name: None)
    return SimpleNamespace(
        global_rank=rank, world_size=world_size, is_global_zero=rank == 0, strategy=strategy
    )


def written(writer, batches, trainer=None):
    """Feed outputs to a writer."""
    writer.on_predict_start(trainer or process(), None)
    for outputs in batches:
        writer.on_predict_batch_end(None, None, outputs, None, 0)


def outputs(positions):
    count = len(positions)
    return Prediction(
        torch.tensor(positions),
        torch.arange(count) % 2,
        torch.full((count,), 0.123456789),
        torch.full((count,), 3),
        torch.arange(2 * count).reshape(count, 2) / 8,
    )


def make_writer(path):
    answers = {4: "no", 5: None}
    return PredictionWriter(
        path, lambda positions: [record(one, answers.get(one, "yes")) for one in positions], "ab"
    )


def test_a_line_says_all_there_is_to_say(tmp_path):
    writer = make_writer(tmp_path / "new" / "x.jsonl")
    written(writer, [outputs([3, 4]), outputs([5])])
    assert not writer.path.exists()
    writer.on_predict_end(process(), None)
    text = writer.path.read_text("utf-8")
    assert "“so”" in text
    lines = [json.loads(line) for line in text.splitlines()]
    common = {"image": "a.png", "question": "Why “so”?", "confidence": 0.123457, "steps": 3}
    assert lines == [
        {"question_id": 3, "prediction": "a", "answer": "yes", **common},
        {"question_id": 4, "prediction": "b", "answer": "no", **common},
        {"question_id": 5, "prediction": "a", **common},
    ]
    assert everything_in(tmp_path) == ["new", "new/x.jsonl"]


def test_a_submission_is_one_array(tmp_path):
    for positions in ([3, 4, 5], [7]):
        writer = SubmissionWriter(
            tmp_path / "s.json", lambda places: [record(str(one), None) for one in places], "ab"
        )
        written(writer, [outputs(positions)])
        writer.on_predict_end(process(), None)
        wanted = [
            {"questionId": str(one), "prediction": "ab"[i % 2]} for i, one in enumerate(positions)
        ]
        assert json.loads(writer.path.read_text()) == wanted


def test_attentions_are_one_array_in_dataset_order(tmp_path):
    writer = AttentionWriter(
        tmp_path / "a.json",
        lambda places: [record(str(one), None) for one in places],
        lambda places, attention: attention.tolist(),
    )
    written(writer, [outputs([5, 3])])
    writer.on_predict_end(process(), None)
    assert json.loads(writer.path.read_text()) == [
        {"questionId": "3", "attention": [0.25, 0.375]},
        {"questionId": "5", "attention": [0.0, 0.125]},
    ]


@pytest.mark.parametrize(("count", "processes"), [(7, 1), (7, 2), (6, 2), (7, 3), (1, 3)])
def test_the_file_is_in_dataset_order(tmp_path, count, processes):
    """Whichever process answered a question, and whenever."""
    path = tmp_path / "x.jsonl"
    writers = [make_writer(path) for _ in range(processes)]
    order = torch.randperm(count).tolist()
    for rank, writer in enumerate(writers):
        shard = order[rank::processes]
        batches = [outputs(shard[:2]), outputs(shard[2:])]
        written(writer, batches, process(rank, processes))
    for rank in reversed(range(processes)):
        writers[rank].on_predict_end(process(rank, processes), None)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["question_id"] for line in lines] == list(range(count))
    assert everything_in(tmp_path) == ["x.jsonl"]


def test_a_stopped_prediction_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    writer = make_writer(path)
    written(writer, [outputs([3, 4])])
    writer.on_exception(None, None, KeyboardInterrupt())
    assert path.read_text() == "old"
    assert everything_in(tmp_path) == ["x.jsonl"]


@pytest.mark.faults(
    "two runs write one file of predictions",
    tried="the second begins while the first writes, and when it has ended",
    happened="the second is refused in one line, or replaces a whole file by a whole file",
)
def test_two_runs_do_not_write_one_file(tmp_path):
    path = tmp_path / "x.jsonl"
    first, second = make_writer(path), make_writer(path)
    written(first, [outputs([3, 4])])
    for process_of_second in (process(0), process(0, 2)):
        with pytest.raises(UserError, match=r"x\.jsonl is being written by another run: give"):
            second.on_predict_start(process_of_second, None)
        second.on_exception(None, None, UserError())
    first.on_predict_end(process(), None)
    assert [json.loads(line)["question_id"] for line in path.read_text().splitlines()] == [3, 4]
    written(second, [outputs([7])])
    second.on_predict_end(process(), None)
    assert [json.loads(line)["question_id"] for line in path.read_text().splitlines()] == [7]
    assert everything_in(tmp_path) == ["x.jsonl"]


def test_an_exception_before_the_first_line_is_harmless(tmp_path):
    make_writer(tmp_path / "x.jsonl").on_exception(None, None, KeyboardInterrupt())
    assert everything_in(tmp_path) == []


@pytest.mark.faults(
    "places that cannot be written",
    tried="features, predictions, run folders: a file where a folder should be",
    happened="one line",
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(trained, evaluate, tmp_path):
    (tmp_path / "file").touch()
    for name in ("", "/file/x.jsonl"):
        with pytest.raises(UserError, match=r"^predictions=.* cannot be written: "):
            evaluate(
                "mode=predict",
                f"ckpt_path={trained.dact.last}",
                f"predictions={tmp_path}{name}",
            )
