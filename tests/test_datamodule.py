import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from clevr_files import (
    make_questions,
    make_scene,
    positions,
    ready,
    same,
    write_clevr,
    write_grid,
    write_questions,
)

from dact.batch import VQABatch
from dact.datamodules import CLEVRDataModule, Vocabulary
from dact.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_clevr(tmp_path / "clevr")


def test_what_is_known_after_setup(root: Path) -> None:
    module = ready(root)
    assert module.feature_dim == 18
    assert module.feature_kind == "objects"
    assert module.vocabulary.answer_names == ["2", "yes", "no", "metal"]
    assert module.vocabulary.encode(["How", "many", "Is", "sphere"])[:2] == [1, 2]
    assert module.type_names == module.dataset("val").questions.type_names
    assert module.has_answers("val")
    assert len(module.dataset("train")) == 35
    assert len(module.dataset("val")) == 15
    record = module.records("val", torch.tensor([4]))[0]
    assert record == (4, "CLEVR_val_000001.png", "How many things are there?", "2")


def test_batches_hold_what_the_files_hold(root: Path) -> None:
    module = ready(root, batch_size=11)
    questions = make_questions("train", 7, 5)
    vocabulary = module.vocabulary
    words = ["<padding>", *vocabulary.words]
    for batch in module.train_dataloader():
        assert batch.features.shape[0] == len(batch.num_cells) == len(set(batch_images(batch)))
        for row, position in enumerate(batch.positions.tolist()):
            length = int(batch.lengths[row])
            text = " ".join(words[token] for token in batch.tokens[row, :length])
            question = questions[position]
            assert text == question["question"].replace("?", " ?").replace(";", " ;")
            assert not batch.tokens[row, length:].any()
            assert vocabulary.answer_names[batch.answers[row]] == question["answer"]
            assert int(batch.program_lengths[row]) == len(question["program"])
            image = int(batch.image_index[row])
            cells = int(batch.num_cells[image])
            objects = make_scene(question["image_index"], 1 + question["image_index"] % 4)
            assert cells == len(objects["objects"])
            assert (batch.features[image, :cells, :15].sum(-1) == 4).all()
            assert not batch.features[image, cells:].any()
            # The height and the coordinate y belong to the image alone.
            y = 0.8 * batch.features[image, 0, 15] - 0.6 * batch.features[image, 0, 16]
            assert float(y) * 3 == pytest.approx(0.1 * question["image_index"], abs=1e-6)


def batch_images(batch: VQABatch) -> list[bytes]:
    return [features.numpy().tobytes() for features in batch.features]


def test_types_and_dtypes(root: Path) -> None:
    batch = next(iter(ready(root).val_dataloader()))
    assert batch.features.dtype == torch.float32
    others = [tensor for name, tensor in batch._asdict().items() if name != "features"]
    assert all(tensor.dtype == torch.int64 for tensor in others)
    assert batch.tokens.shape == (15, int(batch.lengths.max()))


def test_vocabulary_is_of_train_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = make_questions("val", 5, 3)
    questions[2] |= {"question": "Is the pyramid red?", "answer": "perhaps"}
    write_questions(root, "val", questions)
    module = CLEVRDataModule(root, progress=False)
    said = []
    monkeypatch.setattr("dact.datamodules.base.rank_zero_info", said.append)
    module.prepare_data("fit")
    module.setup("fit")
    module.setup("validate")
    (batch,) = module.val_dataloader()
    vocabulary = module.vocabulary
    assert vocabulary.answer_id("perhaps") == -1
    assert batch.answers[2] == -1
    assert batch.tokens[2].tolist()[2] == vocabulary.unknown_word
    assert int(batch.tokens.max()) < vocabulary.num_words
    assert module.records("val", [2])[0].answer == "perhaps"
    assert said == [
        "1 answers of val never occur in train: scored as wrong",
        "1 of 15 questions of val hold words that never occur in train, such as 'pyramid'",
    ]


def test_a_given_vocabulary_needs_no_training_data(root: Path, tmp_path: Path) -> None:
    trained = ready(root)
    words = trained.vocabulary.to_dict()
    other = write_clevr(tmp_path / "other")
    for file in other.glob("*/*train*"):
        file.unlink()
    module = ready(other, "predict", vocabulary=Vocabulary.from_dict(words))
    assert same(next(iter(module.predict_dataloader())), next(iter(trained.val_dataloader())))
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json is missing.*splits: val$"):
        ready(other, "predict")


def test_grid_files_may_have_more_rows_but_not_fewer(root: Path) -> None:
    write_grid(root, "train", np.zeros((50, 5, 3, 2), np.float16))
    path = write_grid(root, "val", np.zeros((50, 5, 3, 2), np.float32))
    module = ready(root, features="grid")
    assert (module.feature_dim, module.feature_kind) == (5, "grid")
    batch = next(iter(module.val_dataloader()))
    assert batch.features.shape == (5, 5, 3, 2)
    assert batch.num_cells.tolist() == [6] * 5
    write_grid(root, "val", np.zeros((4, 5, 3, 2), np.float32))
    with pytest.raises(UserError) as caught:
        ready(root, features="grid")
    image = "CLEVR_val_000004.png"
    message = f"question 12 asks about {image}, row 4 of {path}, which has only 4 rows; "
    message += "data.missing_images=skip leaves out such questions, 3 of 15"
    assert str(caught.value) == message
    write_grid(root, "val", np.zeros((50, 6, 3, 2), np.float32))
    with pytest.raises(UserError, match=r"train: maps of 5 channels \(.*, val: maps of 6"):
        ready(root, features="grid")


def test_question_before_the_first_row(root: Path) -> None:
    questions = make_questions("val", 5, 3)
    questions[7]["image_index"] = -1
    write_questions(root, "val", questions)
    with pytest.raises(UserError, match=r"question 7 asks about CLEVR_val_000002\.png, row -1"):
        ready(root)


def test_test_split_has_no_answers(root: Path) -> None:
    questions = make_questions("test", 5, 3)
    for question in questions:
        del question["answer"]
    write_questions(root, "test", questions)
    write_grid(root, "test", np.zeros((5, 5, 3, 2), np.float32))
    module = CLEVRDataModule(root, features="grid", progress=False)
    module.prepare_data("test")
    module.setup("test")
    assert not module.has_answers("test")
    (batch,) = module.test_dataloader()
    assert (batch.answers == -1).all()
    assert module.records("test", [0])[0].answer is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"data\.fraction=0\.0 is not in \(0, 1\]"),
        ({"fraction": 1.5}, r"data\.fraction=1\.5 is not in \(0, 1\]"),
        ({"batch_size": 0}, r"data\.batch_size=0 is less than 1"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size=0 is less than 1"),
        ({"num_workers": -1}, r"data\.num_workers=-1 is less than 0"),
        ({"features": "objects"}, r"data\.features=objects is neither"),
        ({"split": "valB"}, r"CLEVR_valB_questions\.json is missing.*splits: train, val$"),
        ({"features": "grid", "split": "val"}, r"val_features\.hdf5 is missing: it should hold"),
    ],
)
def test_wrong_options_are_named(root: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ready(root, "validate", **options)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder"):
        ready(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder"):
        _ = CLEVRDataModule(tmp_path / "nowhere").cache_dir
    (root / "scenes" / "CLEVR_val_scenes.json").unlink()
    with pytest.raises(UserError, match=r"CLEVR_val_scenes\.json is missing: .*features=grid"):
        ready(root)
    write_questions(root, "val", [])
    write_grid(root, "val", np.zeros((5, 5, 3, 2), np.float32))
    with pytest.raises(UserError, match=r"CLEVR_val_questions\.json has no questions"):
        ready(root, "validate", features="grid")
    questions = make_questions("train", 7, 5)
    write_questions(root, "train", [{**question, "answer": None} for question in questions])
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json.*it has no answers"):
        ready(root, "validate", features="grid")


@pytest.mark.slow
def test_no_warnings_outside_of_pytest(root: Path) -> None:
    program = (
        "import sys; from dact.datamodules import CLEVRDataModule as M; m = M(sys.argv[1]);"
        "m.prepare_data(); m.setup(); print(sum(len(b.tokens) for b in m.train_dataloader()))"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("35\n", "")


@pytest.mark.skipif("DACT_CLEVR_DIR" not in os.environ, reason="DACT_CLEVR_DIR is not set")
def test_real_clevr_files(tmp_path: Path) -> None:
    root = Path(os.environ["DACT_CLEVR_DIR"]) / "symbolic"
    module = ready(root, cache_dir=tmp_path, batch_size=128)
    train, val = module.dataset("train"), module.dataset("val")
    assert [len(train), len(val), len(train.features), len(val.features)] == [
        20000, 1000, 2000, 100
    ]  # fmt: skip
    assert train.questions.lengths.mean() == pytest.approx(19.6, abs=0.05)
    assert len({word.lower() for word in module.vocabulary.words}) == 82
    assert (train.questions.question_types < module.type_names.index("unknown")).all()
    assert sorted(set(train.questions.families)) == list(range(90))
    assert sorted(positions(module.train_dataloader())) == list(range(20000))
    scenes = json.loads((root / "scenes" / "CLEVR_val_scenes.json").read_text())["scenes"]
    features, num_cells = val.features.read(np.arange(100))
    assert np.abs(features).max() < 1.5
    for scene, state, cells in zip(scenes, features, num_cells, strict=True):
        assert cells == len(scene["objects"])
        for column, name, sign in [(15, "right", 1), (15, "left", -1), (16, "front", 1)]:
            for index, others in enumerate(scene["relationships"][name]):
                further = sign * state[others, column] > sign * state[index, column]
                assert further.all()
