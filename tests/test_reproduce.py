"""The plan, the statistics and the verdicts of scripts/reproduce.py, and all of it as a trial."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
import reproduce
import reproduce_claims as claims
import reproduce_page as pages
from hypothesis import given
from hypothesis import strategies as st
from reproduce_answers import Answers, Questions
from reproduce_plan import SIZES, Training, command, plan
from reproduce_statistics import bootstrap, explained, ranks, slope, spearman

from dact import checks
from dact.metrics import GroupMeans

# The plan.

every_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


@every_size
def test_what_others_start_from_comes_first_and_fits(size):
    seen = {}
    for one in plan(size):
        assert re.fullmatch(r"[\w.-]+", one.name)
        assert one.name not in seen
        seen[one.name] = one
        if one.starts_from:
            start = seen[one.starts_from]
            assert start.seed == one.seed
            shape = [text for text in one.typed if text.startswith("model.max_steps=")]
            assert set(shape) <= set(start.typed)


@every_size
def test_plain_macs_train_as_long_as_what_starts_from_one(size):
    epochs = {}
    for one in plan(size):
        (own,) = (int(text[19:]) for text in one.typed if text.startswith("trainer.max_epochs="))
        epochs[one.name] = own + (epochs[one.starts_from] if one.starts_from else 0)
    totals = {total for name, total in epochs.items() if not name.startswith("start")}
    assert totals == {size.mac_epochs + size.adaptive_epochs}


@every_size
@pytest.mark.usefixtures("configured")
def test_every_training_of_the_plan_is_a_possible_one(size, compose_typed):
    kinds = {one.group: one for one in plan(size)}  # one of each
    for one in kinds.values():
        cfg = compose_typed(*command(one, size, ()))
        checks.check(cfg)
        assert cfg.seed == one.seed


@pytest.fixture
def compose_typed(program):
    return program.compose


# Statistics.

NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=30)


def slow_ranks(values):
    """One more than the number of smaller ones, and half of the others that are equal."""
    return [
        1 + sum(other < value for other in values) + (values.count(value) - 1) / 2
        for value in values
    ]


@given(NUMBERS)
def test_ranks_equal_their_definition(values):
    assert ranks(np.array(values)).tolist() == slow_ranks(values)


@given(NUMBERS, st.randoms(use_true_random=False))
def test_rank_correlation_is_pearsons_of_the_ranks(values, random):
    other = [random.randint(-5, 5) for _ in values]
    found = spearman(np.array(values), np.array(other))
    if len(set(values)) == 1 or len(set(other)) == 1:
        assert math.isnan(found)
    else:
        wanted = np.corrcoef(slow_ranks(values), slow_ranks(other))[0, 1]
        assert found == pytest.approx(wanted)


@given(NUMBERS)
def test_groups_of_one_explain_everything_and_one_group_nothing(values):
    values = np.array(values, float)
    if values.var() > 0:
        assert explained(values, np.arange(len(values))) == pytest.approx(1)
        assert explained(values, np.zeros(len(values))) == pytest.approx(0)


def test_a_bootstrap_covers_the_mean_and_draws_whole_images():
    generator = np.random.default_rng(0)
    images = np.repeat(np.arange(200), 5)
    values = generator.normal(size=200)[images]  # the same for all questions of an image
    found = bootstrap(lambda at: float(values[at].mean()), images)
    assert found.low < found.value < found.high
    alone = bootstrap(lambda at: float(values[at].mean()), np.arange(1000))
    ratio = (found.high - found.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(5**0.5, rel=0.2)  # 200 independent values, not 1000


def test_a_slope_is_that_of_least_squares():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 13))
    assert slope(x, y) == pytest.approx(tuple(np.polyfit(x, y, 1)[::-1]))


# Verdicts.


def network(group, accuracy, steps, *, cost=0.0, seed=0, most=5, milliseconds=1.0, name=None):
    """A network as far as claims look at it."""
    model = {"steps": "dact"}.get(group, group)
    return SimpleNamespace(
        training=Training(name or f"{group}-{cost}-{most}-s{seed}", group, seed, ()),
        restored=SimpleNamespace(model=model, results={"all": GroupMeans(accuracy, steps, 9)}),
        accuracy=accuracy,
        steps=steps,
        max_steps=most,
        cost=cost,
        milliseconds=milliseconds,
    )


MACS = [network("mac", 0.5 + 0.1 * n, n, most=n) for n in range(1, 6)]


@pytest.mark.parametrize(("accuracy", "holds"), [(0.76, True), (0.74, False)])
def test_dact_is_compared_with_a_mac_of_as_many_steps(accuracy, holds):
    """0.75 at 2.5 steps."""
    claim = claims.beats_mac([network("dact", accuracy, 2.5, cost=0.005)], MACS)
    assert claim.holds == holds
    assert claim.rows[1][3] == "75.0 %"


@pytest.mark.parametrize(
    ("steps", "others", "holds"),
    [
        ([5, 3, 1], [3.0, 3.1], True),
        ([5, 3, 3.05], [3.0, 3.1], True),
        ([5, 3, 3.5], [3.0, 3.1], False),
        ([5, 3, 1], [5, 1], False),
    ],
)
def test_steps_follow_the_cost(steps, others, holds):
    dacts = [network("dact", 0.9, n, cost=c) for c, n in zip((0, 1, 2), steps, strict=True)]
    acts = [network("act", 0.9, n, cost=c) for c, n in zip((1, 2), others, strict=True)]
    assert claims.follows_cost(dacts, acts).holds == holds


def questions(lengths, families=None, types=None):
    count = len(lengths)
    zeros = np.zeros(count, int)
    return Questions(
        None,
        np.array(lengths),
        zeros if families is None else np.array(families),
        zeros if types is None else np.array(types),
        ("query_attribute", "count"),
        np.arange(count),
    )


@pytest.mark.parametrize(("sign", "holds"), [(1, True), (-1, False)])
def test_steps_follow_difficulty(sign, holds):
    lengths = np.tile([3, 5, 7, 9], 30)
    dact = network("dact", 0.9, 3)
    answers = {dact.training.name: Answers(lengths, 5 + sign * (lengths - 3) // 2)}
    asked = questions(lengths)
    claim = claims.follows_difficulty([dact], answers, asked)
    assert claim.holds == holds
    assert claim.rows[1][1].startswith(f"{sign:.2f}")
    (_, row) = claims.steps_by_type([dact], answers, asked)
    assert row[1].startswith(f"{5 + sign * 1.5:.2f} (")


@pytest.mark.parametrize(("accuracies", "holds"), [([0.9, 0.91], True), ([0.9, 0.89], False)])
def test_more_steps_do_not_hurt(accuracies, holds):
    dacts = [network("dact", a, 3, most=n) for n, a in zip((5, 8), accuracies, strict=True)]
    claim = claims.more_steps_do_not_hurt([*dacts, *MACS, network("mac", 0.9, 8, most=8)])
    assert claim.holds == holds
    assert [row[0] for row in claim.rows[1:]] == ["5", "8"]


def test_one_changed_answer_is_one_too_many():
    dact, asked = network("dact", 0.9, 3), questions([3, 4, 5])
    same, other = (Answers(np.array(a), np.array([1, 2, 3])) for a in ([7, 8, 9], [7, 8, 0]))
    for exact, holds in ((same, True), (other, False)):
        bounded = {
            bound: {dact.training.name: answers}
            for bound, answers in (("", same), ("exact", exact), ("paper", same))
        }
        claim = claims.same_answers([dact], bounded, asked)
        assert claim.holds == holds
        assert [row[3] for row in claim.rows[1:]] == [str(int(not holds)), "0"]


@pytest.mark.parametrize(("sign", "holds"), [(1, True), (-1, False)])
def test_time_follows_steps(sign, holds):
    dacts = [network("dact", 0.9, n, milliseconds=5 + sign * n / 2) for n in (1, 2, 4)]
    claim = claims.time_falls_with_steps([*dacts, *MACS])
    assert claim.holds == holds
    assert claim.rows[1][3:] == ["5.0000", f"{sign / 2:.4f}"]


def test_a_page_names_every_claim_and_says_what_made_it():
    made = pages.Provenance("python x", "abc", "2001-02-03", 1.25, "9 questions")
    held = claims.Claim("It is so (held if so)", True, [["a", "b"], ["1", "2"]], ["A note."])
    text = pages.page(made, [held, held._replace(holds=False)], {"More": "text"}, ["f.svg"])
    assert "| [C1](#c1) | It is so | holds |" in text
    assert "| [C2](#c2) | It is so | does not hold |" in text
    assert "It is so (held if so). **Does not hold here.**" in text
    for part in ("python x", "`abc`", "2001-02-03", "1.2 hours", "(f.svg)", "## More\n\ntext"):
        assert part in text


@pytest.mark.slow
def test_the_whole_way_as_a_trial(mini_root, tmp_path, monkeypatch):
    """Twice: the second time everything is there, and the page comes out the same but for times."""
    tiny = ["model.dim=8", "model.embedding_dim=6", "data.batch_size=16", "data.fraction=1"]
    tiny += [f"data.root={mini_root}", f"data.cache_dir={tmp_path / 'cache'}"]
    output = tmp_path / "pages" / "results.md"
    arguments = ["reproduce.py", "--size", "trial", "--output", str(output), *tiny]
    monkeypatch.setattr("sys.argv", arguments)
    reproduce.main()
    text = output.read_text()
    assert text.count("here.**") == 6
    assert "[C6](#c6)" in text
    assert (output.parent / "figures" / "results.svg").exists()
    logs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.log")}
    assert len(logs) == len(plan(SIZES["trial"]))
    reproduce.main()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.log")} == logs
    assert output.read_text().split("## C6")[0] == text.split("## C6")[0]
