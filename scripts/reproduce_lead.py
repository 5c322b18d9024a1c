"""C1, the claim that DACT is more accurate than a MAC, against the better of two kinds of MACs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import reproduce_paper as paper
from numpy.typing import NDArray
from reproduce_answers import Answered
from reproduce_plan import USUAL, Size
from reproduce_statistics import Interval, Resamples, interval, over_seeds, side
from reproduce_verdict import Claim, listed, percent, spread_text, table, verdict

from dact.groups import cost_name


def by_cost(networks: Iterable[Answered]) -> dict[float, list[Answered]]:
    """Networks by their ponder cost, the smallest first."""
    found: dict[float, list[Answered]] = {}
    for one in sorted(networks, key=lambda one: one.cost):
        found.setdefault(one.cost, []).append(one)
    return found


def mean_accuracy(networks: Iterable[Answered]) -> float:
    """Over seeds."""
    return statistics.fmean(one.accuracy for one in networks)


class Macs(NamedTuple):
    """The MACs that a DACT is compared with."""

    scheduled: Sequence[Answered]
    """Of each N, trained in one schedule."""
    trained_on: Sequence[Answered]
    """Those that DACT starts from, trained on as fixed networks for as long as it."""

    @property
    def better(self) -> bool:
        """Whether those trained on are more accurate than those of as many steps, over seeds."""
        return mean_accuracy(self.trained_on) > mean_accuracy(self.of(self.trained_on[0].max_steps))

    @property
    def line(self) -> list[Answered]:
        """One recipe for each N, for all seeds: the better one where there are two."""
        if not self.better:
            return list(self.scheduled)
        most = self.trained_on[0].max_steps
        return [*(one for one in self.scheduled if one.max_steps != most), *self.trained_on]

    def of(self, steps: int) -> list[Answered]:
        """Those of one schedule with so many steps."""
        return [one for one in self.scheduled if one.max_steps == steps]

    @property
    def named(self) -> dict[str, list[Answered]]:
        """All, by what they are."""
        counts = sorted({one.max_steps for one in self.scheduled})
        found = {f"MAC, {n} step{'s'[: n - 1]}": self.of(n) for n in counts}
        return {
            **found,
            f"MAC, {self.trained_on[0].max_steps} steps, trained on": list(self.trained_on),
        }


def lead(dact: Answered, macs: Sequence[Answered], draws: Resamples) -> NDArray[np.float64]:
    """(1 + R,) accuracy above that of a MAC of as many steps, between two of them on the line."""
    macs = sorted((mac for mac in macs if mac.seed == dact.seed), key=lambda mac: mac.max_steps)
    known = np.stack([draws.means(mac.right) for mac in macs], 1)
    places = [mac.max_steps for mac in macs]
    steps = draws.means(dact.steps)
    beside = [np.interp(at, places, row) for at, row in zip(steps, known, strict=True)]
    return draws.means(dact.right) - np.array(beside)


class Lead(NamedTuple):
    """Of networks that differ in their seed."""

    images: Interval
    """Of the mean over seeds, over resampled images."""
    seeds: Interval
    """Over seeds."""
    by_seed: list[float]

    @property
    def ahead(self) -> bool | None:
        """See `side`; None if both intervals do not agree, as with one seed."""
        return side(self.images, self.seeds)

    @property
    def cells(self) -> list[str]:
        """In points."""
        seeds = self.seeds.text(2, 100).partition(" ")[2] if len(self.by_seed) > 1 else "one seed"
        by_seed = ", ".join(f"{100 * one:+.2f}" for one in self.by_seed)
        return [self.images.text(2, 100), seeds, by_seed]


def lead_of(found: Sequence[NDArray[np.float64]]) -> Lead:
    """Of what was found by seed, as `Resamples` gives it."""
    by_seed = [float(one[0]) for one in found]
    return Lead(interval(np.mean(found, 0)), over_seeds(by_seed), by_seed)


def beats_mac(
    dacts: Sequence[Answered], ruled: Sequence[Answered], macs: Macs, draws: Resamples, size: Size
) -> Claim:
    """C1; `ruled` are DACTs by the paper's rule."""
    head = ["DACT", "mean steps", "in %", "lead in points, over images", "over seeds", "by seed"]
    rows = [[*head, "the paper's lead"]]
    leads = {}
    theirs = paper.leads()
    for kind, group in (("", dacts), (", the paper's rule", ruled)):
        for cost, same in by_cost(group).items():
            name = cost_name(cost) + kind
            leads[name] = lead_of([lead(one, macs.line, draws) for one in same])
            accuracies = spread_text([one.accuracy for one in same], 1, 100)
            steps = spread_text(one.mean_steps for one in same)
            beside = f"{100 * theirs[cost_name(cost)]:+.2f}" if cost_name(cost) in theirs else "—"
            rows.append([f"τ = {name}", steps, accuracies, *leads[name].cells, beside])
    judged = {name: one for name, one in leads.items() if "rule" not in name and _repeated(one)}
    return Claim(
        "C1",
        "DACT is more accurate than a MAC that takes as many steps on average",
        "held for a τ if the lead is above 0 with its whole interval over resampled images and "
        "with that over seeds, refuted if both are below 0; a τ with one seed is not judged",
        verdict(one.ahead for one in judged.values()),
        rows,
        [_sides(leads, judged), *_lead_notes(dacts, macs, size)],
        _told(
            {name: one.images.value for name, one in leads.items() if _repeated(one)},
            _best_of(by_cost(dacts).values()) - _best_of(macs.named.values()),
        ),
        _told(theirs, paper.lead_over_best()),
    )


def _repeated(found: Lead) -> bool:
    return len(found.by_seed) > 1


def _best_of(groups: Iterable[Sequence[Answered]]) -> float:
    """Of settings with several seeds, if there are any."""
    every = list(groups)
    return max(mean_accuracy(own) for own in [g for g in every if len(g) > 1] or every)


def _told(leads: Mapping[str, float], best: float) -> str:
    named = "; ".join(f"{100 * lead:+.2f} at τ = {name}" for name, lead in leads.items())
    return f"lead in points {named or '—'}; best DACT less best MAC {100 * best:+.2f}"


def _sides(leads: Mapping[str, Lead], judged: Mapping[str, Lead]) -> str:
    ahead, behind, open_ = (
        listed([name for name, found in judged.items() if found.ahead is wanted])
        for wanted in (True, False, None)
    )
    words = {True: "ahead", False: "behind", None: "undecided"}
    others = [
        f" By {name.partition(', ')[2]} at τ = {name.partition(', ')[0]}, which the verdict leaves "
        f"out, it is {words[found.ahead]}."
        for name, found in leads.items()
        if "rule" in name
    ]
    once = listed([name for name in leads if name not in judged and "rule" not in name])
    return (
        f"Ahead at τ = {ahead}; behind at {behind}; undecided at {open_}; one seed at {once}."
        + "".join(others)
    )


def _lead_notes(dacts: Sequence[Answered], macs: Macs, size: Size) -> list[str]:
    starts = listed([text for _, text in sorted({one.seed: _start(one) for one in dacts}.items())])
    plain, on = (
        spread_text([one.accuracy for one in own], 1, 100)
        for own in (macs.of(size.steps), macs.trained_on)
    )
    chosen = "those trained on" if macs.better else "those of one schedule"
    total = size.mac_epochs + size.adaptive_epochs
    return [
        f"Every network here had {total} epochs. DACT had {size.adaptive_epochs} of its own after "
        f"the {size.mac_epochs} of a MAC, which had reached {starts} (by seed, in {size.steps} "
        f"steps). MACs had {total} in one schedule; MACs trained on are those that DACT starts "
        f"from, which went on as they are for as long as DACT ({size.adaptive_epochs}), a row "
        "that the paper does not have.",
        f"With {size.steps} steps MACs of one schedule have {plain} %, those trained on {on} %. "
        f"The line goes through {chosen}: the recipe with the better mean over seeds, in all seeds "
        "and resamples. It is that of DACT's own seed; between two numbers of steps accuracy is "
        "read off it, outside of them it is that of the nearest.",
        "Intervals over images resample the questions with the networks as they are; those over "
        "seeds are Student's, of the trainings. The paper's recipe gives DACT 30 epochs after the "
        "10 of a MAC, and its lead is over MACs of one schedule.",
    ]


def _start(network: Answered) -> str:
    results = network.restored.description.started_from or {}
    return percent(results["all"][0]) if "all" in results else "an unknown accuracy"


def against_every_mac(usual: Sequence[Answered], macs: Macs, draws: Resamples) -> str:
    """A table: DACT of the usual τ less each kind of MAC of the same seed, whatever its steps."""
    rows = [["", "steps", "in %", "DACT less it in points, over images", "over seeds", "by seed"]]
    names = macs.named
    best = max(names, key=lambda name: mean_accuracy(names[name]))
    told = ""
    for name, same in names.items():
        beside = {one.seed: draws.means(one.right) for one in same}
        found = lead_of([draws.means(one.right) - beside[one.seed] for one in usual])
        steps = spread_text(one.mean_steps for one in same)
        rows.append([name, steps, spread_text([m.accuracy for m in same], 1, 100), *found.cells])
        if name == best:
            told = f"{100 * found.images.value:+.2f}"
    ours = spread_text([one.accuracy for one in usual], 1, 100)
    rows.append(["DACT", spread_text(one.mean_steps for one in usual), ours, "", "", ""])
    own, most = (f"{100 * paper.lead_over_best(cost):+.2f}" for cost in (USUAL, None))
    said = (
        f"Whatever its steps, the best MAC is {best}: DACT at τ = {USUAL} less it is {told} "
        f"points. In the paper that is {own}, and {most} for its best DACT, less a MAC of 12 steps."
    )
    return f"{table(rows)}\n\n{said}"
