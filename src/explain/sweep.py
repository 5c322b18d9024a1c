"""Runs that differ in network, ponder cost or seed, put side by side."""

import csv
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dact.command_line import cost_name
from dact.options import ADAPTIVE_NETWORKS


class Run(NamedTuple):
    """A trained network and its result on validation."""

    name: str
    data: str
    model: str
    max_steps: int
    ponder_cost: float
    """τ; 0 for networks without one."""
    seed: int
    accuracy: float
    """In 0..1."""
    steps: float
    """Mean number of steps."""
    milliseconds: float | None = None
    """Measured time per question."""


class Spread(NamedTuple):
    """A number over seeds."""

    mean: float
    deviation: float | None
    """Standard deviation, with n - 1; None for a single seed."""


class Setting(NamedTuple):
    """Runs that differ in nothing but their seed."""

    model: str
    label: str
    """What it is among those of its model: steps or ponder cost."""
    data: str
    seeds: int
    accuracy: Spread
    steps: Spread
    milliseconds: Spread | None


def settings_of(runs: Iterable[Run]) -> list[Setting]:
    """Runs by setting: by dataset and model, then by steps or ponder cost."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        cost = run.ponder_cost if run.model in ADAPTIVE_NETWORKS else 0.0
        groups.setdefault((run.data, run.model, run.max_steps, cost), []).append(run)
    return [
        Setting(
            model,
            f"τ={cost_name(cost)}" if model in ADAPTIVE_NETWORKS else f"{max_steps} steps",
            data,
            len(same),
            spread([run.accuracy for run in same]),
            spread([run.steps for run in same]),
            _times(same),
        )
        for (data, model, max_steps, cost), same in sorted(groups.items())
    ]


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, deviation=1.4142135623730951)
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def write_csv(path: Path, rows: Sequence[NamedTuple]) -> None:
    """A line per run or setting; a spread takes two columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        for number, row in enumerate(rows):
            cells: dict[str, object] = {}
            for name, value in row._asdict().items():
                if name in ("accuracy", "steps", "milliseconds") and isinstance(row, Setting):
                    mean, deviation = value or (None, None)
                    cells |= {name: mean, f"{name}_deviation": deviation}
                else:
                    cells[name] = value
            if number == 0:
                writer.writerow(cells)
            writer.writerow(cells.values())


def _times(runs: Sequence[Run]) -> Spread | None:
    measured = [run.milliseconds for run in runs if run.milliseconds is not None]
    return spread(measured) if len(measured) == len(runs) else None
