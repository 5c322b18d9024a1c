"""What `scripts/reproduce.py` computes of the answers to many questions."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Resamples of a bootstrap, and shuffles of a permutation test.
RESAMPLES = 500


class Interval(NamedTuple):
    """A number, and where 95 % of the resamples lie."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 2, factor: float = 1.0) -> str:
        """As in tables; a dash where nothing can be said.

        >>> Interval(0.5, 0.25, 1.0).text(), Interval(math.nan, math.nan, math.nan).text()
        ('0.50 (0.25 to 1.00)', '—')
        """
        if math.isnan(self.value):
            return "—"
        numbers = (f"{factor * number:.{digits}f}" for number in self)
        return "{} ({} to {})".format(*numbers)


class Resamples:
    """Draws of whole images with replacement: questions about an image share it.

    Args:
        images: (Q,) image of each question.
        seed: of the draws.
    """

    def __init__(self, images: NDArray, seed: int = 0) -> None:
        _, self._image, counts = np.unique(images, return_inverse=True, return_counts=True)
        generator = np.random.default_rng(seed)
        even = np.full(len(counts), 1 / len(counts))
        drawn = generator.multinomial(len(counts), even, RESAMPLES)
        self._times = np.vstack([np.ones_like(counts), drawn])  # first as it is
        self._sizes = self._times @ counts
        self._order = np.argsort(self._image, kind="stable")
        self._ends = counts.cumsum()

    def means(self, values: NDArray) -> NDArray[np.float64]:
        """(1 + R,) mean of (Q,) values: of all questions, then of each resample."""
        return (self._times @ np.bincount(self._image, values)) / self._sizes

    def each(
        self, statistic: Callable[[NDArray[np.int64]], float | Sequence[float]]
    ) -> NDArray[np.float64]:
        """(1 + R,) the same of any statistic of the questions at some positions, or of several."""
        images = np.split(self._order, self._ends[:-1])
        every = np.arange(len(images))
        return np.array(
            [
                statistic(np.concatenate([images[i] for i in np.repeat(every, times)]))
                for times in self._times
            ]
        )


def interval(found: NDArray[np.float64]) -> Interval:
    """Of what `Resamples` gives; NaN where nothing can be said.

    >>> interval(np.array([2.0, 1.0, 2.0, 3.0])).value
    2.0
    """
    known = found[1:][~np.isnan(found[1:])]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
    return Interval(float(found[0]), float(low), float(high))


#: By number of values less one: 97.5 % of Student's t lie below.
_STUDENT = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def over_seeds(values: Sequence[float]) -> Interval:
    """Mean of a value by seed and its 95 % t-interval; NaN for one seed, and ten at most.

    >>> over_seeds([1.0, 2.0, 3.0]).text()
    '2.00 (-0.48 to 4.48)'
    """
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return Interval(mean, math.nan, math.nan)
    half = _STUDENT[count - 1] * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def side(*found: Interval) -> bool | None:
    """Whether all intervals are above 0 (True) or all below (False); None: neither.

    >>> above, wide = Interval(1, 0.5, 2), Interval(1, -1, 3)
    >>> side(above, above), side(above, wide)
    (True, None)
    """
    if all(one.low > 0 for one in found):
        return True
    return False if all(one.high < 0 for one in found) else None


def by_group(values: NDArray, groups: NDArray) -> NDArray[np.float64]:
    """(G,) means of groups, in their order.

    >>> by_group(np.array([1, 3, 7]), np.array([4, 4, 9])).tolist()
    [2.0, 7.0]
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.bincount(inverse, values) / counts


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


def spearman_within(one: NDArray, other: NDArray, groups: NDArray) -> float:
    """Mean rank correlation within groups, by their size; those that do not vary do not count.

    >>> spearman_within(np.array([1, 2, 9, 8]), np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1]))
    0.0
    """
    total, weight = 0.0, 0
    for group in np.unique(groups):
        own = groups == group
        found = spearman(one[own], other[own])
        if found == found:
            total, weight = total + own.sum() * found, weight + own.sum()
    return float(total / weight) if weight else float("nan")


def explained(values: NDArray, groups: NDArray) -> float:
    """η²: the share of the variance of `values` that lies between the groups, in 0..1.

    >>> explained(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    total = float(values.var())
    if total == 0:
        return float("nan")
    counts = np.unique(groups, return_counts=True)[1]
    means = by_group(values, groups)
    return float(counts @ (means - values.mean()) ** 2) / len(values) / total


def by_chance(values: NDArray, groups: NDArray, seed: int = 0) -> float:
    """The largest η² of `RESAMPLES` shuffles of the groups."""
    generator = np.random.default_rng(seed)
    return max(explained(values, generator.permutation(groups)) for _ in range(RESAMPLES))


def slope(x: NDArray, y: NDArray) -> tuple[float, float]:
    """Least squares y ≈ a + b x: a and b, NaN if x does not vary.

    >>> slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0]))
    (1.0, 2.0)
    """
    if x.var() == 0:
        return float("nan"), float("nan")
    b = float(np.cov(x, y, bias=True)[0, 1] / x.var())
    return float(y.mean() - b * x.mean()), b
