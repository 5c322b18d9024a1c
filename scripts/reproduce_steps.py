"""The claims of the paper about steps: C2, C3 and C6."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from reproduce_accuracy import by_cost
from reproduce_answers import Answered, Questions
from reproduce_statistics import (
    Interval,
    Resamples,
    by_chance,
    explained,
    interval,
    slope,
    spearman,
    spearman_within,
)
from reproduce_verdict import Claim, spread_text, verdict

from dact.groups import cost_name

#: By which mean steps may rise from one τ to the next, and must fall over all of them.
RISE, FALL = 0.1, 0.25
#: Rank correlation of steps and time above which time follows steps.
STRONG = 0.8


def follows_cost(
    dacts: Sequence[Answered], acts: Sequence[Answered], ponders: Sequence[Answered]
) -> Claim:
    """C2."""
    rows = [["", "knob", "mean steps"]]
    for name, group in (("DACT", dacts), ("ACT", acts)):
        for cost, same in by_cost(group).items():
            steps = spread_text(one.mean_steps for one in same)
            rows.append([name, f"τ = {cost_name(cost)}", steps])
    rows += [[*one.label.split(", "), f"{one.mean_steps:.2f}"] for one in ponders]
    outcomes, notes = [], []
    shared = {one.cost for one in dacts} & {one.cost for one in acts}
    (other,) = _ranges(acts, shared).values()
    for seed, own in _ranges(dacts, shared).items():
        falls = _falls([one for one in dacts if one.seed == seed])
        outcomes.append(falls and own > 2 * other)
        notes.append(f"seed {seed}: {'falls' if falls else 'does not fall'}, range {own:.2f}")
    return Claim(
        "C2",
        "DACT's steps fall as τ grows, while ACT's hardly move",
        f"held in a seed if DACT's fall by {FALL:g} at least, rise by {RISE:g} at most from one τ "
        "to the next, and range over more than twice as much as ACT's over the τ that both have",
        verdict(outcomes),
        rows,
        [
            f"Over τ = {', '.join(map(cost_name, sorted(shared)))}: ACT ranges over {other:.2f}; "
            f"DACT, {'; '.join(notes)}. The prior of PonderNet is beside it for comparison."
        ],
    )


def _ranges(networks: Sequence[Answered], costs: set[float]) -> dict[int, float]:
    """By seed: the largest less the smallest mean steps over some costs."""
    found: dict[int, list[float]] = {}
    for one in networks:
        if one.cost in costs:
            found.setdefault(one.seed, []).append(one.mean_steps)
    return {seed: max(steps) - min(steps) for seed, steps in sorted(found.items())}


def _falls(networks: Sequence[Answered]) -> bool:
    steps = [one.mean_steps for one in sorted(networks, key=lambda one: one.cost)]
    rises = [after - before for before, after in pairwise(steps)]
    return max(rises) <= RISE and steps[0] - steps[-1] >= FALL


def follows_length(networks: Sequence[Answered], questions: Questions, draws: Resamples) -> Claim:
    """C3a."""
    rows = [["", "steps and program length", "the same within types of questions"]]
    outcomes: list[bool | None] = []
    for one in networks:
        found, inner = _correlations(one.steps, questions, draws)
        rows.append([one.label, found.text(), inner.text()])
        if one.restored.model == "dact":
            told = found.low > 0 or found.high < 0
            outcomes.append(found.low > 0 if told else None)
    return Claim(
        "C3a",
        "Questions with longer programs take more steps",
        "held in a seed of DACT if the interval of the rank correlation (Spearman's) is above 0",
        verdict(outcomes),
        rows,
        [
            "Types differ in the length of their programs and in their steps, so a correlation "
            "over all questions may be one of types; the last column compares questions of one "
            "type, types weighted by their size."
        ],
    )


def _correlations(
    steps: NDArray[np.int64], questions: Questions, draws: Resamples
) -> tuple[Interval, Interval]:
    """Rank correlation of steps and program length: of all questions, and within types."""
    lengths, types = questions.lengths, questions.types
    overall = draws.each(lambda at: spearman(steps[at], lengths[at]))
    within = draws.each(lambda at: spearman_within(steps[at], lengths[at], types[at]))
    return interval(overall), interval(within)


def differs_by_family(
    networks: Sequence[Answered], questions: Questions, draws: Resamples
) -> Claim:
    """C3b."""
    present = [n for n in range(len(questions.type_names)) if (questions.types == n).any()]
    names = [questions.type_names[n].replace("_", " ") for n in present]
    rows = [["", "η² of families", "by chance at most", *names]]
    outcomes: list[bool | None] = []
    for one in networks:
        steps = one.steps.astype(float)

        found = _share_of_families(steps, questions, draws)
        chance = by_chance(steps, questions.families)
        cells = [f"{steps[questions.types == n].mean():.2f}" for n in present]
        rows.append([one.label, found.text(), f"{chance:.2f}", *cells])
        if one.restored.model == "dact":
            outcomes.append(None if found.value != found.value else found.low > chance)
    return Claim(
        "C3b",
        "Families of questions differ in their steps",
        "held in a seed of DACT if the interval of η², the share of the variance of steps between "
        "families, is above that of all shuffles of the families",
        verdict(outcomes),
        rows,
        ["The last columns are mean steps by type."],
    )


def _share_of_families(
    steps: NDArray[np.float64], questions: Questions, draws: Resamples
) -> Interval:
    families = questions.families
    return interval(draws.each(lambda at: explained(steps[at], families[at])))


def time_falls_with_steps(networks: Sequence[Answered], timed: int) -> Claim:
    """C6: of several kinds of networks; `timed` questions were answered to take the time."""
    rows = [["", "networks", "rank correlation", "ms at 0 steps", "ms for each step"]]
    outcomes: list[bool | None] = []
    for kind in ("dact", "act", "pondernet", "mac"):
        group = [one for one in networks if one.restored.model == kind]
        steps = np.array([one.steps[:timed].mean() for one in group])
        times = np.array([one.milliseconds for one in group])
        (start, each), rho = slope(steps, times), spearman(steps, times)
        rows.append([kind, str(len(group)), f"{rho:.2f}", f"{start:.4f}", f"{each:.4f}"])
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
    )
