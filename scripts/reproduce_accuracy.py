"""The claims of the paper that accuracy does not suffer: C4 and C5."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from reproduce_answers import Answered, Answers
from reproduce_plan import USUAL
from reproduce_statistics import Resamples, interval
from reproduce_verdict import Claim, spread_text, verdict

#: Accuracy that a larger N may cost before it counts as harm.
HARM = 0.005


def more_steps_do_not_hurt(
    dacts: Sequence[Answered], macs: Sequence[Answered], draws: Resamples
) -> Claim:
    """C4: of DACTs of one cost, and of MACs, with different N."""
    rows = [["N", "seeds", "MAC in %", "DACT in %", "DACT's mean steps"]]
    means: dict[int, dict[int, NDArray[np.float64]]] = {}
    for most in sorted({one.max_steps for one in dacts}):
        own = [one for one in dacts if one.max_steps == most]
        plain = [one.accuracy for one in macs if one.max_steps == most]
        means[most] = {one.seed: draws.means(one.right) for one in own}
        rows.append(
            [
                str(most),
                str(len(own)),
                spread_text(plain, 1, 100) if plain else "",
                spread_text([one.accuracy for one in own], 1, 100),
                spread_text(one.mean_steps for one in own),
            ]
        )
    outcomes, notes = [], []
    for fewer, more in combinations(means, 2):
        both = sorted(means[fewer].keys() & means[more].keys())
        gain = interval(np.mean([means[more][seed] - means[fewer][seed] for seed in both], 0))
        outcomes.append(True if gain.low > -HARM else False if gain.high < -HARM else None)
        seeds = f"{len(both)} seed{'s'[: len(both) - 1]}"
        notes.append(f"from {fewer} to {more}, {seeds}: {gain.text(2, 100)}")
    return Claim(
        "C4",
        f"A larger N costs DACT (τ = {USUAL}) no accuracy to speak of: less than {100 * HARM:g} "
        "points",
        f"held for two N if the interval of the gain is above -{100 * HARM:g} points, refuted if "
        "it is below that",
        verdict(outcomes),
        rows,
        [
            f"Gain in points, mean over seeds that both N have: {'; '.join(notes)}. Intervals are "
            "over resampled images, so they say nothing about other trainings."
        ],
        f"gain in points {'; '.join(notes)}",
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
        "changed " + "; ".join(f"{row[3]} of {row[2]} by `{row[0]}`" for row in rows[1:]),
    )
