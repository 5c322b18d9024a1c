"""Feature files in float16: half the size, the same rows, whole or not there."""

import h5py
import numpy as np
import pytest
from convert_features import convert

from dact.datamodules.features import GridFeatures
from dact.errors import UserError

FLOAT16 = np.dtype("float16")


@pytest.fixture
def source(tmp_path):
    """131 rows: more than two blocks."""
    path = tmp_path / "source.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["data"] = rng.standard_normal((131, 3, 2, 5)).astype(np.float32)
    return path


def test_every_row_is_rounded_and_half_the_size(source, tmp_path):
    target = tmp_path / "target.hdf5"
    convert(source, target, FLOAT16, progress=False)
    with h5py.File(source) as before, h5py.File(target) as after:
        assert after["data"].dtype == FLOAT16
        assert np.array_equal(after["data"][:], before["data"][:].astype(FLOAT16))
    rows = np.array([0, 1, 64, 130])
    features, _ = GridFeatures(target).read(rows)
    assert features.dtype == FLOAT16
    assert features.shape == (4, 3, 2, 5)


def test_the_way_back_changes_nothing(source, tmp_path):
    small, large = tmp_path / "small.hdf5", tmp_path / "large.hdf5"
    convert(source, small, FLOAT16, progress=False)
    convert(small, large, np.dtype("float32"), progress=False)
    with h5py.File(small) as one, h5py.File(large) as other:
        assert np.array_equal(one["data"][:].astype(np.float32), other["data"][:])


@pytest.mark.parametrize(
    ("value", "message"),
    [(1e5, "row 97 holds 100000, too much for float16"), (np.nan, "row 97 holds NaN or infinity")],
)
def test_a_value_that_cannot_be_kept_leaves_nothing(source, tmp_path, value, message):
    with h5py.File(source, "r+") as file:
        file["data"][97, 2, 0, 4] = value
    with pytest.raises(UserError, match=message):
        convert(source, tmp_path / "target.hdf5", FLOAT16, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["source.hdf5"]


def test_nothing_is_overwritten(source):
    before = source.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        convert(source, source, FLOAT16, progress=False)
    assert source.read_bytes() == before
