"""Figures of what several trainings come to, one beside another; the style is that of `figures`."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .figures import COLORS, new_figure, styled
from .sweep import Setting, Spread


def sweep_map(
    settings: Sequence[Setting], value: str, label: str, named: Collection[str] | None = None
) -> Figure:
    """A point per setting, a line per kind of network: `value` against mean steps.

    Args:
        settings: of a sweep; points of a kind without labels are not joined.
        value: name of a `Spread` of them.
        label: of the axis.
        named: kinds whose points carry the names of their settings; None: all.
    """
    return sweep_panels({"": settings}, value, label, named)


@styled
def sweep_panels(
    panels: Mapping[str, Sequence[Setting]],
    value: str,
    label: str,
    named: Collection[str] | None = None,
) -> Figure:
    """Several of these side by side, by their titles; each has axes of its own."""
    kinds = sorted({setting.model for settings in panels.values() for setting in settings})
    colors = dict(zip(kinds, COLORS, strict=False))
    figure, every_axes = _panels(len(panels))
    for axes, (title, settings) in zip(every_axes, panels.items(), strict=True):
        for kind, color in colors.items():
            mine = [setting for setting in settings if setting.model == kind]
            mine.sort(key=lambda setting: setting.steps.mean)
            if mine:
                _line(axes, kind, mine, value, color)
                _name(axes, mine if named is None or kind in named else (), value, color)
        axes.set(xlabel="mean steps", ylabel=label, title=title)
        if value == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(frameon=False)
        axes.margins(0.12)
    return figure


def _line(axes: Axes, kind: str, mine: Sequence[Setting], value: str, color: str) -> None:
    steps, values = [s.steps for s in mine], [getattr(s, value) for s in mine]
    axes.errorbar(
        [spread.mean for spread in steps],
        [spread.mean for spread in values],
        [spread.deviation or 0 for spread in values],
        [spread.deviation or 0 for spread in steps],
        color=color,
        marker="o",
        markersize=5,
        capsize=2,
        linestyle="-" if any(setting.label for setting in mine) else "none",
        label=kind,
    )


def _name(axes: Axes, mine: Sequence[Setting], value: str, color: str) -> None:
    for place, setting in enumerate(mine):
        x, y = setting.steps.mean, getattr(setting, value).mean
        beside = (5, 5 if place % 2 else -11)  # neighbours do not cover each other
        points = {"textcoords": "offset points", "fontsize": 7, "color": color}
        axes.annotate(setting.label, (x, y), beside, **points)


class FamilyPoint(NamedTuple):
    """A family of questions."""

    type: str
    length: float
    """Of its programs."""
    steps: float
    """Mean."""


@styled
def family_panels(panels: Mapping[str, Sequence[FamilyPoint]]) -> Figure:
    """Mean steps of families against program length, a colour per type; panels by their titles."""
    types = sorted({one.type for families in panels.values() for one in families})
    figure, every_axes = _panels(len(panels))
    for axes, (title, families) in zip(every_axes, panels.items(), strict=True):
        for kind, color in zip(types, COLORS, strict=False):
            own = [one for one in families if one.type == kind]
            lengths, steps = [one.length for one in own], [one.steps for one in own]
            axes.scatter(lengths, steps, 16, color=color, alpha=0.8, label=kind)
        axes.set(xlabel="program length", ylabel="mean steps", title=title)
    shown = every_axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=len(types), frameon=False)
    return figure


@styled
def cost_map(series: Mapping[str, Sequence[tuple[float, Spread]]]) -> Figure:
    """Mean steps against the ponder cost, a line per kind of network.

    Args:
        series: τ and steps, by kind; a cost of 0 is drawn at the left end.
    """
    figure, axes = new_figure(4.2, 3.0)
    positive = [cost for points in series.values() for cost, _ in points if cost > 0]
    for color, (kind, points) in zip(COLORS, series.items(), strict=False):
        axes.errorbar(
            [cost or min(positive, default=1) / 3 for cost, _ in points],
            [steps.mean for _, steps in points],
            [steps.deviation or 0 for _, steps in points],
            color=color,
            marker="o",
            markersize=4,
            capsize=2,
            label=kind,
        )
    axes.set(xlabel="τ (0 at the left end)", ylabel="mean steps", xscale="log")
    axes.legend(frameon=False)
    return figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels in a row."""
    width = 5.5 if count == 1 else 4.6 * count
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    return figure, [figure.add_subplot(1, count, place + 1) for place in range(count)]
