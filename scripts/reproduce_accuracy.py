"""The claims of the paper about accuracy: C1, C4 and C5."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from reproduce_answers import Answered, Answers
from reproduce_plan import USUAL, Size
from reproduce_statistics import Resamples, interval
from reproduce_verdict import Claim, listed, percent, spread_text, verdict

from dact.groups import cost_name

#: Accuracy that a larger N may cost before it counts as harm.
HARM = 0.005


def by_cost(networks: Iterable[Answered]) -> dict[float, list[Answered]]:
    """Networks by their ponder cost, the smallest first."""
    found: dict[float, list[Answered]] = {}
    for one in sorted(networks, key=lambda one: one.cost):
        found.setdefault(one.cost, []).append(one)
    return found


def lead(dact: Answered, macs: Sequence[Answered], draws: Resamples) -> NDArray[np.float64]:
    """(1 + R,) accuracy above that of a MAC of as many steps, between two of them on the line."""
    macs = sorted((mac for mac in macs if mac.seed == dact.seed), key=lambda mac: mac.max_steps)
    known = np.stack([draws.means(mac.right) for mac in macs], 1)
    places = [mac.max_steps for mac in macs]
    steps = draws.means(dact.steps)
    beside = [np.interp(at, places, row) for at, row in zip(steps, known, strict=True)]
    return draws.means(dact.right) - np.array(beside)


def beats_mac(
    dacts: Sequence[Answered], macs: Sequence[Answered], draws: Resamples, size: Size
) -> Claim:
    """C1."""
    rows = [["τ", "mean steps", "DACT in %", "lead over MAC in points", "by seed"]]
    outcomes = {}
    for cost, same in by_cost(dacts).items():
        leads = [lead(one, macs, draws) for one in same]
        found = interval(np.mean(leads, 0))
        above = found.low > 0 and all(one[0] > 0 for one in leads)
        below = found.high < 0 and all(one[0] < 0 for one in leads)
        outcomes[cost_name(cost)] = True if above else False if below else None
        accuracies = spread_text([one.accuracy for one in same], 1, 100)
        by_seed = ", ".join(f"{100 * one[0]:+.2f}" for one in leads)
        steps = spread_text(one.mean_steps for one in same)
        rows.append([cost_name(cost), steps, accuracies, found.text(2, 100), by_seed])
    return Claim(
        "C1",
        "DACT is more accurate than a MAC that takes as many steps on average",
        "held for a τ if the lead is above 0 with its whole interval and in each seed, refuted if "
        "it is below 0 likewise",
        verdict(outcomes.values()),
        rows,
        _lead_notes(outcomes, dacts, macs, size),
    )


def _lead_notes(
    outcomes: Mapping[str, bool | None],
    dacts: Sequence[Answered],
    macs: Sequence[Answered],
    size: Size,
) -> list[str]:
    ahead, behind, open_ = (
        listed([cost for cost, found in outcomes.items() if found is wanted])
        for wanted in (True, False, None)
    )
    plain = {f"{n} steps": [mac for mac in macs if mac.max_steps == n] for n in size.mac_steps}
    halting = {f"τ = {cost_name(cost)}": same for cost, same in by_cost(dacts).items()}
    starts = listed([text for _, text in sorted({one.seed: _start(one) for one in dacts}.items())])
    return [
        f"Ahead at τ = {ahead}; behind at {behind}; undecided at {open_}.",
        f"Whatever its steps, the best MAC has {_best(plain)}, the best DACT {_best(halting)}.",
        "Intervals are over resampled images, not over trainings. Between two numbers of steps "
        "MAC's accuracy is read off the line, outside of them it is that of the nearest.",
        f"All had {size.mac_epochs + size.adaptive_epochs} epochs, but in different ways: the MACs "
        f"in one schedule, DACT {size.adaptive_epochs} of its own after those of the MAC that it "
        f"started from, which had reached {starts} (by seed, in {size.steps} steps).",
    ]


def _best(groups: Mapping[str, Sequence[Answered]]) -> str:
    """The most accurate of some settings."""
    means = {name: statistics.fmean(one.accuracy for one in own) for name, own in groups.items()}
    name = max(means, key=means.__getitem__)
    return f"{spread_text([one.accuracy for one in groups[name]], 1, 100)} % ({name})"


def _start(network: Answered) -> str:
    results = network.restored.description.started_from or {}
    return percent(results["all"][0]) if "all" in results else "an unknown accuracy"


def more_steps_do_not_hurt(
    dacts: Sequence[Answered], macs: Sequence[Answered], draws: Resamples
) -> Claim:
    """C4: of DACTs of one cost, and of MACs, with different N."""
    rows = [["N", "MAC in %", "DACT in %", "DACT's mean steps"]]
    means = {}
    for most in sorted({one.max_steps for one in dacts}):
        own = [one for one in dacts if one.max_steps == most]
        plain = [one.accuracy for one in macs if one.max_steps == most]
        means[most] = np.mean([draws.means(one.right) for one in own], 0)
        rows.append(
            [
                str(most),
                spread_text(plain, 1, 100) if plain else "",
                spread_text([one.accuracy for one in own], 1, 100),
                spread_text(one.mean_steps for one in own),
            ]
        )
    outcomes, notes = [], []
    for fewer, more in combinations(means, 2):
        gain = interval(means[more] - means[fewer])
        outcomes.append(True if gain.low > -HARM else False if gain.high < -HARM else None)
        notes.append(f"from {fewer} to {more}: {gain.text(2, 100)}")
    return Claim(
        "C4",
        f"A larger N costs DACT (τ = {USUAL}) no accuracy to speak of: less than {100 * HARM:g} "
        "points",
        f"held for two N if the interval of the gain is above -{100 * HARM:g} points, refuted if "
        "it is below that",
        verdict(outcomes),
        rows,
        ["Gain in points, mean over seeds: " + "; ".join(notes) + "."],
    )


def same_answers(
    networks: Sequence[Answered], bounded: Mapping[str, Mapping[str, Answers]]
) -> Claim:
    """C5; `bounded` by bound, then by name of the training; '' is without halting."""
    rows = [["bound", "networks", "halted early", "of them changed", "mean steps", "N"]]
    outcomes = []
    for bound in ("exact", "paper"):
        early = changed = 0
        for one in networks:
            ours, full = bounded[bound][one.training.name], bounded[""][one.training.name]
            halted = ours.steps < one.max_steps
            early += int(halted.sum())
            changed += int((ours.answers != full.answers)[halted].sum())
        outcomes.append(changed == 0 if early else None)
        steps = statistics.fmean(
            float(bounded[bound][one.training.name].steps.mean()) for one in networks
        )
        numbers = [f"{early:,}", str(changed), f"{steps:.2f}", str(networks[0].max_steps)]
        rows.append([bound, str(len(networks)), *numbers])
    return Claim(
        "C5",
        "Halting early never changes an answer",
        "held for a bound if no question that halted early has another answer after all steps",
        verdict(outcomes),
        rows,
        [],
    )
