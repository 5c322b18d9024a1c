"""What the paper found on CLEVR, read off its figures: see docs/data/paper.md."""

import csv
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reproduce_statistics import by_group, explained, spearman, spearman_within

from dact.explain.sweep import Setting, spread

FOLDER = Path(__file__).parents[1] / "docs" / "data"
ACCURACY, FAMILIES = FOLDER / "paper_clevr_accuracy.csv", FOLDER / "paper_clevr_families.csv"


class Point(NamedTuple):
    """A mark in the figure of accuracy against steps."""

    network: str
    setting: str
    """`tau=5e-3` of a DACT, `5 steps` of a MAC."""
    seed: str
    """a, b, c; mean; or empty."""
    steps: float
    accuracy: float
    """In 0..1."""


class Family(NamedTuple):
    """A family of questions."""

    type: str
    length: int
    """Nodes of its program."""
    steps: float
    """Mean."""


def points() -> list[Point]:
    """All marks of the figure."""
    return [
        Point(
            *list(row.values())[:3], float(row["mean_steps"]), float(row["accuracy_percent"]) / 100
        )
        for row in _rows(ACCURACY)
    ]


def families() -> list[Family]:
    """Steps of the paper's DACT by family."""
    return [
        Family(row["type"], int(row["program_length"]), float(row["mean_steps"]))
        for row in _rows(FAMILIES)
    ]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def means(network: str) -> dict[str, Point]:
    """Mean over seeds by setting: as drawn, or else that of the seeds.

    >>> {name: f"{one.steps:.2f}, {one.accuracy:.2%}" for name, one in means("dact").items()}
    {'5e-2': '2.90, 98.07%', '1e-2': '4.89, 98.44%', '5e-3': '6.24, 98.51%', '1e-3': '8.35, 98.63%'}
    """
    found = {}
    for name, same in _settings(network).items():
        drawn = [one for one in same if one.seed == "mean"] or same
        steps, accuracy = ([getattr(one, key) for one in drawn] for key in ("steps", "accuracy"))
        mean = (statistics.fmean(steps), statistics.fmean(accuracy))
        found[name] = Point(network, same[0].setting, "mean", *mean)
    return found


def _settings(network: str) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for one in points():
        if one.network == network:
            found.setdefault(one.setting.removeprefix("tau="), []).append(one)
    return found


def leads() -> dict[str, float]:
    """By τ: accuracy of DACT above the line between its MACs, at as many steps.

    >>> {cost: f"{100 * lead:+.2f}" for cost, lead in leads().items()}
    {'5e-2': '+1.71', '1e-2': '+0.41', '5e-3': '+0.33', '1e-3': '+0.32'}
    """
    macs = sorted((one.steps, one.accuracy) for one in means("mac").values())
    places, known = zip(*macs, strict=True)
    return {
        cost: one.accuracy - float(np.interp(one.steps, places, known))
        for cost, one in means("dact").items()
    }


def lead_over_best(cost: str | None = None) -> float:
    """Accuracy of DACT at a τ, or of the best, above the best MAC whatever its steps.

    >>> f"{100 * lead_over_best('5e-3'):+.2f}, {100 * lead_over_best():+.2f}"
    '+0.06, +0.18'
    """
    dacts = {name: one.accuracy for name, one in means("dact").items()}
    best = max(dacts.values()) if cost is None else dacts[cost]
    return best - max(one.accuracy for one in means("mac").values())


def steps_range(network: str) -> tuple[float, float]:
    """Fewest and most mean steps: of DACT over the means by τ, of ACT over all networks.

    >>> [f"{low:.2f}–{high:.2f}" for low, high in map(steps_range, ("dact", "act"))]
    ['2.90–8.35', '2.76–3.97']
    """
    own = means(network).values() if network == "dact" else points()
    steps = [one.steps for one in own if one.network == network]
    return min(steps), max(steps)


class OfFamilies(NamedTuple):
    """Statistics of mean steps by family; the same are computed of ours."""

    length: float
    """Rank correlation with program length."""
    length_within: float
    """The same within types, by their number of families."""
    types: float
    """η² of types."""


def of_families() -> OfFamilies:
    """The paper's.

    >>> "{:.2f} {:.2f} {:.2f}".format(*of_families())
    '0.46 0.45 0.65'
    """
    types, lengths, steps = (np.array(column) for column in zip(*families(), strict=True))
    found = (spearman(steps, lengths), spearman_within(steps, lengths, types))
    return OfFamilies(*found, explained(steps, types))


def full_name(name: str) -> str:
    """Of a type, as clevr_mini has it.

    >>> full_name("cmp_int"), full_name("count")
    ('compare_integer', 'count')
    """
    full = {
        "cmp_attr": "compare_attribute",
        "cmp_int": "compare_integer",
        "query": "query_attribute",
    }
    return full.get(name, name)


def by_type() -> dict[str, float]:
    """Mean over families of their mean steps, by type as clevr_mini names it.

    >>> {name: round(steps, 1) for name, steps in by_type().items()}["compare_integer"]
    11.1
    """
    types, _, steps = (np.array(column) for column in zip(*families(), strict=True))
    names = map(full_name, np.unique(types).tolist())
    return dict(zip(names, by_group(steps, types).tolist(), strict=True))


def settings() -> list[Setting]:
    """The figure's points as those of a sweep; ACTs one by one, since nobody says their τ."""
    found = []
    for network in ("act", "dact", "mac"):
        for name, same in _settings(network).items():
            if network == "act":
                found += [_setting(network, "", [one]) for one in same]
                continue
            seeds = [one for one in same if one.seed != "mean"] or same
            label = f"τ={name}" if network == "dact" else name
            mean = means(network)[name]
            one = _setting(network, label, seeds)
            accuracy, steps = (
                one.accuracy._replace(mean=mean.accuracy),
                one.steps._replace(mean=mean.steps),
            )
            found.append(one._replace(accuracy=accuracy, steps=steps))
    return found


def _setting(network: str, label: str, same: list[Point]) -> Setting:
    accuracy, steps = (spread([getattr(one, key) for one in same]) for key in ("accuracy", "steps"))
    return Setting(network, label, "CLEVR", len(same), accuracy, steps, None)
