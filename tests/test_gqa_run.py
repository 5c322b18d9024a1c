"""GQA from its files to a submission, through the program itself."""

import itertools
import json
import shutil

import numpy as np
import pytest
from conftest import TINY, Program, command, json_lines

from dact import run_folder
from dact.datamodules import GQADataModule
from dact.errors import UserError
from dact.explain.knowledge import of_dataset
from dact.explain.reasoning import Reasoner
from dact.explain.report import write_report
from dact.gqa_metrics import read_attentions
from dact.runs.restore import answer_split, open_data, restore

pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture(scope="module", params=["objects", "spatial"])
def gqa(request, gqa_root, tmp_path_factory):
    """A DACT trained on one kind of feature: its checkpoint, and what is typed to use it."""
    import hydra
    from conftest import CONF
    from hydra.core.global_hydra import GlobalHydra

    from dact import config

    folder = tmp_path_factory.mktemp("gqa_run")
    data = ["data=gqa", f"data.root={gqa_root}", f"data.cache_dir={folder / 'cache'}"]
    tiny = [*TINY, "warm_start=none", "model.halting_bound=exact"]
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        fitted = Program(folder, *data, *tiny)("model=dact", f"data.features={request.param}")
    GlobalHydra.instance().clear()
    return request.param, fitted, [*data, "trainer=cpu", "trainer.enable_progress_bar=false"]


def questions_of(root, split):
    return json.loads((root / "questions" / f"{split}_questions.json").read_text())


def test_fit_scores_every_question_of_the_validation_split(gqa, gqa_root):
    _, fitted, _ = gqa
    wanted = questions_of(gqa_root, "testdev_balanced")
    results = fitted.checkpoint["dact"]["results"]
    assert results["all"][2] == len(wanted)
    assert sum(
        results[name][2]
        for name in ("verify", "query", "choose", "logical", "compare")
        if name in results
    ) == len(wanted)


def test_a_submission_has_every_question_once(gqa, gqa_root, tmp_path):
    _, fitted, typed = gqa
    program = Program(tmp_path, *typed)
    done = program("mode=predict", f"ckpt_path={fitted.last}", "data.split=submission")
    lines = json_lines(done.folder / "predictions.jsonl")
    submission = json.loads((done.folder / "submission.json").read_text())
    wanted = questions_of(gqa_root, "submission_all")
    assert [line["question_id"] for line in lines] == list(wanted)
    assert all(set(entry) == {"questionId", "prediction"} for entry in submission)
    assert [entry["questionId"] for entry in submission] == list(wanted)
    assert [entry["prediction"] for entry in submission] == [line["prediction"] for line in lines]


@pytest.mark.parametrize("name", ["predictions", "attentions"])
def test_two_files_of_one_name_are_refused_before_the_work(gqa, tmp_path, name):
    _, fitted, typed = gqa
    path = tmp_path / "submission.json"
    words = [f"ckpt_path={fitted.last}", "data.split=submission", f"{name}={path}"]
    if name == "attentions":
        words.append(f"predictions={tmp_path / 'predictions.jsonl'}")
    with pytest.raises(UserError, match=r"submission\.json would be written twice"):
        Program(tmp_path, *typed)("mode=predict", *words)
    assert not path.exists()


@pytest.mark.slow
def test_two_processes_write_the_submission_of_one(gqa, gqa_root, tmp_path):
    _, fitted, typed = gqa
    arguments = [f"ckpt_path={fitted.last}", "data.split=submission", "data.eval_batch_size=7"]
    one = Program(tmp_path, *typed)("mode=predict", *arguments)
    data = [text for text in typed if text.startswith("data")]
    folder = tmp_path / "two"
    two = (*data, "mode=predict", *arguments, "trainer=ddp_cpu", f"hydra.run.dir={folder}")
    done = command(*two, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "submission.json").read_bytes() == (
        one.folder / "submission.json"
    ).read_bytes()
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files - {".lock"} == {"submission.json", "predictions.jsonl", run_folder.RESULT}


def test_validation_gives_the_official_metrics(gqa, gqa_root, tmp_path):
    kind, fitted, typed = gqa
    program = Program(tmp_path, *typed)
    done = program("mode=validate", f"ckpt_path={fitted.last}", "data.split=val_balanced")
    official = json.loads((done.folder / "official.json").read_text())
    wanted = questions_of(gqa_root, "val_balanced")
    lines = {line["question_id"]: line for line in json_lines(done.folder / "predictions.jsonl")}
    right = [lines[name]["prediction"] == entry["answer"] for name, entry in wanted.items()]
    assert official["accuracy"] == pytest.approx(100 * np.mean(right))
    assert done.value == pytest.approx(np.mean(right))
    assert {"validity", "plausibility", "distribution", "grounding"} <= official.keys()
    assert official["grounding"] >= 0
    attentions = dict(read_attentions(done.folder / "attentions.json"))
    assert list(attentions) == list(wanted)
    info = json.loads((gqa_root / "features" / "objects" / "gqa_objects_info.json").read_text())
    for name, attention in itertools.islice(attentions.items(), 20):
        weights = np.array(attention)
        if kind == "objects":
            assert weights.shape == (info[wanted[name]["imageId"]]["objectsNum"], 5)
            weights = weights[:, 4]
        else:
            assert weights.shape == (7, 7)
        assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_a_validation_in_the_folder_of_a_training_leaves_all_files_in_its_own(gqa, tmp_path):
    _, fitted, typed = gqa
    folder = tmp_path / "run"
    shutil.copytree(fitted.folder, folder)
    program, before = Program(tmp_path, *typed), {path.name for path in folder.iterdir()}
    program("mode=validate", "ckpt_path=last", "data.split=val_balanced", folder=folder)
    assert {path.name for path in folder.iterdir()} == before | {"validate"}
    names = {path.name for path in (folder / "validate").iterdir()}
    assert {"official.json", "attentions.json", "predictions.jsonl", "metrics.csv"} <= names
    validated = (folder / "validate" / "predictions.jsonl").read_bytes()
    program("mode=predict", "ckpt_path=last", "data.split=submission", folder=folder)
    assert {"predictions.jsonl", "submission.json"} <= {path.name for path in folder.iterdir()}
    assert (folder / "validate" / "predictions.jsonl").read_bytes() == validated


def test_a_limited_validation_has_no_official_metrics(gqa, tmp_path, capsys):
    _, fitted, typed = gqa
    program = Program(tmp_path, *typed)
    done = program("mode=validate", f"ckpt_path={fitted.last}", "trainer.limit_val_batches=1")
    assert not (done.folder / "official.json").exists()
    assert "official metrics need the whole split" in capsys.readouterr().out


def test_grid_attention_goes_by_column_first(gqa_root, tmp_path):
    data = GQADataModule(
        gqa_root, "spatial", cache_dir=tmp_path, split="val_balanced", progress=False
    )
    data.prepare_data("fit")
    data.setup("fit")
    attention = np.arange(49, dtype=np.float32)[None]  # row by row, as the network has it
    (layout,) = data.attention_layout("testdev_balanced")(np.array([0]), attention)
    assert layout[2][5] == 5 * 7 + 2


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("data.val_split=val_nothing", "has neither val_nothing_questions.json nor a folder"),
        ("data.features=grid", "neither 'objects' nor 'spatial'"),
    ],
)
def test_what_is_not_there_is_said(gqa_root, tmp_path, typed, message):
    program = Program(tmp_path, "data=gqa", f"data.root={gqa_root}", *TINY)
    with pytest.raises(UserError, match=message):
        program("model=mac", typed, f"data.cache_dir={tmp_path / 'c'}")


@pytest.mark.slow
def test_a_report_shows_boxes_of_objects_and_cells_of_grids(gqa, gqa_root, tmp_path):
    kind, fitted, _ = gqa
    restored = restore(fitted.last)
    data = open_data(restored)
    (split,) = data.splits_of("predict")
    found = answer_split(restored, data)
    reasoner = Reasoner(restored.network, restored.vocabulary)
    titles = {"title": "GQA", "subtitle": kind}
    path = write_report(tmp_path, found, reasoner, data, split, examples=3, **titles)
    page = path.read_text()
    assert f"<b>{100 * found.accuracy:.1f}%</b>accuracy" in page
    steps = page.count('<figure class="step')
    assert steps >= 3
    assert page.count("data:image/png") == (0 if kind == "objects" else steps)
    assert ("stroke-opacity" in page) == (kind == "objects")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"families.svg", "question_01.svg", "steps.png"} <= names


def test_an_image_of_the_dataset_can_be_asked_about_by_name(gqa):
    kind, fitted, _ = gqa
    restored = restore(fitted.last)
    data = open_data(restored)
    (split,) = data.splits_of("predict")
    name = data.dataset(split).questions.images[1]
    knowledge = of_dataset(data, split, name)
    assert (knowledge.view.grid is None) == (kind == "objects")
    if kind == "objects":
        assert len(knowledge.view.boxes) == knowledge.num_cells
        assert (knowledge.view.boxes >= 0).all()
        assert (knowledge.view.boxes <= 1).all()
    reasoner = Reasoner(restored.network, restored.vocabulary)
    answer = reasoner.ask("Is the man to the left of the car?", *knowledge[:2])
    assert answer.steps[0].cells.shape == (knowledge.num_cells,)
    with pytest.raises(UserError, match="neither a file nor an image of"):
        of_dataset(data, split, "nowhere")
