"""Claims about steps, as scripts/reproduce.py has them, on networks that are made up."""

from statistics import fmean

import numpy as np
import pytest
import reproduce_steps as steps
from answered_networks import network
from reproduce_verdict import FAILS, HOLDS, IN_PART, OPEN

# C2.


@pytest.mark.parametrize(
    ("seeds", "acts", "said"),
    [
        ([[5, 3, 1]], [[3.0, 3.1]], HOLDS),
        ([[5, 3, 3.05]], [[3.0, 3.02]], HOLDS),
        ([[5, 3, 1], [5, 4, 2]], [[3.0, 3.1]], HOLDS),
        ([[5, 3, 3.05]], [[3.0, 3.1]], FAILS),  # no more than ACT
        ([[5, 3, 3.5]], [[3.0, 3.1]], FAILS),  # rises
        ([[3.2, 3.1, 3.0]], [[3.0, 3.01]], FAILS),  # falls too little
        ([[5, 3, 1]], [[5, 4]], FAILS),  # ACT moves half as much, over the τ that both have
        ([[5, 3, 1], [5, 3, 3.05]], [[3.0, 3.1]], IN_PART),
        ([[5, 3, 1], [5, 3, 1]], [[3.0, 3.1], [5, 4]], IN_PART),  # each with ACT of its seed
        ([[5, 3, 1], [5, 3, 1]], [[5, 4], [3.0, 3.1]], IN_PART),
        ([[5, 3, 1], [5, 3, 1]], [[3.0, 3.1], [3.1, 3.0]], HOLDS),
        ([[3, 3, 3]], [[5, 1]], FAILS),
        ([[3, 3, 3], [1, 3, 5]], [[5, 1]], FAILS),
        ([[3, 3, 3]], [[3, 3]], FAILS),
        ([[1, 3, 5], [1, 3, 5]], [[3, 3]], FAILS),
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
        network("act", right, float(n), cost=cost, seed=seed)
        for seed, own in enumerate(acts)
        for cost, n in zip((1e-3, 1e-2, 1.0), [*own, 1.0], strict=True)  # DACT has no τ = 1
    ]
    ruled = [network("paper_rule", right, 4, cost=1e-3)]
    claim = steps.follows_cost(dacts, ruled, others, [network("pondernet", right, 2)])
    assert claim.verdict == said
    assert [row[:2] for row in claim.rows[1:6]] == [
        ["DACT", "τ = 0"],
        ["DACT", "τ = 1e-3"],
        ["DACT", "τ = 1e-2"],
        ["DACT by the paper's rule", "τ = 1e-3"],
        ["ACT", "τ = 1e-3"],
    ]
    assert claim.rows[2][5] == "8.35"  # of the paper
    assert claim.rows[-1] == ["PonderNet", "λ_p = 0.2", "1", "2.00", "2.00", "—"]
    assert f"ACT over {abs(acts[0][1] - acts[0][0]):.2f} (τ = 1e-3, 1e-2)" in claim.notes[0]
    assert claim.notes[0].count("seed ") == len(seeds)
    means = [fmean(own[place] for own in seeds) for place in (1, 2)]
    assert claim.here.startswith(f"DACT {min(means):.2f}–{max(means):.2f}, ACT 1.00–")
    assert claim.paper == "DACT 2.90–8.35, ACT 2.76–3.97 steps"


def test_seeds_with_fewer_costs_are_judged_by_those():
    right = np.ones(8, bool)
    dacts = [network("dact", right, n, cost=cost) for cost, n in ((0.0, 3), (1e-3, 2), (1e-2, 1))]
    dacts += [network("dact", right, n, cost=n / 10, seed=1) for n in (1, 2)]  # other τ, and rises
    acts = [network("act", right, 2, cost=1e-3)]
    claim = steps.follows_cost(dacts, (), acts, ())
    assert claim.verdict == FAILS  # one τ that both have has no range; the other seed rises
    assert "ranges over 0.00, ACT over 0.00 (τ = 1e-3); seed 1" in claim.notes[0]


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
    assert (claim.rows[1][2] == "—") == (said == OPEN)
    assert [row[:2] for row in claim.rows[1:]] == [
        ["dact", "3"],
        ["act", "1"],
        ["pondernet", "1"],
        ["mac", "1"],
    ]
