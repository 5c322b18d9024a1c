"""Reports say what predictions and checkpoints say, in one file that asks for nothing."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from dact.errors import UserError
from dact.explain import figures, sweep_figures
from dact.explain.reasoning import Reasoner
from dact.explain.report import write_report
from dact.explain.survey import Survey, choose_examples, correlation, group_by, survey
from dact.explain.sweep import Run, Setting, Spread, settings_of, variants, write_csv
from dact.lit_module import Prediction
from dact.runs.compare import find_runs, write_sweep_report
from dact.runs.restore import answer_split, open_data, restore


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.text = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]

    @property
    def cards(self):
        return self.of("article")


def script(*arguments, cwd):
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / arguments[0], *map(str, arguments[1:])],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def report(decided, tmp_path_factory):
    """The page of a network, from the command."""
    folder = tmp_path_factory.mktemp("report")
    done = script(
        "report.py",
        "--checkpoint",
        decided,
        "--examples",
        7,
        "--output",
        folder,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert f"written: {folder / 'report.html'}" in done.stdout
    return folder


@pytest.fixture(scope="module")
def restored(decided):
    return restore(decided)


@pytest.fixture(scope="module")
def opened(restored):
    return open_data(restored)


def test_the_numbers_are_those_of_validation(report, decided, evaluate):
    accuracy = evaluate("mode=validate", f"ckpt_path={decided}").value
    lines = evaluate("mode=predict", f"ckpt_path={decided}").predictions
    steps = [line["steps"] for line in lines]
    page = (report / "report.html").read_text()
    assert f"<b>{100 * accuracy:.1f}%</b>accuracy" in page
    assert f"<b>{sum(steps) / len(steps):.2f}</b>mean steps" in page
    assert f"<b>{len(steps)}</b>questions" in page


def test_examples_are_predicted_as_prediction_has_it(report, decided, evaluate):
    done = evaluate("mode=predict", f"ckpt_path={decided}")
    lines = {str(line["question_id"]): line for line in done.predictions}
    page = Page(report / "report.html")
    assert len(page.cards) == 7
    html = (report / "report.html").read_text().split("<article")[1:]
    for card, text in zip(page.cards, html, strict=True):
        line = lines[re.search(r"question (\d+)", text)[1]]
        assert card["data-right"] == ("right" if line["answer"] == line["prediction"] else "wrong")
        assert int(card["data-steps"]) == line["steps"] == text.count("<figure")
        assert float(card["data-confidence"]) == pytest.approx(line["confidence"], abs=1e-4)
        assert line["question"] in text
    assert len({card["data-steps"] for card in page.cards}) > 1


def test_the_page_asks_for_nothing(report):
    page = Page(report / "report.html")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
            assert (attributes.get(name) or "data:,").startswith(("data:", "#"))
    text = (report / "report.html").read_text()
    assert all(
        link.startswith(("data:", "#")) for link in re.findall(r"url\(['\"]?([^)'\"]+)", text)
    )
    assert "@import" not in text
    (policy,) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


@pytest.mark.slow
def test_figures_are_there_twice_and_the_same_each_time(report, restored, opened, tmp_path):
    names = sorted(path.name for path in (report / "figures").iterdir())
    wanted = [
        "families",
        "program_length",
        "reads_needed",
        "steps",
        *(f"question_0{n}" for n in range(1, 8)),
    ]
    assert names == sorted(f"{name}.{kind}" for name in wanted for kind in ("png", "svg"))
    write_again(tmp_path, restored, opened)
    for name in names:
        if name.endswith("svg"):
            assert (tmp_path / "figures" / name).read_text() == (
                report / "figures" / name
            ).read_text()
    assert (tmp_path / "report.html").read_bytes() == (report / "report.html").read_bytes()


def write_again(folder, restored, data, title=None):
    return write_report(
        folder,
        answer_split(restored, data),
        Reasoner(restored.network, restored.vocabulary),
        data,
        "val",
        title=title or f"How {restored.run} reasons",
        subtitle=f"dact on {restored.data_name}, split val, {restored.path.name}",
        examples=7,
    )


def copy_of_val(mini_root, root, split, change):
    """The tiny clevr_mini's validation questions as another split, each of them changed."""
    for kind in ("questions", "scenes"):
        content = json.loads((mini_root / kind / f"CLEVR_val_{kind}.json").read_text())
        if kind == "questions":
            content[kind] = [change(question) for question in content[kind]]
            names = {entry["image_index"]: entry["image_filename"] for entry in content[kind]}
        for entry in content[kind]:
            entry["image_filename"] = names.get(entry["image_index"], entry["image_filename"])
        (root / kind).mkdir(parents=True, exist_ok=True)
        (root / kind / f"CLEVR_{split}_{kind}.json").write_text(json.dumps(content))
    return root


@pytest.mark.faults(
    "HTML in questions, answers and names",
    tried="elements, scripts and handlers that end what they are in",
    happened="shown as text on the page",
)
def test_everything_is_escaped(restored, mini_root, tmp_path):
    evil = "<img src=x onerror=alert(1)></style></script><script>alert(2)</script>"

    def change(question):
        name = f"{evil}{question['image_index']}"
        return {**question, "question": evil, "answer": evil, "image_filename": name}

    root = copy_of_val(mini_root, tmp_path / "root", "val", change)
    page = Page(write_again(tmp_path, restored, open_data(restored, root), title=evil))
    assert len(page.cards) == 7
    assert not [a for a in page.of("img") if a["src"] == "x"]
    assert all(not name.startswith("on") for _, a in page.tags for name in a)
    assert len(page.of("script")) == 1


def test_a_split_without_answers_has_no_report(restored, mini_root, tmp_path):
    root = copy_of_val(mini_root, tmp_path, "test", lambda question: {**question, "answer": None})
    with pytest.raises(UserError, match="split test has no answers"):
        answer_split(restored, open_data(restored, root, "test"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "nowhere.ckpt"], "checkpoint nowhere.ckpt does not exist"),
        (["--sweep", "nowhere"], "--sweep nowhere: no such folder"),
        (["--sweep", "."], "no finished runs in ."),
        (["--checkpoint", "x", "--examples", "-1"], "--examples must be at least 0"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    done = script("report.py", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_report_may_have_no_examples_and_see_few_questions(decided, tmp_path):
    more = ("--examples", 0, "--limit", 20, "--output", tmp_path)
    done = script("report.py", "--checkpoint", decided, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    page = Page(tmp_path / "report.html")
    assert page.cards == []
    assert page.of("script") == []
    assert "<b>32</b>questions" in (tmp_path / "report.html").read_text(), "a whole batch"


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_one_line(decided, tmp_path):
    (tmp_path / "file").write_text("")
    done = script("report.py", "--checkpoint", decided, "--output", "file/x", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: file/x cannot be written: Not a")


# Surveys.


def make_survey(rng, size, max_steps=5):
    return Survey(
        np.arange(size) * 2 + 1,
        rng.random(size) < 0.6,
        rng.random(size).astype(np.float32),
        rng.integers(1, max_steps + 1, size),
        rng.integers(0, 3, size),
        rng.integers(-1, 6, size),
        rng.integers(-1, 3, size),
        rng.integers(-1, 4, size),
    )


@given(seed=st.integers(0, 99), size=st.integers(1, 60))
def test_groups_are_what_counting_one_by_one_gives(seed, size):
    found = make_survey(np.random.default_rng(seed), size)
    groups = {group.key: group for group in group_by(found, found.families, 5)}
    assert sorted(groups) == sorted(set(found.families[found.families >= 0].tolist()))
    for key, group in groups.items():
        rows = [row for row in range(size) if found.families[row] == key]
        assert group.questions == len(rows)
        assert group.accuracy == pytest.approx(sum(found.right[row] for row in rows) / len(rows))
        assert group.mean_steps == pytest.approx(sum(found.steps[row] for row in rows) / len(rows))
        for step in range(1, 6):
            share = sum(found.steps[row] == step for row in rows) / len(rows)
            assert group.shares[step - 1] == pytest.approx(share)
        assert group.example in [found.positions[row] for row in rows]


@given(seed=st.integers(0, 99), size=st.integers(1, 60), count=st.integers(0, 70))
def test_examples_are_distinct_and_of_every_kind(seed, size, count):
    found = make_survey(np.random.default_rng(seed), size)
    chosen = choose_examples(found, count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, size)
    right = dict(zip(found.positions.tolist(), found.right.tolist(), strict=True))
    wrong = sum(not right[position] for position in chosen)
    assert wrong >= min(count // 4, (~found.right).sum())
    steps = dict(zip(found.positions.tolist(), found.steps.tolist(), strict=True))
    if count >= 4:
        assert min(steps[position] for position in chosen) == found.steps.min()
        assert max(steps[position] for position in chosen) == found.steps.max()


def test_correlation_is_numpys_over_questions_with_a_program():
    found = make_survey(np.random.default_rng(0), 50)
    known = found.lengths >= 0
    expected = np.corrcoef(found.steps[known], found.lengths[known])[0, 1]
    assert correlation(found.steps, found.lengths) == pytest.approx(expected)
    assert correlation(np.full(50, 3), found.lengths) is None
    assert correlation(found.steps, np.full(50, -1)) is None


def test_batches_in_any_order_are_one_survey(opened):
    questions = opened.dataset("val").questions
    size = len(questions)
    answers = torch.from_numpy(questions.answers.astype(np.int64)).clone()
    answers[3] += 1
    whole = Prediction(torch.arange(size), answers, torch.rand(size), torch.randint(1, 4, (size,)))
    parts = [
        Prediction(*(column[rows] for column in whole[:4]))
        for rows in (slice(10, size), slice(0, 10))
    ]
    found = survey(parts, questions)
    assert found.positions.tolist() == list(range(size))
    assert np.flatnonzero(~found.right).tolist() == [3]
    assert np.array_equal(found.steps, whole.steps)
    assert np.allclose(found.confidences, whole.confidences)


# Sweeps.


RUNS = [
    Run("a", "clevr", "dact", 12, 5e-3, 0, "", 0.90, 4.0, 1.0),
    Run("b", "clevr", "dact", 12, 5e-3, 1, "", 0.94, 5.0, 3.0),
    Run("c", "clevr", "mac", 3, 5e-3, 0, "", 0.80, 3.0, 2.0),
    Run("d", "clevr", "mac", 3, 1e-3, 1, "", 0.80, 3.0, None),
]


def test_runs_that_differ_in_seed_are_one_setting(tmp_path):
    dact, mac = settings_of(RUNS)
    assert (dact.label, dact.seeds, mac.label, mac.seeds) == ("τ=5e-3", 2, "3 steps", 2)
    assert dact.accuracy == pytest.approx((0.92, 0.0282843), rel=1e-5)
    assert dact.steps.mean == 4.5
    assert dact.milliseconds.mean == 2.0
    assert mac.milliseconds is None
    assert settings_of(RUNS[:1])[0].accuracy.deviation is None
    write_csv(tmp_path / "x.csv", settings_of(RUNS))
    with (tmp_path / "x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["accuracy_deviation"]) == pytest.approx(0.0282843, rel=1e-5)
    assert rows[1]["milliseconds"] == ""


def test_runs_that_differ_in_anything_else_are_other_settings():
    wider = RUNS[1]._replace(variant="model.dim=96")
    assert [one.label for one in settings_of([RUNS[0], wider])] == [
        "τ=5e-3",
        "τ=5e-3, model.dim=96",
    ]
    configs = [
        {"model": {"name": "mac", "dim": 8}, "seed": 0, "data": {"root": "a", "fraction": 1.0}},
        {"model": {"name": "mac", "dim": 8}, "seed": 1, "data": {"root": "b", "fraction": 0.1}},
        {"model": {"name": "dact", "dim": 9}, "seed": 1, "data": {"root": "b", "fraction": 1.0}},
    ]
    assert variants(configs) == ["data.fraction=1.0", "data.fraction=0.1", ""]
    starts = [{"model": {"name": "dact"}, "warm_start": w} for w in ("none", "auto", "a.ckpt")]
    assert variants(starts) == ["warm_start=none", "warm_start=MAC", "warm_start=MAC"]


def test_a_number_of_steps_to_train_for_is_a_setting_of_its_own():
    """Not the price that it began with, nor that of a run without."""
    aimed = RUNS[0]._replace(target_steps=2.0)
    runs = [aimed, aimed._replace(seed=1), aimed._replace(target_steps=2.5), RUNS[0]]
    found = settings_of(runs)
    assert [(one.label, one.seeds) for one in found] == [
        ("τ=5e-3", 1),
        ("budget 2", 2),
        ("budget 2.5", 1),
    ]
    configs = [
        {"model": {"name": "dact", "max_steps": 5}, "ponder": {"target_steps": target}}
        for target in (None, 2.0, 2.5)
    ]
    assert variants(configs) == ["", "", ""]  # the label has it already


def test_settings_have_short_names():
    one, *_ = settings_of([RUNS[2]._replace(max_steps=1)])
    assert one.label == "1 step"
    configs = [
        {"model": {"name": "pondernet", "max_steps": steps, "prior": prior}}
        for steps, prior in ((5, 0.2), (8, 0.2), (8, 0.3))
    ]
    assert variants(configs) == ["N=5, λ_p=0.2", "N=8, λ_p=0.2", "N=8, λ_p=0.3"]


MAP = [
    Setting("dact", "τ=0", "x", 2, Spread(0.9, 0.02), Spread(4.0, 0.5), None),
    Setting("dact", "τ=1e-2", "x", 2, Spread(0.8, 0.01), Spread(2.0, 0.25), None),
    Setting("mac", "1 step", "x", 1, Spread(0.5, None), Spread(1.0, None), None),
]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        (None, {"τ=0": (4.0, 0.9), "τ=1e-2": (2.0, 0.8), "1 step": (1.0, 0.5)}),
        (("dact",), {"τ=0": (4.0, 0.9), "τ=1e-2": (2.0, 0.8)}),
        (("mac", "act"), {"1 step": (1.0, 0.5)}),
        ((), {}),
    ],
)
def test_points_of_the_kinds_that_are_asked_for_are_named(named, wanted):
    (axes,) = sweep_figures.sweep_map(MAP, "accuracy", "accuracy", named).axes
    assert {text.get_text(): text.xy for text in axes.texts} == wanted
    drawn = lines_of(axes)
    assert drawn == {"dact": ([2.0, 4.0], [0.8, 0.9]), "mac": ([1.0], [0.5])}


def lines_of(axes):
    """What is drawn of each kind, by its name in the legend: x and y."""
    lines = {bars.get_label(): bars[0] for bars in axes.containers}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    return {
        name: (line.get_xdata().tolist(), line.get_ydata().tolist()) for name, line in lines.items()
    }


def test_steps_against_the_ponder_cost():
    """No cost is drawn left of the least of all kinds, where a logarithm has its place."""
    series = {
        "dact": [(0.0, Spread(4.0, 0.5)), (3e-2, Spread(2.0, 0.25))],
        "act": [(3e-3, Spread(3.0, None)), (1e-1, Spread(2.5, None))],
    }
    (axes,) = sweep_figures.cost_map(series).axes
    drawn = lines_of(axes)
    assert drawn["dact"] == (pytest.approx([1e-3, 3e-2]), [4.0, 2.0])
    assert drawn["act"] == ([3e-3, 1e-1], [3.0, 2.5])
    assert axes.get_xscale() == "log"
    (heights,) = (
        [bar[:, 1].tolist() for bar in bars[2][0].get_segments()]
        for bars in axes.containers
        if bars.get_label() == "dact"
    )
    assert heights == [[3.5, 4.5], [1.75, 2.25]]


def test_the_same_figure_is_the_same_file(tmp_path, monkeypatch):
    """On another day, too."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for name in ("a.svg", "b.svg"):
        figures.save_as(sweep_figures.sweep_map(MAP, "accuracy", "accuracy"), tmp_path / name)
    one, other = ((tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert one == other
    assert b"<dc:date>" not in one


def test_a_sweep_report_has_every_run_with_the_results_of_its_checkpoint(trained, tmp_path):
    folder = trained.dact.folder.parent
    path = write_sweep_report(tmp_path / "out", [folder], questions=8)
    with (tmp_path / "out" / "runs.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for name in ("mac", "dact"):
        means = getattr(trained, name).checkpoint["dact"]["results"]["all"]
        assert float(rows[name]["accuracy"]) == pytest.approx(means[0])
        assert float(rows[name]["steps"]) == pytest.approx(means[1])
        assert float(rows[name]["milliseconds"]) > 0
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"accuracy.png", "accuracy.svg", "time.png", "time.svg"}
    assert len(Page(path).of("tr")) == 3


def test_runs_that_cannot_be_used_are_left_out_and_named(trained, tmp_path):
    for name, content in (("good", trained.mac.last.read_bytes()), ("bad", b"broken")):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "checkpoints" / "last.ckpt").write_bytes(content)
    found, notes = find_runs([tmp_path, tmp_path / "good"])
    assert [one.run for one in found] == ["good"]
    assert len(notes) == 1
    assert "bad" in notes[0]


def test_runs_that_are_not_finished_are_named(trained, tmp_path):
    first = sorted(trained.mac.last.parent.glob("epoch00-*.ckpt"))[0]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(first.read_bytes())
    found, notes = find_runs([tmp_path])
    assert (len(found), found[0].epochs_left, len(notes)) == (1, 1, 1)
    assert notes[0].startswith("Not finished: ")
    assert notes[0].endswith("has 1 epochs to go")
    assert restore(trained.mac.last).epochs_left == 0


def test_without_its_data_a_sweep_has_no_times(trained, tmp_path):
    path = write_sweep_report(tmp_path, [trained.dact.folder], root=tmp_path / "nowhere")
    assert "Times were not measured" in path.read_text()
    assert not (tmp_path / "figures" / "time.png").exists()
