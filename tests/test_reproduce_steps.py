"""Claims about steps, as scripts/reproduce.py has them, on networks that are made up."""

from statistics import fmean

import numpy as np
import pytest
import reproduce_steps as steps
from answered_networks import network
from reproduce_answers import Questions
from reproduce_statistics import Resamples
from reproduce_verdict import FAILS, HOLDS, IN_PART, OPEN

# C2.


@pytest.mark.parametrize(
    ("seeds", "acts", "said"),
    [
        ([[5, 3, 1]], [3.0, 3.1], HOLDS),
        ([[5, 3, 3.05]], [3.0, 3.02], HOLDS),
        ([[5, 3, 1], [5, 4, 2]], [3.0, 3.1], HOLDS),
        ([[5, 3, 3.05]], [3.0, 3.1], FAILS),  # no more than ACT
        ([[5, 3, 3.5]], [3.0, 3.1], FAILS),  # rises
        ([[3.2, 3.1, 3.0]], [3.0, 3.01], FAILS),  # falls too little
        ([[5, 3, 1]], [5, 4], FAILS),  # ACT moves half as much, over the τ that both have
        ([[5, 3, 1], [5, 3, 3.05]], [3.0, 3.1], IN_PART),
        ([[3, 3, 3]], [5, 1], FAILS),
        ([[3, 3, 3], [1, 3, 5]], [5, 1], FAILS),
        ([[3, 3, 3]], [3, 3], FAILS),
        ([[1, 3, 5], [1, 3, 5]], [3, 3], FAILS),
    ],
)
def test_steps_follow_the_cost(seeds, acts, said):
    right = np.ones(8, bool)
    dacts = [
        network("dact", right, float(n), cost=cost, seed=seed)
        for seed, own in enumerate(seeds)
        for cost, n in zip((0.0, 1e-3, 1e-2), own, strict=True)
    ]
    others = [
        network("act", right, float(n), cost=cost)
        for cost, n in zip((1e-3, 1e-2, 1.0), [*acts, 1.0], strict=True)  # DACT has no τ = 1
    ]
    claim = steps.follows_cost(dacts, others, [network("pondernet", right, 2)])
    assert claim.verdict == said
    assert [row[:2] for row in claim.rows[1:5]] == [
        ["DACT", "τ = 0"],
        ["DACT", "τ = 1e-3"],
        ["DACT", "τ = 1e-2"],
        ["ACT", "τ = 1e-3"],
    ]
    assert claim.rows[-1] == ["PonderNet", "λ_p = 0.2", "2.00"]
    assert f"ACT ranges over {abs(acts[1] - acts[0]):.2f}" in claim.notes[0]
    assert claim.notes[0].count("seed ") == len(seeds)


# C3.


def questions(lengths, *, families=0, types=0, images=40):
    """The same few questions about each image."""
    columns = [
        np.tile(np.broadcast_to(c, len(lengths)), images) for c in (lengths, families, types)
    ]
    numbers = np.repeat(np.arange(images), len(lengths))
    return Questions(None, columns[0], *columns, ("query_attribute", "count", "exist"), numbers)


def asked(claim, taken, asked_of, kind="dact"):
    """A claim about steps of a network that takes these at the questions of each image."""
    count = len(asked_of.images)
    one = network(kind, np.ones(count, bool), np.resize(taken, count))
    return claim([one], asked_of, Resamples(asked_of.images))


@pytest.mark.parametrize(
    ("taken", "said", "numbers"),
    [
        ([1, 2, 3, 4], HOLDS, "1.00 (1.00 to 1.00)"),
        ([4, 3, 2, 1], FAILS, "-1.00 (-1.00 to -1.00)"),
        ([1, 2, 2, 1], OPEN, "0.00 (0.00 to 0.00)"),
        ([2, 2, 2, 2], OPEN, "nan (nan to nan)"),
    ],
)
def test_steps_follow_the_length_of_programs(taken, said, numbers):
    claim = asked(steps.follows_length, taken, questions([3, 5, 7, 9]))
    assert claim.verdict == said
    assert claim.rows[1] == ["DACT, τ = 0, seed 0", numbers, numbers]


def test_a_correlation_may_be_one_of_types():
    """Longer programs take more steps over all, and fewer within each type."""
    known = questions([3, 4, 8, 9], types=[0, 0, 1, 1])
    claim = asked(steps.follows_length, [2, 1, 4, 3], known)
    assert claim.verdict == HOLDS
    assert [float(cell.split()[0]) for cell in claim.rows[1][1:]] == [0.6, -1.0]


def test_what_depends_on_few_images_is_no_difference_of_families():
    """η² is more than chance would have it, but not so in each resample."""
    known = questions([3] * 4, families=[7, 7, 9, 9], images=8)
    claim = asked(steps.differs_by_family, 7 * [1, 1, 2, 2] + [2, 2, 1, 1], known)
    share, low = (float(number) for number in claim.rows[1][1].replace("(", "").split()[:2])
    assert low < float(claim.rows[1][2]) < share == 0.56
    assert claim.verdict == FAILS


@pytest.mark.parametrize("claim", [steps.follows_length, steps.differs_by_family])
def test_of_other_networks_nothing_is_claimed(claim):
    known = questions([3, 5, 7, 9], families=[0, 1, 2, 3])
    found = asked(claim, [1, 2, 3, 4], known, kind="act")
    assert (found.verdict, found.rows[1][0]) == (OPEN, "ACT, τ = 0, seed 0")
    assert found.rows[1][1] == "1.00 (1.00 to 1.00)"


@pytest.mark.parametrize(
    ("taken", "said", "share"),
    [
        ([1, 1, 3, 3], HOLDS, "1.00 (1.00 to 1.00)"),
        ([1, 2, 2, 3], HOLDS, "0.50 (0.50 to 0.50)"),
        ([1, 3, 1, 3], FAILS, "0.00 (0.00 to 0.00)"),
        ([2, 2, 2, 2], OPEN, "nan (nan to nan)"),
    ],
)
def test_families_differ_in_their_steps(taken, said, share):
    known = questions([3] * 4, families=[7, 7, 9, 9], types=[0, 0, 0, 2])
    claim = asked(steps.differs_by_family, taken, known)
    assert claim.verdict == said
    assert claim.rows[0][3:] == ["query attribute", "exist"]  # nobody counts
    assert claim.rows[1][1] == share
    assert claim.rows[1][3:] == [f"{fmean(taken[:3]):.2f}", f"{taken[3]:.2f}"]


# C6.


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([5.5, 6.0, 7.0], HOLDS),
        ([4.5, 4.0, 3.0], FAILS),
        ([5.5, 7.0, 6.0], FAILS),  # a rank correlation of 0.5
        ([5.0, 5.0, 5.0], OPEN),
    ],
)
def test_time_follows_steps(times, said):
    """Of the questions that were answered to take it, which are the first two."""
    dacts = [
        network("dact", np.ones(5, bool), [n, n, 9 - n, 9 - n, 9 - n], milliseconds=time)
        for n, time in zip((1, 2, 4), times, strict=True)
    ]
    others = [network(kind, np.ones(5, bool), 3) for kind in ("act", "pondernet", "mac")]
    claim = steps.time_falls_with_steps([*others, *dacts], 2)
    assert claim.verdict == said
    line = [float(cell) for cell in claim.rows[1][3:]]
    assert line == pytest.approx(np.polyfit([1, 2, 4], times, 1)[::-1], abs=1e-4)
    assert [row[:2] for row in claim.rows[1:]] == [
        ["dact", "3"],
        ["act", "1"],
        ["pondernet", "1"],
        ["mac", "1"],
    ]
