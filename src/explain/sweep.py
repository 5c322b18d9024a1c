"""Runs that differ in network, ponder cost or seed, put side by side."""

import csv
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dact.groups import cost_name
from dact.options import ADAPTIVE_NETWORKS

#: Groups of options that decide what is trained.
_DECIDING = ("model", "ponder", "data", "optimizer")
#: Options that make no other network, or that a setting's own name tells.
_TOLD = (
    "model.compile",
    "model.max_steps",
    "model.name",
    "ponder.cost",
    "ponder.target_steps",
    "data.name",
    "data.root",
    "data.cache_dir",
    "data.eval_batch_size",
    "data.num_workers",
    "data.threads",
    "data.split",
    "data.network",
    "data.mac",
    "data.adaptive",
    "data.generate",
)

#: What options are called where there is little room.
_SHORT = {"model.max_steps": "N", "model.prior": "λ_p"}


class Run(NamedTuple):
    """A trained network and its result on validation."""

    name: str
    data: str
    model: str
    max_steps: int
    ponder_cost: float
    """τ; 0 for networks without one."""
    seed: int
    variant: str
    """What else it differs in from others of its model: `model.dim=96`; may be empty."""
    accuracy: float
    """In 0..1."""
    steps: float
    """Mean number of steps."""
    milliseconds: float | None = None
    """Measured time per question."""
    target_steps: float | None = None
    """Steps that it was trained to take, if it was."""


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
        target = run.target_steps or 0.0
        key = (run.data, run.model, run.max_steps, cost, target, run.variant)
        groups.setdefault(key, []).append(run)
    return [
        Setting(
            model,
            _label(same[0]),
            data,
            len(same),
            spread([run.accuracy for run in same]),
            spread([run.steps for run in same]),
            _times(same),
        )
        for (data, model, *_), same in sorted(groups.items())
    ]


def variants(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each run differs in from others of its model, but for what settings tell anyway.

    Args:
        configs: resolved configurations, in plain containers.

    >>> variants([{"model": {"name": "mac", "dim": d}} for d in (8, 8, 96)])
    ['model.dim=8', 'model.dim=8', 'model.dim=96']
    """
    flat = [dict(_flatten({k: c[k] for k in _DECIDING if k in c})) for c in configs]
    for own, config in zip(flat, configs, strict=True):
        own["warm_start"] = "none" if config.get("warm_start") == "none" else "MAC"  # any MAC
    found = []
    for own in flat:
        others = [other for other in flat if other["model.name"] == own["model.name"]]
        differ = [
            name
            for name in sorted(own)
            if own[name] is not None
            and not _is_told(name, own)
            and any(o.get(name) != own[name] for o in others)
        ]
        found.append(", ".join(f"{_SHORT.get(name, name)}={own[name]}" for name in differ))
    return found


def _is_told(name: str, config: Mapping[str, Any]) -> bool:
    """Whether the name of a setting says it anyway; that of an adaptive network is its cost."""
    if name == "model.max_steps" and config["model.name"] in ADAPTIVE_NETWORKS:
        return False
    return name.startswith(_TOLD)


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation.

    >>> spread([1.0, 3.0])
    Spread(mean=2.0, deviation=1.4142135623730951)
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def write_csv(path: Path, rows: Sequence[NamedTuple]) -> None:
    """A line per run or setting; a spread takes two columns."""
    with path.open("w", newline="", encoding="utf-8") as file:
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


def _label(run: Run) -> str:
    """What a run is among those of its model."""
    if run.model not in ADAPTIVE_NETWORKS:
        name = f"{run.max_steps} step{'s'[: run.max_steps - 1]}"
    elif run.target_steps is not None:
        name = f"budget {run.target_steps:g}"
    else:
        name = f"{'β' if run.model == 'pondernet' else 'τ'}={cost_name(run.ponder_cost)}"
    return f"{name}, {run.variant}" if run.variant else name


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _times(runs: Sequence[Run]) -> Spread | None:
    measured = [run.milliseconds for run in runs if run.milliseconds is not None]
    return spread(measured) if len(measured) == len(runs) else None
