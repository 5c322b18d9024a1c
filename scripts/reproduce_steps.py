"""The claims of the paper about steps as a whole: C2 and C6."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import reproduce_paper as paper
from reproduce_answers import Answered
from reproduce_lead import by_cost
from reproduce_statistics import slope, spearman
from reproduce_verdict import NOTHING, Claim, number, spread_text, verdict

from dact.groups import cost_name

#: By which mean steps may rise from one τ to the next, and must fall over all of them.
RISE, FALL = 0.1, 0.25
#: Rank correlation of steps and time above which time follows steps.
STRONG = 0.8


def follows_cost(
    dacts: Sequence[Answered],
    ruled: Sequence[Answered],
    acts: Sequence[Answered],
    ponders: Sequence[Answered],
) -> Claim:
    """C2; `ruled` are DACTs by the paper's rule."""
    outcomes, told = [], []
    for seed in sorted({one.seed for one in dacts}):
        own = [one for one in dacts if one.seed == seed]
        others = [one for one in acts if one.seed == seed] or [one for one in acts if not one.seed]
        shared = {one.cost for one in own} & {one.cost for one in others}
        ours, theirs = (_range([one for one in g if one.cost in shared]) for g in (own, others))
        outcomes.append(_falls(own) and ours > 2 * theirs)
        costs = ", ".join(map(cost_name, sorted(shared)))
        told.append(
            f"seed {seed}: DACT {'falls' if _falls(own) else 'does not fall'} and ranges over "
            f"{ours:.2f}, ACT over {theirs:.2f} (τ = {costs})"
        )
    priced = [one for one in dacts if one.cost > 0]
    by_mean = [np.mean([one.mean_steps for one in same]) for same in by_cost(priced).values()]
    single = [one.mean_steps for one in acts]
    spans = [(min(steps), max(steps)) for steps in (by_mean, single)]
    return Claim(
        "C2",
        "DACT's steps fall as τ grows, while ACT's hardly move",
        f"held in a seed if DACT's fall by {FALL:g} at least, rise by {RISE:g} at most from one τ "
        "to the next, and range over more than twice as much as ACT's over the τ that both have",
        verdict(outcomes),
        _knobs([*dacts, *ruled, *acts, *ponders]),
        [
            f"By {'; '.join(told)}.",
            "The summary has the fewest and the most mean steps: of DACT over its means by τ > 0, "
            "of ACT over all its networks, since the paper's figure does not name their τ. The "
            "prior of PonderNet is beside them for comparison.",
        ],
        _spans(*spans),
        _spans(*map(paper.steps_range, ("dact", "act"))),
    )


def _spans(dact: tuple[float, float], act: tuple[float, float]) -> str:
    return "DACT {:.2f}–{:.2f}, ACT {:.2f}–{:.2f} steps".format(*dact, *act)


def _knobs(networks: Sequence[Answered]) -> list[list[str]]:
    """Mean steps by what a network was told; the paper's beside those of DACT."""
    theirs = {f"τ = {cost}": f"{one.steps:.2f}" for cost, one in paper.means("dact").items()}
    groups: dict[tuple[str, str], list[Answered]] = {}
    for one in sorted(networks, key=lambda one: one.cost):
        groups.setdefault((one.kind, one.knob), []).append(one)
    kinds = list(dict.fromkeys(one.kind for one in networks))
    rows = [["", "knob", "seeds", "mean steps", "by seed", "the paper's"]]
    for (kind, knob), same in sorted(groups.items(), key=lambda item: kinds.index(item[0][0])):
        steps = [one.mean_steps for one in sorted(same, key=lambda one: one.seed)]
        beside = theirs.get(knob, NOTHING) if kind.startswith("DACT") else NOTHING
        by_seed = ", ".join(f"{one:.2f}" for one in steps)
        rows.append([kind, knob, str(len(same)), spread_text(steps), by_seed, beside])
    return rows


def _range(networks: Sequence[Answered]) -> float:
    """The largest less the smallest mean steps; 0 of none."""
    steps = [one.mean_steps for one in networks]
    return max(steps) - min(steps) if steps else 0.0


def _falls(networks: Sequence[Answered]) -> bool:
    steps = [one.mean_steps for one in sorted(networks, key=lambda one: one.cost)]
    rises = [after - before for before, after in pairwise(steps)]
    return max(rises, default=0) <= RISE and steps[0] - steps[-1] >= FALL


def time_falls_with_steps(networks: Sequence[Answered], timed: int) -> Claim:
    """C6: of several kinds of networks; `timed` questions were answered to take the time."""
    rows = [["", "networks", "rank correlation", "ms at 0 steps", "ms for each step"]]
    outcomes: list[bool | None] = []
    for kind in ("dact", "act", "pondernet", "mac"):  # DACT in the first row
        group = [one for one in networks if one.restored.model == kind]
        steps = np.array([one.steps[:timed].mean() for one in group])
        times = np.array([one.milliseconds for one in group])
        (start, each), rho = slope(steps, times), spearman(steps, times)
        rows.append([kind, str(len(group)), number(rho), number(start, 4), number(each, 4)])
        if kind == "dact":
            outcomes.append(None if rho != rho else rho > STRONG and each > 0)
    return Claim(
        "C6",
        "Fewer steps take less time for each question",
        f"held if time grows with steps over all DACTs, with a rank correlation above {STRONG:g}",
        verdict(outcomes),
        rows,
        [
            f"Steps and time of the first {timed} questions, answered at once; networks in turns "
            "in one process, median of five rounds."
        ],
        f"DACT: rank correlation {rows[1][2]}, {rows[1][4]} ms for each step",
    )
