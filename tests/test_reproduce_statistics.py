"""The statistics of scripts/reproduce.py against their definitions, counted slowly."""

import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reproduce_statistics import (
    RESAMPLES,
    Interval,
    Resamples,
    by_chance,
    by_group,
    explained,
    interval,
    over_seeds,
    ranks,
    side,
    slope,
    spearman,
    spearman_within,
)
from reproduce_verdict import FAILS, HOLDS, IN_PART, OPEN, verdict

NUMBERS = st.lists(st.integers(-5, 5), min_size=2, max_size=30)
#: Questions of which a value, another one and a group or an image are known.
TABLES = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.integers(0, 4)), min_size=2, max_size=30
)
few = settings(max_examples=20)


def columns(table):
    """As three arrays."""
    return tuple(np.array(column) for column in zip(*table, strict=True))


def same(found, wanted):
    """Equal, also where both are NaN."""
    return found == pytest.approx(wanted, abs=1e-12, nan_ok=True)


# Resamples.


@few
@given(TABLES)
def test_means_are_those_of_any_other_statistic(table):
    values, _, images = columns(table)
    draws = Resamples(images)
    found = draws.means(values)
    assert found.shape == (1 + RESAMPLES,)
    assert found == pytest.approx(draws.each(lambda at: float(values[at].mean())))
    assert found[0] == pytest.approx(fmean(values.tolist()))


@few
@given(TABLES)
def test_each_resample_draws_as_many_images_as_there_are_and_whole(table):
    _, _, images = columns(table)
    names = np.unique(images)
    seen = []

    def count(at):
        drawn = np.bincount(at, minlength=len(images))  # how often each question
        times = [set(drawn[images == name].tolist()) for name in names]
        assert all(len(found) == 1 for found in times)
        seen.append(tuple(found.pop() for found in times))
        return float(sum(seen[-1]))

    found = Resamples(images).each(count)
    assert seen[0] == (1,) * len(names)
    assert set(found) == {len(names)}
    assert len(set(seen)) > 1 or len(names) == 1


def test_questions_of_one_image_are_one_observation():
    generator = np.random.default_rng(0)
    images = np.repeat(np.arange(200), 5)
    values = generator.normal(size=200)[images]  # the same for all questions of an image
    found = interval(Resamples(images).means(values))
    assert found.low < found.value < found.high
    alone = interval(Resamples(np.arange(1000)).means(values))
    ratio = (found.high - found.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(5**0.5, rel=0.2)  # 200 independent values, not 1000


def test_an_interval_of_a_mean_is_as_wide_as_theory_has_it():
    values = np.random.default_rng(1).normal(size=400)
    found = interval(Resamples(np.arange(400)).means(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def slow_percentile(values, share):
    """Between two of the sorted values, on the line."""
    values = sorted(values)
    place = share * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


@given(st.floats(-9, 9), st.lists(st.floats(-9, 9) | st.just(math.nan), min_size=1, max_size=40))
def test_an_interval_is_of_those_resamples_of_which_something_is_known(value, resamples):
    found = interval(np.array([value, *resamples]))
    known = [one for one in resamples if one == one]
    low, high = (slow_percentile(known, share) if known else math.nan for share in (0.025, 0.975))
    assert found.value == value
    assert same([found.low, found.high], [low, high])


def test_an_interval_in_words():
    assert Interval(0.5, 0.25, 1.0).text() == "0.50 (0.25 to 1.00)"
    assert Interval(-0.005, -0.01, 0.0).text(1, 100) == "-0.5 (-1.0 to 0.0)"


# Seeds.


def slow_quantile(freedom):
    """97.5 % of Student's t lie below: by bisection of the area under its density."""

    def area(end, parts=4000):
        width = end / parts
        middles = ((part + 0.5) * width for part in range(parts))
        density = sum((1 + t * t / freedom) ** (-(freedom + 1) / 2) for t in middles)
        constant = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2)
        return 0.5 + constant / math.sqrt(freedom * math.pi) * density * width

    low, high = 1.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if area(middle) < 0.975 else (low, middle)
    return low


@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_an_interval_over_seeds_is_students(count):
    values = np.random.default_rng(count).normal(size=count).tolist()
    found = over_seeds(values)
    mean = fmean(values)
    variance = sum((one - mean) ** 2 for one in values) / (count - 1)
    half = slow_quantile(count - 1) * math.sqrt(variance / count)
    assert tuple(found) == pytest.approx((mean, mean - half, mean + half), rel=1e-3)


def test_one_seed_has_no_interval():
    found = over_seeds([0.5])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert side(found) is side(Interval(1, 0.5, 2), found) is None


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([(1, 2), (0.1, 3)], True),
        ([(-2, -1), (-3, -0.1)], False),
        ([(1, 2), (-0.1, 3)], None),
        ([(1, 2), (-2, -1)], None),
        ([(0, 2), (1, 2)], None),
    ],
)
def test_intervals_have_to_agree(ends, said):
    assert side(*(Interval((low + high) / 2, low, high) for low, high in ends)) is said


@given(TABLES)
def test_groups_have_their_means(table):
    values, _, groups = columns(table)
    wanted = [fmean(values[groups == group].tolist()) for group in sorted(set(groups.tolist()))]
    assert by_group(values, groups) == pytest.approx(wanted)


@few
@given(TABLES)
def test_several_statistics_at_once_are_those_one_by_one(table):
    values, others, images = columns(table)
    draws = Resamples(images)
    both = draws.each(lambda at: (float(values[at].mean()), float(others[at].max())))
    assert both[:, 0].tolist() == draws.each(lambda at: float(values[at].mean())).tolist()
    assert both[:, 1].tolist() == draws.each(lambda at: float(others[at].max())).tolist()


# Ranks.


def slow_ranks(values):
    """One more than the number of smaller ones, and half of the others that are equal."""
    return [
        1 + sum(other < value for other in values) + (values.count(value) - 1) / 2
        for value in values
    ]


def slow_spearman(pairs):
    """Pearson's correlation of the ranks, by sums."""
    first, second = (slow_ranks(list(column)) for column in zip(*pairs, strict=True))
    a, b = fmean(first), fmean(second)
    both = sum((x - a) * (y - b) for x, y in zip(first, second, strict=True))
    sizes = sum((x - a) ** 2 for x in first) * sum((y - b) ** 2 for y in second)
    return both / math.sqrt(sizes) if sizes else math.nan


@given(NUMBERS)
def test_ranks_equal_their_definition(values):
    assert ranks(np.array(values)).tolist() == slow_ranks(values)


@given(TABLES)
def test_rank_correlation_is_pearsons_of_the_ranks(table):
    one, other, _ = columns(table)
    assert same(spearman(one, other), slow_spearman([row[:2] for row in table]))


@given(TABLES)
def test_within_groups_is_the_mean_of_groups_that_vary_by_their_size(table):
    groups = {}
    for *pair, group in table:
        groups.setdefault(group, []).append(pair)
    found = [(slow_spearman(own), len(own)) for own in groups.values()]
    known = [(rho, size) for rho, size in found if rho == rho]
    total = sum(size for _, size in known)
    wanted = sum(rho * size for rho, size in known) / total if known else math.nan
    assert same(spearman_within(*columns(table)), wanted)


# Shares of the variance.


@given(TABLES)
def test_what_groups_explain_is_what_their_means_have_of_the_squares(table):
    values, _, groups = columns(table)
    mean = fmean(values.tolist())
    total = sum((value - mean) ** 2 for value in values.tolist())
    own = [fmean(values[groups == group].tolist()) for group in groups]  # of each question's group
    between = sum((one - mean) ** 2 for one in own)
    assert same(explained(values.astype(float), groups), between / total if total else math.nan)


@given(NUMBERS)
def test_groups_of_one_explain_everything_and_one_group_nothing(values):
    values = np.array(values, float)
    if values.var() > 0:
        assert explained(values, np.arange(len(values))) == pytest.approx(1)
        assert explained(values, np.zeros(len(values))) == pytest.approx(0)


def test_by_chance_is_a_little_more_than_what_random_groups_explain():
    """On average those explain (G - 1) / (Q - 1)."""
    generator = np.random.default_rng(3)
    values, groups = generator.normal(size=400), np.repeat(np.arange(20), 20)
    found = by_chance(values, groups)
    fresh = [explained(values, generator.permutation(groups)) for _ in range(200)]
    assert fmean(fresh) == pytest.approx(19 / 399, rel=0.1)
    assert sum(one > found for one in fresh) <= 3
    assert 19 / 399 < found < 3 * 19 / 399
    assert by_chance(values, groups) == found


# Lines, and verdicts.


@given(NUMBERS.filter(lambda values: len(set(values)) > 1), st.randoms(use_true_random=False))
def test_a_slope_is_that_of_least_squares(values, random):
    x, y = np.array(values, float), np.array([random.uniform(-1, 1) for _ in values])
    assert slope(x, y) == pytest.approx(tuple(np.polyfit(x, y, 1)[::-1]), abs=1e-9)


def test_what_does_not_vary_has_no_slope():
    assert np.isnan(slope(np.ones(3), np.arange(3.0))).all()


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ([True], HOLDS),
        ([True, True], HOLDS),
        ([True, None], IN_PART),
        ([True, False], IN_PART),
        ([False, None, True], IN_PART),
        ([False], FAILS),
        ([False, False], FAILS),
        ([None, False], FAILS),
        ([None], OPEN),
        ([None, None], OPEN),
        ([], OPEN),
    ],
)
def test_verdicts(outcomes, said):
    assert verdict(outcomes) == verdict(reversed(outcomes)) == said
