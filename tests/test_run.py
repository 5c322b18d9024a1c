"""Whole runs: resuming, predicting, and the commands of the README as they are typed."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from clevr_files import write_clevr, write_grid
from conftest import REPOSITORY, TINY, Program, command, everything_in, json_lines

from dact import checkpoint, run_folder
from dact.errors import UserError

NO_WORKERS = ("trainer=cpu", "data.num_workers=0")


@pytest.mark.faults(
    "two runs in one folder",
    tried="the second starts while the first holds the folder",
    happened="the second is refused in one line",
)
def test_two_runs_in_one_folder_are_refused(program, tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    with (
        run_folder.taken(folder),
        pytest.raises(UserError, match="another run is at work in"),
    ):
        program("model=mac", folder=folder)


def records(folder):
    """What a run has left about itself, to the byte."""
    names = ["metrics.csv", "result.json", ".hydra/config.yaml", ".hydra/overrides.yaml"]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


IN_A_RUN_FOLDER = pytest.mark.faults(
    "evaluation in the folder of a training",
    tried="validation and prediction of a finished and of a stopped run, and of one that holds it",
    happened="metrics.csv, result.json and options of the training stay; it goes on as before",
)


@IN_A_RUN_FOLDER
@pytest.mark.parametrize("mode", ["validate", "predict"])
def test_an_evaluation_leaves_the_records_of_the_training_alone(program, evaluate, mode):
    fitted = program("model=mac", "trainer.max_epochs=2")
    before = records(fitted.folder)
    for _ in range(2):
        evaluate(f"mode={mode}", "ckpt_path=last", folder=fitted.folder)
    assert records(fitted.folder) == before
    own = json.loads((fitted.folder / mode / "result.json").read_text())
    assert own["options"]["mode"] == mode
    assert own["accuracy"] == (fitted.value if mode == "validate" else None)
    assert (fitted.folder / mode / "metrics.csv").exists() == (mode == "validate")
    assert (fitted.folder / "predictions.jsonl").exists() == (mode == "predict")


@IN_A_RUN_FOLDER
def test_an_evaluation_of_a_run_that_trains_does_not_wait_for_it(program, evaluate):
    fitted = program("model=mac")
    with run_folder.taken(fitted.folder):
        value = evaluate("mode=validate", "ckpt_path=last", folder=fitted.folder).value
    assert value == fitted.value


@pytest.mark.parametrize("place", ["", "validate"])
def test_two_evaluations_in_one_folder_are_refused(trained, evaluate, tmp_path, place):
    folder = tmp_path / "run"
    if place:
        shutil.copytree(trained.mac.folder, folder)
    with (
        run_folder.taken(folder / place),
        pytest.raises(UserError, match="another run is at work in"),
    ):
        evaluate("mode=validate", f"ckpt_path={trained.mac.last}", folder=folder)


@IN_A_RUN_FOLDER
@pytest.mark.slow
def test_hydra_leaves_the_options_of_the_training_alone(mini_root, tmp_path):
    data = (f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}")
    folder = tmp_path / "run"
    there = ("ckpt_path=last", f"hydra.run.dir={folder}")
    assert command("model=mac", *data, *TINY, there[1], cwd=tmp_path).returncode == 0
    before = records(folder)
    for mode, split, status in (("validate", "val", 0), ("test", "tset", 1)):
        typed = (f"mode={mode}", f"data.split={split}", *data, "trainer=cpu", *there)
        done = command(*typed, cwd=tmp_path)
        assert done.returncode == status, done.stderr
    assert records(folder) == before
    assert len(before) == len(records(folder / "validate")) == 4
    assert not (folder / "test").exists()


def test_a_fit_ends_with_its_results_and_what_they_compare_with(program, capsys):
    finished = program("model=mac")
    said = capsys.readouterr().out
    assert f"{100 * finished.value:.1f} %" in said
    assert re.search(r"the commonest answer to each type of question: \d+\.\d %\n$", said)


@pytest.mark.parametrize(
    ("limit", "epochs"),
    [("trainer.limit_val_batches=0", 1), ("trainer.check_val_every_n_epoch=2", 1)],
)
def test_a_fit_without_validation_has_no_results(program, limit, epochs, tmp_path):
    finished = program("model=mac", limit, f"trainer.max_epochs={epochs}")
    assert finished.value is None
    assert finished.last.exists()
    assert not list((tmp_path / "cache" / "warm_start").glob("*/mac.ckpt"))


def test_checkpoints_between_epochs(program):
    finished = program("model=mac", "checkpoint_every=3", "keep_checkpoints=-1")
    names = sorted(path.name for path in finished.last.parent.glob("epoch*"))
    assert names == [f"epoch00-step{step:06d}.ckpt" for step in (3, 6, 8)]
    assert finished.checkpoint["global_step"] == 8


def test_only_the_newest_checkpoints_are_kept(program):
    finished = program("model=mac", "trainer.max_epochs=4", "keep_checkpoints=2")
    names = sorted(path.name for path in finished.last.parent.iterdir())
    assert names == ["epoch02-step000024.ckpt", "epoch03-step000032.ckpt", "last.ckpt"]


# Data of other kinds.


def test_grid_features_train_from_the_same_command_line(configured, tmp_path):
    root = write_clevr(tmp_path / "clevr")
    for split, images in (("train", 7), ("val", 5)):
        values = np.random.default_rng(0).standard_normal((images, 5, 3, 2), np.float32)
        write_grid(root, split, values)
    program = Program(tmp_path, "data=clevr", f"data.root={root}", *TINY)
    finished = program("model=dact", "warm_start=none")
    description = checkpoint.describe(finished.checkpoint)
    assert (description.feature_dim, description.grid) == (5, True)
    evaluate = Program(tmp_path, "data=clevr", f"data.root={root}", *NO_WORKERS)
    assert evaluate("mode=validate", f"ckpt_path={finished.last}").value == finished.value


def test_a_fraction_of_the_images(program):
    finished = program("model=mac", "data.fraction=0.5", "data.batch_size=1")
    assert finished.checkpoint["global_step"] == 60


# Predicting.


def questions_of(root, split="val"):
    path = root / "questions" / f"CLEVR_{split}_questions.json"
    return json.loads(path.read_text())["questions"]


def test_predictions_are_one_line_per_question_in_dataset_order(trained, evaluate):
    lines = evaluate(
        "mode=predict", f"ckpt_path={trained.dact.last}", "data.eval_batch_size=7"
    ).predictions
    questions = questions_of(trained.root)
    answers = checkpoint.describe(trained.dact.checkpoint).vocabulary["answers"]
    assert len(lines) == len(questions) == 32
    for line, question in zip(lines, questions, strict=True):
        keys = ["question_id", "image", "question", "prediction", "confidence", "steps", "answer"]
        assert list(line) == keys
        assert type(line["question_id"]) is int
        assert line["question_id"] == question["question_index"]
        assert line["image"] == question["image_filename"]
        assert (line["question"], line["answer"]) == (question["question"], question["answer"])
        assert line["prediction"] in answers
        assert 0 < line["confidence"] <= 1
        assert line["steps"] in (1, 2, 3)


def test_predictions_go_where_they_are_wanted(trained, evaluate, tmp_path):
    path = tmp_path / "a folder=with, 'odd' [signs]" / "x y.jsonl"
    finished = evaluate("mode=predict", f"ckpt_path={trained.dact.last}", f"predictions={path}")
    assert len(json_lines(path)) == 32
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert not (finished.folder / "predictions.jsonl").exists()


def test_another_root_needs_no_option_of_the_network(trained, configured, tmp_path):
    other = write_clevr(tmp_path / "other")
    for file in other.glob("*/*train*"):
        file.unlink()
    typed = ("data=clevr", f"data.root={other}", *NO_WORKERS, f"ckpt_path={trained.dact.last}")
    program = Program(tmp_path, *typed)
    lines = program("mode=predict").predictions
    assert [line["question_id"] for line in lines] == list(range(15))
    right = [line["prediction"] == line["answer"] for line in lines]
    assert program("mode=validate").value == pytest.approx(sum(right) / 15)


def without_answers(root, split):
    """Take answers, programs and families away, as in the official test split."""
    questions = questions_of(root, split)
    for question in questions:
        for name in ("answer", "program", "question_family_index"):
            del question[name]
    path = root / "questions" / f"CLEVR_{split}_questions.json"
    path.write_text(json.dumps({"info": {}, "questions": questions}))


def test_a_split_without_answers_can_only_be_predicted(trained, configured, tmp_path):
    root = write_clevr(tmp_path / "clevr")
    for folder, name in (("questions", "questions.json"), ("scenes", "scenes.json")):
        source = root / folder / f"CLEVR_val_{name}"
        source.rename(source.with_name(f"CLEVR_test_{name}"))
    without_answers(root, "test")
    typed = ("data=clevr", f"data.root={root}", *NO_WORKERS, f"ckpt_path={trained.dact.last}")
    program = Program(tmp_path, *typed)
    with pytest.raises(UserError, match="split test has no answers to compare with: use mode=pre"):
        program("mode=test")
    lines = program("mode=predict", "data.split=test").predictions
    assert len(lines) == 15
    assert all("answer" not in line for line in lines)


def test_any_split_can_be_evaluated(trained, evaluate):
    typed = ("mode=predict", f"ckpt_path={trained.dact.last}", "data.split=train")
    lines = evaluate(*typed).predictions
    assert [line["question_id"] for line in lines] == list(range(120))
    ends = evaluate("mode=validate", *typed[1:]).value
    assert ends == pytest.approx(sum(one["prediction"] == one["answer"] for one in lines) / 120)


def test_the_halting_bound_may_be_changed_in_evaluation(trained, evaluate):
    typed = ("mode=predict", f"ckpt_path={trained.dact.last}")
    steps = {}
    for bound in ("exact", "paper", "null"):
        lines = evaluate(*typed, f"model.halting_bound={bound}").predictions
        steps[bound] = [line["steps"] for line in lines]
    assert steps["null"] == [3] * 32
    assert all(one <= other for one, other in zip(steps["exact"], steps["paper"], strict=True))


@pytest.mark.parametrize(
    "typed", ["model.dim=8", "model.max_steps=3", "model.gate.bias=1", "model.dropout.read=0.1"]
)
def test_the_checkpoint_decides_the_network(trained, evaluate, typed):
    name = typed.partition("=")[0]
    with pytest.raises(UserError, match=f"^{re.escape(name)} is decided by the checkpoint"):
        evaluate("mode=validate", f"ckpt_path={trained.dact.last}", typed)


def test_another_kind_of_network_is_refused_and_the_same_kind_is_fine(trained, evaluate):
    with pytest.raises(UserError, match=r"^model=act: the checkpoint holds a dact; leave it out"):
        evaluate("mode=validate", f"ckpt_path={trained.dact.last}", "model=act")
    evaluate("mode=validate", f"ckpt_path={trained.dact.last}", "model=dact")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("ponder.cost=0.3", "ponder.cost=0.3: the checkpoint's is 0.005; leave ponder out"),
        ("ponder=budget", "ponder.target_steps=3.0: the checkpoint's is None; leave ponder out"),
    ],
)
def test_another_ponder_cost_is_refused_and_the_same_is_fine(trained, evaluate, typed, said):
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        evaluate("mode=validate", f"ckpt_path={trained.dact.last}", typed)
    evaluate("mode=validate", f"ckpt_path={trained.dact.last}", "ponder.cost=0.005")


def test_evaluation_needs_a_checkpoint(evaluate):
    with pytest.raises(UserError, match="mode=test needs a checkpoint: ckpt_path=PATH or"):
        evaluate("mode=test")


def test_results_are_shown_by_type_and_length(trained, evaluate, capsys):
    evaluate("mode=validate", f"ckpt_path={trained.dact.last}")
    said = capsys.readouterr().out
    for name in ("all", "count", "exist", "query attribute", "reads needed: 1", "program length: "):
        assert name in said


def test_metrics_are_logged_by_type_and_length(trained):
    (row, _) = trained.dact.validation()
    for kind in ("accuracy", "steps"):
        assert {f"val/{kind}", f"val/{kind}/count", f"val/{kind}/exist"} <= set(row)
        assert any(name.startswith(f"val/{kind}/length_") for name in row)
    assert {"val/nll", "val/ponder_cost"} <= set(row)


# As real commands.


def typed_sizes(root, cache):
    return [f"data.root={root}", f"data.cache_dir={cache}", *TINY]


def test_the_first_command_of_the_readme(mini_root, tmp_path):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    done = command("model=dact", "ponder=5e-3", *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no trained MAC yet: training it first" in done.stdout
    folder = tmp_path / "logs" / "fit" / "clevr_mini-dact-5e-3-s0"
    names = {path.name for path in folder.iterdir()}
    assert {".hydra", "checkpoints", "metrics.csv"} <= names
    # Nothing is advertised, and nothing is warned of.
    assert "Tip" not in done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
    assert not re.search(r"[=, \[\]]", "".join(everything_in(tmp_path / "logs")))


@pytest.mark.slow
def test_the_newest_checkpoint_is_found_by_the_same_words(mini_root, tmp_path):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    words = ("data=clevr_mini", "model=mac", "seed=7")
    assert command(*words, *sizes, cwd=tmp_path).returncode == 0
    evaluation = [text for text in sizes if not text.startswith("model.")]
    done = command("mode=validate", "ckpt_path=last", *words, *evaluation, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "logs" / "validate" / "clevr_mini-mac-0-s7" / "metrics.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("ponder=1e-3,5e-3", ["0-clevr_mini-dact-1e-3-s0", "1-clevr_mini-dact-5e-3-s0"]),
        ("ponder=1e-3,3e-3", ["0-clevr_mini-dact-1e-3-s0", "1-clevr_mini-dact-3e-3-s0"]),
    ],
)
def test_sweeps_as_typed(mini_root, tmp_path, typed, names):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    done = command(*sizes, "-m", typed, "warm_start=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "logs" / "multirun").iterdir()
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == names
    for name in names:
        assert (sweep / name / "checkpoints" / "last.ckpt").exists()
        with (sweep / name / "metrics.csv").open() as file:
            assert list(csv.DictReader(file))
    assert not (tmp_path / "logs" / "fit").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "name"),
    [("ponder=3e-3", "3e-3"), ("ponder=0", "0"), ("ponder=0.005", "5e-3")],
)
def test_costs_as_typed(mini_root, tmp_path, typed, name):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    done = command(typed, "model=act", "warm_start=none", *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "logs" / "fit" / f"clevr_mini-act-{name}-s0"
    saved = checkpoint.load(folder / "checkpoints" / "last.ckpt")
    assert checkpoint.describe(saved).config["ponder"]["cost"] == float(name)


@pytest.mark.slow
def test_two_processes_score_every_question_once(trained, tmp_path):
    data = (f"data.root={trained.root}", f"data.cache_dir={trained.cache}")
    typed = (f"ckpt_path={trained.dact.last}", *data, "data.eval_batch_size=5", "trainer=ddp_cpu")
    done = command("mode=validate", *typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("logs/validate/*/metrics.csv")
    with path.open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["val/accuracy"]) == pytest.approx(trained.dact.value)
    assert "arning" not in done.stdout + done.stderr
    assert len(re.findall(r"all +│ +32 │", done.stdout)) == 1
    done = command("mode=predict", *typed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("logs/predict/*/predictions.jsonl")
    lines = json_lines(path)
    assert [line["question_id"] for line in lines] == list(range(32))
    right = [line["prediction"] == line["answer"] for line in lines]
    assert sum(right) / 32 == pytest.approx(trained.dact.value)


@pytest.mark.slow
def test_two_processes_train_in_one_folder(mini_root, tmp_path):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    done = command(*sizes, "model=mac", "trainer=ddp_cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "logs" / "fit").iterdir()
    assert checkpoint.load(folder / "checkpoints" / "last.ckpt")["global_step"] == 4
    assert re.search(r"all +│ +32 │", done.stdout)


@pytest.mark.slow
def test_a_killed_run_goes_on_in_its_own_folder(mini_root, tmp_path):
    sizes = typed_sizes(mini_root, tmp_path / "cache")
    typed = [*sizes, "model=mac", "trainer.max_epochs=200", "checkpoint_every=null"]
    program = [sys.executable, str(REPOSITORY / "run.py"), *typed]
    with subprocess.Popen(
        program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if "epoch 3/" in line:
                process.send_signal(signal.SIGKILL)
                break
    folder = tmp_path / "logs" / "fit" / "clevr_mini-mac-0-s0"
    done = command(*typed, "ckpt_path=last", "trainer.max_epochs=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/accuracy"]]
    assert [int(row["epoch"]) for row in rows] == list(range(len(rows)))
    assert len(rows) >= 5
