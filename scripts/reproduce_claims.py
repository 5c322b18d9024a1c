"""The claims of the paper, each with what `scripts/reproduce.py` found: C1 to C6."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from reproduce_answers import Answers, Questions, Trained
from reproduce_plan import USUAL
from reproduce_statistics import Interval, bootstrap, explained, slope, spearman

from dact.command_line import cost_name

#: Accuracy that a larger N may cost before it counts as harm.
HARM = 0.005
#: By which steps may rise from one τ to the next before that counts as rising.
RISE = 0.1


class Claim(NamedTuple):
    """A claim and what was found."""

    text: str
    """What is claimed, and when it counts as held."""
    holds: bool
    rows: list[list[str]]
    """A table, its head first."""
    notes: list[str]


def percent(value: float) -> str:
    """Of 0..1."""
    return f"{100 * value:.1f} %"


def spread(values: Iterable[float], digits: int = 2, factor: float = 1.0) -> str:
    """Mean and standard deviation over seeds."""
    found = [factor * value for value in values]
    text = f"{statistics.fmean(found):.{digits}f}"
    return f"{text} ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else text


def by_cost(networks: Iterable[Trained]) -> dict[float, list[Trained]]:
    """Networks by their ponder cost, the smallest first."""
    found: dict[float, list[Trained]] = {}
    for one in sorted(networks, key=lambda one: one.cost):
        found.setdefault(one.cost, []).append(one)
    return found


def mac_at(steps: float, macs: Sequence[Trained]) -> float:
    """Accuracy of plain MACs of one seed, between two numbers of steps as on the line."""
    known = sorted(macs, key=lambda mac: mac.steps)
    return float(np.interp(steps, [mac.steps for mac in known], [mac.accuracy for mac in known]))


def beats_mac(dacts: Sequence[Trained], macs: Sequence[Trained]) -> Claim:
    """C1."""
    rows = [["τ", "mean steps", "DACT", "MAC at as many", "difference in points", "seeds above"]]
    gains: dict[int, list[float]] = {}
    for cost, same in by_cost(dacts).items():
        beside = [
            mac_at(one.steps, [mac for mac in macs if mac.training.seed == one.training.seed])
            for one in same
        ]
        differences = [one.accuracy - mac for one, mac in zip(same, beside, strict=True)]
        for one, gain in zip(same, differences, strict=True):
            gains.setdefault(one.training.seed, []).append(gain)
        rows.append(
            [
                cost_name(cost),
                spread(one.steps for one in same),
                percent(statistics.fmean(one.accuracy for one in same)),
                percent(statistics.fmean(beside)),
                spread(differences, 2, 100),
                f"{sum(gain > 0 for gain in differences)} of {len(same)}",
            ]
        )
    means = {seed: statistics.fmean(values) for seed, values in gains.items()}
    return Claim(
        "DACT is more accurate than a MAC that takes as many steps on average (held if so on the "
        "mean over τ, in each seed)",
        all(mean > 0 for mean in means.values()),
        rows,
        [
            "Mean over τ, by seed: "
            + ", ".join(f"{100 * mean:+.2f} points" for mean in means.values())
            + ". Between two numbers of steps MAC's accuracy is read off the line. All had as many "
            "epochs in sum."
        ],
    )


def follows_cost(dacts: Sequence[Trained], acts: Sequence[Trained]) -> Claim:
    """C2."""
    rows = [["", "τ", "mean steps"]]
    rows += [["DACT", cost_name(c), spread(o.steps for o in s)] for c, s in by_cost(dacts).items()]
    rows += [["ACT", cost_name(c), spread(o.steps for o in s)] for c, s in by_cost(acts).items()]
    falls = {
        seed: _falls([one for one in dacts if one.training.seed == seed])
        for seed in sorted({one.training.seed for one in dacts})
    }
    moves = {
        name: max(one.steps for one in group) - min(one.steps for one in group)
        for name, group in (("dact", [d for d in dacts if d.training.seed == 0]), ("act", acts))
    }
    holds = all(falls.values()) and moves["act"] < moves["dact"] / 2
    return Claim(
        "DACT's steps fall as τ grows, while ACT's hardly move (held if DACT's rise by no more "
        f"than {RISE:g} from one τ to the next in each seed, and ACT's range is under half of "
        "DACT's)",
        holds,
        rows,
        [
            f"They fall in {sum(falls.values())} of {len(falls)} seeds. Mean steps of seed 0 range "
            f"over {moves['dact']:.2f} for DACT, over {moves['act']:.2f} for ACT. Rank correlation "
            f"of τ and steps: DACT {_of_cost(dacts):.2f}, ACT {_of_cost(acts):.2f}."
        ],
    )


def _falls(networks: Sequence[Trained]) -> bool:
    steps = [one.steps for one in sorted(networks, key=lambda one: one.cost)]
    return all(after <= before + RISE for before, after in pairwise(steps))


def _of_cost(networks: Sequence[Trained]) -> float:
    return spearman(
        np.array([one.cost for one in networks]), np.array([one.steps for one in networks])
    )


def follows_difficulty(
    networks: Sequence[Trained], answers: Mapping[str, Answers], questions: Questions
) -> Claim:
    """C3; `answers` by name of the training."""
    rows = [["", "steps and program length, ρ", "the same within types", "explained by family, η²"]]
    correlations = []
    for one in networks:
        steps = answers[one.training.name].steps
        correlations.append(_correlation(steps, questions))
        rows.append(
            [
                one.training.name,
                str(correlations[-1]),
                ", ".join(_within_types(steps, questions)),
                f"{explained(steps, questions.families):.2f}",
            ]
        )
    dacts = [
        c for c, one in zip(correlations, networks, strict=True) if one.training.group == "dact"
    ]
    return Claim(
        "Questions with longer programs take more steps, and families differ (held if the interval "
        "of DACT's rank correlation is above 0 in each seed)",
        all(one.low > 0 for one in dacts),
        rows,
        [
            "Intervals of 95 % over resampled images. η² is the share of the variance of steps "
            "that lies between question families."
        ],
    )


def _correlation(steps: np.ndarray, questions: Questions) -> Interval:
    return bootstrap(lambda at: spearman(steps[at], questions.lengths[at]), questions.images)


def _within_types(steps: np.ndarray, questions: Questions) -> Iterator[str]:
    for number, name in enumerate(questions.type_names):
        own = questions.types == number
        if own.any() and len(np.unique(questions.lengths[own])) > 1:
            rho = spearman(steps[own], questions.lengths[own])
            yield f"{name.replace('_', ' ')} {rho:.2f}"


def steps_by_type(
    networks: Sequence[Trained], answers: Mapping[str, Answers], questions: Questions
) -> list[list[str]]:
    """Mean steps of each type of questions, with intervals."""
    present = [n for n in range(len(questions.type_names)) if (questions.types == n).any()]
    rows = [["", *(questions.type_names[n].replace("_", " ") for n in present)]]
    for one in networks:
        steps, cells = answers[one.training.name].steps, []
        for number in present:
            own = questions.types == number
            found = bootstrap(lambda at, s=steps[own]: float(s[at].mean()), questions.images[own])
            cells.append(str(found))
        rows.append([one.training.name, *cells])
    return rows


def more_steps_do_not_hurt(networks: Sequence[Trained]) -> Claim:
    """C4: of DACTs and MACs with different N."""
    rows = [["N", "MAC", "DACT", "DACT's mean steps"]]
    means: dict[int, float] = {}
    for most in sorted({one.max_steps for one in networks}):
        groups = {
            kind: [one for one in networks if one.max_steps == most and one.restored.model == kind]
            for kind in ("mac", "dact")
        }
        if not groups["dact"]:
            continue
        means[most] = statistics.fmean(one.accuracy for one in groups["dact"])
        rows.append(
            [
                str(most),
                spread([one.accuracy for one in groups["mac"]], 1, 100) + " %",
                spread([one.accuracy for one in groups["dact"]], 1, 100) + " %",
                spread(one.steps for one in groups["dact"]),
            ]
        )
    in_order = [means[most] for most in sorted(means)]
    worst = min(after - before for before, after in pairwise(in_order))
    return Claim(
        f"A larger N does not make DACT (τ = {USUAL}) less accurate (held if no larger N costs "
        f"more than {100 * HARM:g} points on average)",
        worst > -HARM,
        rows,
        [f"The smallest gain from one N to the next is {100 * worst:+.2f} points."],
    )


def same_answers(
    networks: Sequence[Trained],
    bounded: Mapping[str, Mapping[str, Answers]],
    questions: Questions,
) -> Claim:
    """C5; `bounded` by bound, then by name of the training; '' is without halting."""
    rows = [["bound", "networks", "answers compared", "changed", "mean steps", "of"]]
    changed = 0
    for bound in ("exact", "paper"):
        differ = sum(
            int(
                (
                    bounded[bound][o.training.name].answers != bounded[""][o.training.name].answers
                ).sum()
            )
            for o in networks
        )
        changed += differ
        steps = statistics.fmean(bounded[bound][o.training.name].steps.mean() for o in networks)
        total = len(networks) * len(questions.lengths)
        most = str(networks[0].max_steps)
        rows.append([bound, str(len(networks)), f"{total:,}", str(differ), f"{steps:.2f}", most])
    return Claim(
        "Halting early never changes an answer (held if none of them differs from that after all "
        "steps)",
        changed == 0,
        rows,
        [],
    )


def time_falls_with_steps(networks: Sequence[Trained]) -> Claim:
    """C6: of DACTs and MACs."""
    rows = [["", "networks", "rank correlation", "ms per question at 0 steps", "for each step"]]
    held = []
    for kind in ("dact", "mac"):
        group = [one for one in networks if one.restored.model == kind]
        steps = np.array([one.steps for one in group])
        times = np.array([one.milliseconds for one in group])
        start, each = slope(steps, times)
        rho = spearman(steps, times)
        held.append(rho > 0.8 and each > 0)
        rows.append([kind, str(len(group)), f"{rho:.2f}", f"{start:.4f}", f"{each:.4f}"])
    return Claim(
        "Fewer steps take less time for each question (held if the rank correlation of steps and "
        "time over all DACTs is above 0.8)",
        held[0],
        rows,
        ["Measured in turns in one process, median of five rounds."],
    )
