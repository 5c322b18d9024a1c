"""Claims that accuracy does not suffer, of scripts/reproduce.py, on networks that are made up.

Where all images are alike, so are all resamples, and intervals have no width.
"""

import numpy as np
import pytest
import reproduce_accuracy as accuracy
from answered_networks import network
from reproduce_answers import Answers
from reproduce_statistics import Resamples
from reproduce_verdict import FAILS, HOLDS, IN_PART, OPEN

#: Four images, of each of which a thousand questions are asked.
IMAGES, EACH = 4, 1000
DRAWS = Resamples(np.repeat(np.arange(IMAGES), EACH))


def shares(*right):
    """Which questions are answered right: such a share of each image, or of all alike."""
    right = right * IMAGES if len(right) == 1 else right
    return np.concatenate([np.arange(EACH) < round(EACH * share) for share in right])


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
    assert [row[:3] for row in claim.rows[1:]] == [
        [str(n), "1", "70.0" if n == 5 else ""] for n in sizes
    ]
    gain = 100 * (shares(*right[1]).mean() - 0.9)
    assert f"from 5 to 8, 1 seed: {gain:.2f} (" in claim.notes[0]


def test_a_gain_is_that_of_the_mean_over_seeds():
    """One seed loses, the other wins more."""
    dacts = [
        network("dact", shares(right), 3, most=most, seed=seed)
        for (most, seed), right in {(5, 0): 0.9, (5, 1): 0.8, (8, 0): 0.89, (8, 1): 0.84}.items()
    ]
    claim = accuracy.more_steps_do_not_hurt(dacts, [], DRAWS)
    assert claim.verdict == HOLDS
    assert "from 5 to 8, 2 seeds: 1.50 (1.50 to 1.50)" in claim.notes[0]


def test_a_gain_is_of_the_seeds_that_both_have():
    """Another seed of one N says nothing about the other N."""
    dacts = [
        network("dact", shares(right), 3, most=most, seed=seed)
        for (most, seed), right in {(5, 0): 0.9, (5, 1): 0.2, (8, 0): 0.89}.items()
    ]
    claim = accuracy.more_steps_do_not_hurt(dacts, [], DRAWS)
    assert claim.here == "gain in points from 5 to 8, 1 seed: -1.00 (-1.00 to -1.00)"
    assert [row[1] for row in claim.rows[1:]] == ["2", "1"]


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
