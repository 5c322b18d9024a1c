"""Claims about accuracy, as scripts/reproduce.py has them, on networks that are made up.

Where all images are alike, so are all resamples, and intervals have no width.
"""

from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
import reproduce_accuracy as accuracy
from answered_networks import network
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce_answers import Answers
from reproduce_plan import SIZES
from reproduce_statistics import Resamples
from reproduce_verdict import FAILS, HOLDS, IN_PART, OPEN

#: Four images, of each of which a thousand questions are asked.
IMAGES, EACH = 4, 1000
DRAWS = Resamples(np.repeat(np.arange(IMAGES), EACH))


def shares(*right):
    """Which questions are answered right: such a share of each image, or of all alike."""
    right = right * IMAGES if len(right) == 1 else right
    return np.concatenate([np.arange(EACH) < round(EACH * share) for share in right])


# C1.

#: 0.2, 0.4 and 0.8 of seed 0; half of that of seed 1.
MACS = [
    network("mac", shares(right / (seed + 1)), n, most=n, seed=seed)
    for seed in (0, 1)
    for n, right in ((1, 0.2), (2, 0.4), (4, 0.8))
]
SIZE = SIZES["trial"]._replace(mac_steps=(1, 2, 4))


def dact(right, taken=3, *, cost=5e-3, seed=0):
    return network("dact", shares(*right), taken, cost=cost, seed=seed)


def beats_mac(*dacts):
    return accuracy.beats_mac(dacts, MACS, DRAWS, SIZE)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([[0.7]], HOLDS),  # 0.6 at three steps, 0.3 with the other seed
        ([[0.5]], FAILS),
        ([[0.7], [0.4]], HOLDS),
        ([[0.5], [0.2]], FAILS),
        ([[0.9], [0.29]], OPEN),  # above on average, but not in each seed
        ([[0.3], [0.31]], OPEN),
        ([[1, 0.8, 0.6, 0.4]], OPEN),  # above, but it depends on the images
        ([[0.8, 0.6, 0.4, 0.2]], OPEN),
        ([[1, 0.9, 0.8, 0.7]], HOLDS),
    ],
)
def test_dact_is_compared_with_macs_of_its_seed_and_as_many_steps(seeds, said):
    dacts = [dact(right, seed=seed) for seed, right in enumerate(seeds)]
    claim = beats_mac(*dacts)
    assert claim.verdict == said
    leads = [one.accuracy - (0.6, 0.3)[one.seed] for one in dacts]
    assert claim.rows[1][4] == ", ".join(f"{100 * lead:+.2f}" for lead in leads)
    assert claim.rows[1][3].startswith(f"{100 * fmean(leads):.2f} (")


def test_a_mac_leads_itself_by_nothing():
    claim = beats_mac(dact([0.4], 2))
    assert (claim.verdict, claim.rows[1][3]) == (OPEN, "0.00 (0.00 to 0.00)")


def test_each_ponder_cost_is_an_instance_of_its_own():
    claim = beats_mac(
        dact([0.7], cost=0.0), dact([0.5], cost=1e-2), dact([1, 0.8, 0.6, 0.4], cost=1e-3)
    )
    assert claim.verdict == IN_PART
    assert [row[0] for row in claim.rows[1:]] == ["0", "1e-3", "1e-2"]
    assert claim.notes[0] == "Ahead at τ = 0; behind at 1e-2; undecided at 1e-3."
    assert (
        "the best MAC has 60.0 ± 28.3 % (4 steps), the best DACT 70.0 % (τ = 0)" in claim.notes[1]
    )
    assert "25.0 %" in claim.notes[-1]


def slow_line(at, points):
    """Read off the line between the neighbours, or the nearest."""
    points = sorted(points)
    if at <= points[0][0]:
        return points[0][1]
    for (x, y), (right, above) in pairwise(points):
        if at <= right:
            return y + (above - y) * (at - x) / (right - x)
    return points[-1][1]


@settings(max_examples=20)
@given(seed=st.integers(0, 999), low=st.integers(1, 5), high=st.integers(1, 5))
def test_the_lead_is_over_the_line_in_each_resample(seed, low, high):
    """Also where DACT takes fewer or more steps than any MAC."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 6, 40)
    taken = generator.integers(min(low, high), max(low, high) + 1, 40)
    ours, *theirs = generator.random((4, 40)) < 0.6
    macs = [network("mac", one, n, most=n) for n, one in zip((4, 2, 3), theirs, strict=True)]
    other = network("mac", np.ones(40, bool), 1, most=1, seed=1)  # of another seed

    def lead(at):
        points = [(mac.max_steps, float(mac.right[at].mean())) for mac in macs]
        return float(ours[at].mean()) - slow_line(float(taken[at].mean()), points)

    draws = Resamples(images)
    found = accuracy.lead(network("dact", ours, taken), [*macs, other], draws)
    assert found == pytest.approx(draws.each(lead))


# C4.


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ([[0.9], [0.91]], HOLDS),
        ([[0.9], [0.896]], HOLDS),  # within the margin
        ([[0.9], [0.894]], FAILS),
        ([[0.9], [1, 1, 0.8, 0.8]], OPEN),  # the same, but it depends on the images
        ([[0.9], [0.91], [0.89]], IN_PART),
        ([[0.9], [0.89], [0.88]], FAILS),
    ],
)
def test_more_steps_do_not_hurt(right, said):
    sizes = (5, 8, 9)[: len(right)]
    dacts = [network("dact", shares(*own), 3, most=n) for n, own in zip(sizes, right, strict=True)]
    claim = accuracy.more_steps_do_not_hurt(dacts, [network("mac", shares(0.7), 5)], DRAWS)
    assert claim.verdict == said
    assert [row[:2] for row in claim.rows[1:]] == [
        [str(n), "70.0" if n == 5 else ""] for n in sizes
    ]
    gain = 100 * (shares(*right[1]).mean() - 0.9)
    assert f"from 5 to 8: {gain:.2f} (" in claim.notes[0]


def test_a_gain_is_that_of_the_mean_over_seeds():
    """One seed loses, the other wins more."""
    dacts = [
        network("dact", shares(right), 3, most=most, seed=seed)
        for (most, seed), right in {(5, 0): 0.9, (5, 1): 0.8, (8, 0): 0.89, (8, 1): 0.84}.items()
    ]
    claim = accuracy.more_steps_do_not_hurt(dacts, [], DRAWS)
    assert claim.verdict == HOLDS
    assert "from 5 to 8: 1.50 (1.50 to 1.50)" in claim.notes[0]


# C5.

FULL = Answers(np.array([7, 8, 9]), np.array([3, 3, 3]))
SAME = Answers(np.array([7, 8, 9]), np.array([1, 2, 3]))
CHANGED = Answers(np.array([7, 0, 9]), np.array([1, 2, 3]))
LATE = Answers(np.array([7, 8, 0]), np.array([1, 2, 3]))  # it took all steps


@pytest.mark.parametrize(
    ("exact", "paper", "said", "changed"),
    [
        (SAME, SAME, HOLDS, "00"),
        (SAME, CHANGED, IN_PART, "01"),
        (CHANGED, FULL, FAILS, "10"),
        (CHANGED, CHANGED, FAILS, "11"),
        (LATE, SAME, HOLDS, "00"),
        (FULL, SAME, IN_PART, "00"),
        (FULL, FULL, OPEN, "00"),
    ],
)
def test_one_changed_answer_is_one_too_many(exact, paper, said, changed):
    """Of those that halted early; where none did, nothing can be told."""
    one, quiet = (network("dact", np.ones(3, bool), 2, most=3, seed=seed) for seed in (0, 1))
    bounded = {
        bound: {one.training.name: own, quiet.training.name: FULL}
        for bound, own in (("", FULL), ("exact", exact), ("paper", paper))
    }
    claim = accuracy.same_answers([one, quiet], bounded)
    assert claim.verdict == said
    assert "".join(row[3] for row in claim.rows[1:]) == changed
    early = [str(2 * (own is not FULL)) for own in (exact, paper)]
    assert [row[2] for row in claim.rows[1:]] == early
    assert claim.rows[1][4:] == [f"{(3 + exact.steps.mean()) / 2:.2f}", "3"]
