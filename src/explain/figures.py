"""Figures of a survey, for papers and for pages; one colour scheme, no global state."""

import functools
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from dact.errors import UserError

from .reasoning import Reasoning
from .survey import Group, Survey
from .views import View

ACCENT, SECOND = "#2563a8", "#d97706"
#: Of kinds of networks, in alphabetical order.
COLORS = (ACCENT, SECOND, "#2f9e6e", "#b5477f", "#8064c2", "#6b7280")
#: Of text and lines; where a figure is put into a page it becomes the colour of the text there.
_INK = "#1b1c1d"
_STYLE = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
    "svg.fonttype": "none",
    "svg.hashsalt": "dact",  # the same figure is the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "savefig.dpi": 200,
}


def styled(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: in our style, whatever the user's own settings are."""

    @functools.wraps(draw)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        with rc_context(_STYLE):
            return draw(*arguments, **options)

    return wrapped


@styled
def steps_histogram(found: Survey, max_steps: int) -> Figure:
    """How many questions took how many steps."""
    figure, axes = new_figure(4.2, 2.6)
    shares = np.bincount(found.steps, minlength=max_steps + 1)[1:] / len(found.steps)
    axes.bar(range(1, max_steps + 1), shares, color=ACCENT)
    axes.axvline(found.mean_steps, color=SECOND, linewidth=1.5)
    axes.set_title(f"mean {found.mean_steps:.2f}", color=SECOND)
    axes.set(xlabel="steps", ylabel="questions", xticks=range(1, max_steps + 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    return figure


@styled
def by_number(groups: Sequence[Group], label: str, r: float | None) -> Figure:
    """Accuracy and mean steps against a number that questions have.

    Args:
        groups: questions by that number.
        label: what it is.
        r: its correlation with steps, if there is one.
    """
    figure, axes = new_figure(4.2, 2.6)
    numbers = [group.key for group in groups]
    axes.plot(numbers, [group.accuracy for group in groups], color=ACCENT, marker="o", markersize=3)
    axes.set(xlabel=label, ylim=(0, 1.05))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("accuracy", color=ACCENT)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    steps = [group.mean_steps for group in groups]
    right.plot(numbers, steps, color=SECOND, marker="s", markersize=3)
    right.set_ylabel("mean steps", color=SECOND)
    right.set_ylim(0, max(steps) * 1.15)
    if r is not None:
        axes.set_title(f"correlation with steps: r = {r:.2f}")
    return figure


@styled
def family_map(groups: Sequence[Group], examples: Mapping[int, str]) -> Figure:
    """A row per question family, a column per step: the share of its questions that halt there.

    Args:
        groups: the families, top first.
        examples: a question of each family, by its key.
    """
    figure, axes = new_figure(7, 0.9 + 0.16 * len(groups))
    shares = np.stack([group.shares for group in groups])
    image = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    labels = [shorten(examples[group.key], 70) for group in groups]
    axes.set_yticks(range(len(groups)), labels, fontsize=6)
    axes.set_xticks(range(shares.shape[1]), range(1, shares.shape[1] + 1))
    axes.set_xlabel("steps")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1, 0), shrink=0.6)
    bar.set_label("share of the family")
    return figure


@styled
def strip(reasoning: Reasoning, view: View) -> Figure:
    """One question: at each step the attention over the picture and the words, and the answer."""
    count, background = len(reasoning.steps), view.background or reasoning.background
    figure = Figure(figsize=(1.9 * count + 0.2, 2.4), layout="constrained")
    question = textwrap.fill(" ".join(reasoning.words), 36 * count)
    figure.suptitle(question, fontsize=8, x=0.01, ha="left")
    for number, step in enumerate(reasoning.steps, 1):
        axes = figure.add_subplot(1, count, number)
        _show_attention(axes, view, step.cells)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        aside = f", background {step.cells[-1]:.0%}" if background else ""
        axes.set_title(f"step {number}{aside}", fontsize=8)
        best = np.argsort(-step.words)[:2]
        read = ", ".join(f"{reasoning.words[word]} {step.words[word]:.0%}" for word in best)
        answer, share = step.answers[0]
        away = view.elsewhere(step.cells)
        unseen = f"no place in the picture {away:.0%}\n" if away else ""
        axes.set_xlabel(f"{unseen}{read}\n→ {answer} {share:.0%}", fontsize=6.5)
    return figure


def _show_attention(axes: Axes, view: View, cells: NDArray[np.float32]) -> None:
    """The picture, dark where nobody looks, or with the boxes that are looked at."""
    frame = {"extent": (0, 1, 1, 0), "aspect": view.picture.height / view.picture.width}
    axes.imshow(view.picture, **frame)
    if view.grid is not None:
        strength = view.on_picture(cells)
        shade = np.zeros((*view.grid, 4), np.float32)
        shade[..., 3] = 0.65 * (1 - strength / strength.max())
        axes.imshow(shade, interpolation="bilinear", **frame)
        return
    boxes = () if view.boxes is None else view.boxes
    # The background, if there is one, comes after the objects.
    for (x0, y0, x1, y1), alpha in zip(boxes, cells[: len(boxes)] / cells.max(), strict=True):
        frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=SECOND, lw=2, alpha=alpha)
        axes.add_patch(frame)


@styled
def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and as SVG."""
    figure.savefig(folder / f"{name}.png")
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


@styled
def save_as(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name ends in.

    Raises:
        UserError: that is none, or the file cannot be written.
    """
    undated = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    try:
        figure.savefig(path, **undated)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {str(error).splitlines()[0]}") from error


@styled
def for_page(figure: Figure) -> str:
    """An `<svg>` element in the colours of the page around it, light or dark."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    return svg.replace(ACCENT, "rgb(var(--accent))").replace(SECOND, "rgb(var(--warm))")


def shorten(text: str, width: int) -> str:
    """`text`, cut at `width` characters."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()
