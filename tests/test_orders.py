"""Orders lose nothing, repeat nothing, and keep together what they promise to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dact.datamodules.orders import by_image, group_by_image, share_of, training_order

images = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(np.array)


def runs(values):
    """Lengths of runs of equal neighbours."""
    ends = np.flatnonzero(np.r_[values[1:] != values[:-1], True])
    return np.diff(np.r_[-1, ends])


@given(rows=images, size=st.integers(1, 7), seed=st.integers(0, 5))
@settings(deadline=None, derandomize=True)
def test_groups_of_an_image_are_as_large_as_they_can_be(rows, size, seed):
    rng = np.random.default_rng(seed)
    order, groups = group_by_image(rng.permutation(len(rows)), rows, size, rng)
    assert sorted(order) == list(range(len(rows)))
    assert (runs(groups) == np.bincount(groups)[groups[np.cumsum(runs(groups)) - 1]]).all()
    for image in set(rows.tolist()):
        count = int((rows == image).sum())
        own = np.unique(groups[rows[order] == image])
        sizes = sorted(np.bincount(groups)[own].tolist(), reverse=True)
        assert sizes == [size] * (count // size) + ([count % size] if count % size else [])


def test_groups_are_shuffled_and_made_anew():
    rows = np.repeat(np.arange(40), 10)
    orders = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        orders.append(group_by_image(rng.permutation(400), rows, 5, rng)[0])
    first, second = (order.reshape(-1, 5) for order in orders)
    assert (rows[first] == rows[first[:, :1]]).all()
    assert (np.diff(rows[first[:, 0]]) < 0).any()
    assert set(map(frozenset, first.tolist())) != set(map(frozenset, second.tolist()))


@given(
    rows=images,
    lengths=st.booleans(),
    per_image=st.integers(1, 5),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
)
@settings(deadline=None, derandomize=True)
def test_training_sees_every_example_once(rows, lengths, per_image, batch_size, seed):
    order = training_order(
        len(rows),
        batch_size,
        np.random.default_rng(seed),
        lengths=np.arange(len(rows)) % 7 if lengths else None,
        image_rows=rows,
        questions_per_image=per_image,
    )
    assert sorted(order) == list(range(len(rows)))


def test_grouping_by_image_and_by_length_keeps_both():
    rng = np.random.default_rng(0)
    rows, lengths = np.repeat(np.arange(500), 10), rng.integers(5, 40, 5000)
    options = {"lengths": lengths, "image_rows": rows, "questions_per_image": 5}
    order = training_order(5000, 50, np.random.default_rng(1), **options)
    distinct = [len(set(rows[part])) for part in order.reshape(-1, 50)]
    assert np.mean(distinct) == pytest.approx(10, abs=0.5)
    alone = training_order(5000, 50, np.random.default_rng(1), image_rows=rows)
    assert np.mean([len(set(rows[part])) for part in alone.reshape(-1, 50)]) > 45

    def padding(order):
        return sum((lengths[part].max() - lengths[part]).sum() for part in order.reshape(-1, 50))

    without = training_order(5000, 50, np.random.default_rng(1), **{**options, "lengths": None})
    assert padding(order) < 0.8 * padding(without)


@given(rows=images)
@settings(deadline=None, derandomize=True)
def test_the_questions_of_an_image_meet_in_evaluation(rows):
    order = by_image(rows)
    if order is None:
        order = np.arange(len(rows))
    assert len(runs(rows[order])) == len(set(rows.tolist()))
    same = rows[order][1:] == rows[order][:-1]
    assert (np.diff(order)[same] > 0).all()
    assert by_image(np.sort(rows)) is None


@given(
    size=st.integers(0, 60),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 5),
)
@settings(deadline=None, derandomize=True)
def test_processes_share_each_batch(size, batch_size, world_size):
    order = np.random.default_rng(0).permutation(size)
    shares = [share_of(order, batch_size, rank, world_size) for rank in range(world_size)]
    assert sorted(np.concatenate(shares)) == list(range(size))
    whole = size // (batch_size * world_size)
    for number in range(whole):
        together = order[number * batch_size * world_size :][: batch_size * world_size]
        own = [share[number * batch_size :][:batch_size] for share in shares]
        assert np.array_equal(np.concatenate(own), together)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
