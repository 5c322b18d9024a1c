"""What `scripts/reproduce.py` computes of the answers to many questions."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Resamples of a bootstrap.
RESAMPLES = 500


class Interval(NamedTuple):
    """A number and how far it may be off."""

    value: float
    low: float
    """2.5 % of the resamples are below."""
    high: float
    """2.5 % are above."""

    def __str__(self) -> str:
        """As in tables."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ranks(values: NDArray) -> NDArray[np.float64]:
    """(Q,) ranks from 1, equal values sharing the mean of theirs.

    >>> ranks(np.array([7, 3, 7])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[inverse]


def spearman(one: NDArray, other: NDArray) -> float:
    """Spearman's rank correlation, in -1..1; NaN if either does not vary.

    >>> spearman(np.array([1, 2, 3, 4]), np.array([1, 4, 9, 16]))
    1.0
    """
    x, y = ranks(one), ranks(other)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else float("nan")


def explained(values: NDArray, groups: NDArray) -> float:
    """η²: the share of the variance of `values` that lies between the groups, in 0..1.

    >>> explained(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    total = float(values.var())
    if total == 0:
        return float("nan")
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, values) / counts
    return float(counts @ (means - values.mean()) ** 2) / len(values) / total


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float], clusters: NDArray, seed: int = 0
) -> Interval:
    """A statistic of questions, with the interval over resampled images.

    Questions about an image share it, so whole images are drawn, with replacement.

    Args:
        statistic: of the questions at some positions.
        clusters: (Q,) image of each question.
        seed: of the draws.
    """
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=clusters[order[0]] - 1))
    images = np.split(order, starts[1:])
    generator = np.random.default_rng(seed)
    found = [
        statistic(
            np.concatenate([images[i] for i in generator.integers(0, len(images), len(images))])
        )
        for _ in range(RESAMPLES)
    ]
    known = [value for value in found if value == value] or [float("nan")]
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(statistic(np.arange(len(clusters))), float(low), float(high))


def slope(x: NDArray, y: NDArray) -> tuple[float, float]:
    """Least squares y ≈ a + b x: a and b, NaN if x does not vary.

    >>> slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    (1.0, 2.0)
    """
    if x.var() == 0:
        return float("nan"), float("nan")
    b = float(np.cov(x, y, bias=True)[0, 1] / x.var())
    return float(y.mean() - b * x.mean()), b
