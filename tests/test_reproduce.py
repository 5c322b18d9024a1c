"""What scripts/reproduce.py has answered, the page that it writes, and all of it as a trial."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import reproduce
import reproduce_page as pages
from answered_networks import network
from reproduce_answers import Answers, answer_all, answer_bounded, answer_sampled, open_questions
from reproduce_plan import SIZES, plan
from reproduce_verdict import FAILS, HOLDS, NOTHING, Claim

from dact.datamodules.prior import answer_priors
from dact.errors import UserError
from dact.explain.sweep import Setting, Spread
from dact.runs.restore import open_data, restore

# Answers.


@pytest.fixture(scope="module")
def restored(decided):
    return restore(decided)


@pytest.fixture(scope="module")
def questions(restored):
    return open_questions(restored)


def assert_predicted(found, finished, vocabulary):
    """These are the answers and steps of `mode=predict`."""
    lines = finished.predictions
    assert found.answers.tolist() == [vocabulary.answers[one["prediction"]] for one in lines]
    assert found.steps.tolist() == [one["steps"] for one in lines]


@pytest.mark.parametrize("batch_size", [5, 500])
def test_answers_are_those_of_prediction(restored, questions, decided, evaluate, batch_size):
    found = answer_all(restored.network, questions, batch_size)
    finished = evaluate("mode=predict", f"ckpt_path={decided}")
    assert_predicted(found, finished, restored.vocabulary)
    assert len(set(found.steps.tolist())) > 1


@pytest.mark.parametrize(
    ("bound", "more", "typed"),
    [
        (None, {}, ("model.halting_bound=null",)),
        ("paper", {}, ("model.halting_bound=paper",)),
        ("budget", {"budget": 1}, ("model.halting_bound=budget", "model.halting_budget=1")),
    ],
)
def test_answers_with_other_bounds_too(restored, questions, decided, evaluate, bound, more, typed):
    before = answer_all(restored.network, questions)
    found = answer_bounded(restored.network, questions, bound, **more)
    finished = evaluate("mode=predict", f"ckpt_path={decided}", *typed)
    assert_predicted(found, finished, restored.vocabulary)
    after = answer_all(restored.network, questions)  # the network is as it was
    assert [a.tolist() for a in after] == [b.tolist() for b in before]
    assert bound == "paper" or found.steps.tolist() != before.steps.tolist()


def test_right_is_what_validation_counts_as_right(trained):
    own = restore(trained.dact.last)
    known = open_questions(own)
    found = answer_all(own.network, known)
    assert (found.answers == known.right).mean() == pytest.approx(own.results["all"].accuracy)
    assert found.steps.mean() == pytest.approx(own.results["all"].steps)
    for number, name in enumerate(known.type_names):
        if (known.types == number).any():
            right = (found.answers == known.right)[known.types == number]
            assert right.mean() == pytest.approx(own.results[name].accuracy)


def test_draws_by_lot_are_the_same_each_time_and_leave_no_trace(program):
    fitted = program("model=pondernet", "warm_start=none")
    own = restore(fitted.last)
    known = open_questions(own)
    before = answer_all(own.network, known)
    first, again = (answer_sampled(own.network, known) for _ in range(2))
    assert first.steps.tolist() == again.steps.tolist() != before.steps.tolist()
    assert answer_all(own.network, known).steps.tolist() == before.steps.tolist()


def test_what_is_known_of_questions_is_what_the_data_say(restored, questions):
    packed = questions.dataset.questions
    assert questions.reads.tolist() == packed.reads_needed.tolist()
    train = open_data(restored).dataset("train").questions
    floors = answer_priors(train, packed)
    assert questions.guessed.mean() == pytest.approx(floors["all"])
    for number, name in enumerate(questions.type_names):
        own = questions.types == number
        assert not own.any() or questions.guessed[own].mean() == pytest.approx(floors[name])


# Tables.


def cells(text):
    """Of a table, without its head."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert len({len(row) for row in rows}) == 1
    return rows[2:]


def test_what_bounds_save_and_change():
    """The second of two networks changes one of four answers, and both save a step of three."""
    known = SimpleNamespace(right=np.array([0, 1, 2, 3]))
    two = [network("dact", np.ones(4, bool), 3, most=3, seed=seed) for seed in (0, 1)]
    full = Answers(np.array([0, 1, 2, 9]), np.full(4, 3))
    early = [
        Answers(np.array([0, 1, 2, 9]), np.full(4, 2)),
        Answers(np.array([0, 1, 9, 9]), np.array([1, 2, 2, 3])),
    ]
    names = [one.training.name for one in two]
    bounded = {"": dict.fromkeys(names, full), "paper": dict(zip(names, early, strict=True))}
    none, paper = cells(pages.bounds_table(two, bounded, known))
    assert none[0] == "none: all steps"
    assert none[1:] == ["3.00 ± 0.00", "0.00 ± 0.00", "100.00 ± 0.00", "75.0 ± 0.0"]
    assert paper[0] == "`paper`"
    assert paper[1:] == ["2.00 ± 0.00", "1.00 ± 0.00", "87.50 ± 17.68", "62.5 ± 17.7"]


@pytest.mark.parametrize(
    ("taken", "off", "near"),
    [(2.0, "+0.00", "yes"), (2.1, "+0.10", "yes"), (2.3, "+0.30", "no"), (1.7, "-0.30", "no")],
)
def test_a_budget_is_met_or_not(taken, off, near):
    one = network("dact", np.array([True, False]), taken, target=2.0)
    assert cells(pages.budgets_table([one])) == [["2", f"{taken:.2f}", off, near, "50.0"]]


def test_pondernet_in_both_modes():
    known = SimpleNamespace(right=np.array([0, 1, 2, 3]))
    one = network("pondernet", np.array([True, True, True, False]), [1, 2, 3, 4])
    lot = Answers(np.array([0, 9, 9, 9]), np.array([1, 1, 1, 2]))
    (row,) = cells(pages.sampling_table([one], {one.training.name: lot}, known))
    assert row == ["PonderNet, λ_p = 0.2, seed 0", "2.50", "75.0", "1.25", "25.0"]


def test_recipes_say_what_is_equal_and_what_is_not():
    """A MAC has no halting unit, so no bias of one."""
    known = [network(group, np.ones(2, bool), 2) for group in ("mac", "mac_on", "dact", "dact")]
    assert cells(pages.recipes_table(known)) == [
        ["MAC, one schedule", "1", "6", "0.001", "0.8", "—"],
        ["MAC, trained on", "1", "6", "0.001", "0.8", "—"],
        ["DACT", "2", "6", "0.001", "0.8", "1.5"],
    ]


def test_settings_have_their_spread_if_there_is_one():
    two = Setting("dact", "τ=5e-3", "x", 2, Spread(0.9, 0.01), Spread(2.5, 0.5), Spread(1, 0.25))
    one = Setting("mac", "1 step", "x", 1, Spread(0.8, None), Spread(1.0, None), None)
    assert cells(pages.settings_table([two, one])) == [
        ["dact", "τ=5e-3", "2", "90.0 ± 1.0", "2.50 ± 0.50", "1.000 ± 0.250"],
        ["mac", "1 step", "1", "80.0", "1.00", ""],
    ]


# The page.


def test_a_page_names_every_claim_and_says_what_made_it():
    made = pages.Provenance(
        command="python x --y",
        trained=["abc", "abd"],
        evaluated="def-dirty",
        date="2001-02-03",
        hours=1.26,
        jobs=2,
        seeds="Seeds 3, 4 for it.",
        questions="the 9 validation questions of z",
    )
    rows = [["a", "b"], ["x", "1"]]
    held = Claim("C1", "It is so", "held if so", HOLDS, rows, ["A note."], "1 of x", "2 of x")
    not_held = held._replace(name="C2", text="It is not", verdict=FAILS, paper=NOTHING)
    text = pages.page(made, [held, not_held], {"More": "text"}, {"a picture": "f.svg"})
    assert "|  | claim | paper | here | verdict |\n" in text
    assert "| [C1](#c1) | It is so | 2 of x | 1 of x | **holds** |" in text
    assert "| [C2](#c2) | It is not | — | 1 of x | **does not hold** |" in text
    table = "| a | b |\n| --- | --: |\n| x | 1 |"
    said = "It is not: **does not hold here** (held if so)."
    assert f"## C2\n\n{said}\n\n{table}\n\nA note.\n\n## More\n\ntext\n" in text
    head = " ".join(text.partition("| ")[0].split())
    assert "come to on the 9 validation questions of z." in head
    assert "``` python x --y ``` on 2001-02-03 on " in head
    assert "at commit `abc`, `abd`, 1.3 hours in sum, 2 at once; " in head
    assert "answered and written at `def-dirty`." in head
    assert "![a picture](f.svg)" in text


def without(text, *patterns):
    """Lines in which none of these occurs."""
    return [line for line in text.splitlines() if not any(re.search(p, line) for p in patterns)]


@pytest.mark.slow
def test_the_whole_way_as_a_trial(mini_root, tmp_path, monkeypatch, capsys):
    """Twice: the second time everything is there, and the page comes out the same but for times."""
    tiny = ["model.dim=8", "model.embedding_dim=6", "data.batch_size=16", "data.fraction=1"]
    output, work = tmp_path / "pages" / "results.md", tmp_path / "logs" / "reproduce" / "trial"
    typed = ["reproduce.py", "--size", "trial", "--output", str(output)]
    monkeypatch.setattr("sys.argv", [*typed, f"data.root={mini_root}", *tiny])
    reproduce.main()
    said = capsys.readouterr().out
    text = output.read_text()
    names = ["C1", "C2", "C3a", "C3b", "C4", "C5", "C6"]
    assert re.findall(r"^## (C\w+)\n\n.*\*\*.* here\*\*", text, re.MULTILINE) == names
    assert re.findall(r"^(C\w+) .*\n  here:  .+\n  paper: .+$", said, re.MULTILINE) == names
    figures = {path.name: path.read_bytes() for path in (output.parent / "figures").iterdir()}
    assert set(figures) == {"accuracy.svg", "families.svg", "cost.svg", "time.svg"}
    assert all(f"(figures/{name})" in text for name in figures)
    assert {path.parent.name for path in work.rglob("result.json")} == {
        one.name for one in plan(SIZES["trial"])
    }
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    reproduce.main()
    after = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if ".lock" not in path.name} == {
        path: time for path, time in before.items() if ".lock" not in path.name
    }
    for beginning, end in (("", "## C6"), ("## Against every MAC", "## All settings")):
        parts = [one[one.index(beginning) : one.index(end)] for one in (text, output.read_text())]
        same = [without(part, r"^on \d{4}-", r"^\| \[C6\]") for part in parts]
        assert same[0] == same[1]
    for name in ("accuracy.svg", "families.svg", "cost.svg"):
        assert (output.parent / "figures" / name).read_bytes() == figures[name]


@pytest.mark.parametrize(
    ("output", "work", "said"),
    [
        ("page", "work", r"^--output .*page is a folder: name a file in it"),
        ("file/o.md", "work", r"^.*file/figures cannot be made: Not a directory"),
        ("o.md", "file", r"^.*file cannot be made: File exists"),
    ],
)
def test_places_that_cannot_be_are_refused_before_anything_is_trained(tmp_path, output, work, said):
    (tmp_path / "page").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=said):
        reproduce.make_places(tmp_path / output, tmp_path / work)
