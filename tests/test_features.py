import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from clevr_files import make_scene, write_grid, write_scenes

from dact.datamodules.features import GridFeatures, ObjectStates
from dact.datamodules.scene_states import FEATURE_DIM, is_current, pack_scene_states
from dact.errors import UserError

SHAPE = (7, 5, 3, 2)


def values(dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 5, 3, 2), "compression": "gzip"}])
def test_grid_rows_are_read_exactly(tmp_path: Path, dtype: str, options: dict) -> None:
    stored = values(dtype)
    store = GridFeatures(write_grid(tmp_path, "val", stored, **options))
    assert (len(store), store.feature_dim, store.grid_size, store.kind) == (7, 5, (3, 2), "grid")
    rows = np.array([0, 3, 6])
    features, num_cells = store.read(rows)
    assert features.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(features, stored[rows])
    assert num_cells.tolist() == [6, 6, 6]


def test_grid_is_opened_again_in_another_process(tmp_path: Path) -> None:
    store = GridFeatures(write_grid(tmp_path, "val", values()))
    rows = np.array([2])
    here = store.read(rows)[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).read(rows)[0], here)
    store._rows._pid = os.getpid() + 1  # as after a fork
    opened = store._rows._opened
    np.testing.assert_array_equal(store.read(rows)[0], here)
    assert store._rows._opened is not opened
    assert store._rows._pid == os.getpid()


def test_large_finite_values_are_no_error(tmp_path: Path) -> None:
    store = GridFeatures(write_grid(tmp_path, "val", np.full(SHAPE, 3e38, np.float32)))
    assert (store.read(np.array([1]))[0] == np.float32(3e38)).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", ">f2"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_row_that_is_not_finite_is_named(tmp_path: Path, value: float, dtype: str) -> None:
    stored = values(dtype)
    stored[4, 1, 2, 0] = value
    store = GridFeatures(write_grid(tmp_path, "val", stored))
    store.read(np.array([3, 5]))
    with pytest.raises(UserError, match=r"val_features\.hdf5: row 4 holds NaN or infinity"):
        store.read(np.array([3, 4, 5]))


@pytest.mark.parametrize("row", [-1, 7])
def test_row_outside_is_named(tmp_path: Path, row: int) -> None:
    store = GridFeatures(write_grid(tmp_path, "val", values()))
    with pytest.raises(UserError, match=rf"hdf5: row {row} is wanted, but it has 7 rows"):
        store.read(np.array([row]))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (values("float64"), "'data' is float64, not float16 or float32"),
        (values().astype(np.int32), "'data' is int32, not float16 or float32"),
        (values()[..., 0], r"'data' has shape \(7, 5, 3\), not \(images, C, H, W\)"),
        (values()[:, :0], r"'data' has shape \(7, 0, 3, 2\)"),
    ],
)
def test_wrong_grids_are_named(tmp_path: Path, stored: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=rf"val_features\.hdf5: {message}"):
        GridFeatures(write_grid(tmp_path, "val", stored))


def test_damaged_grid_files_are_named(tmp_path: Path) -> None:
    path = write_grid(tmp_path, "val", values())
    with pytest.raises(UserError, match="has no dataset 'features'"):
        GridFeatures(path, dataset="features")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"hdf5 is no whole HDF5 file: .*truncated") as caught:
        GridFeatures(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"none\.h5 is missing"):
        GridFeatures(tmp_path / "none.h5")


def test_damaged_chunk_is_named(tmp_path: Path) -> None:
    options = {"chunks": (1, 5, 3, 2), "compression": "gzip"}
    path = write_grid(tmp_path, "val", values(), **options)
    with h5py.File(path) as file:
        chunk = file["data"].id.get_chunk_info(5)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    store = GridFeatures(path)
    store.read(np.array([4]))
    with pytest.raises(UserError, match=r"hdf5: row 5 cannot be read"):
        store.read(np.array([4, 5]))


def test_state_is_as_computed_by_hand(tmp_path: Path) -> None:
    scene = {
        "image_index": 0,
        "objects": [
            {
                "shape": "sphere",
                "size": "small",
                "color": "cyan",
                "material": "metal",
                "3d_coords": [1.5, -0.75, 0.3],
            },
            {
                "shape": "cube",
                "size": "large",
                "color": "gray",
                "material": "rubber",
                "3d_coords": [0, 3, 0.6],
            },
        ],
        "directions": {"right": [0.6, 0.8, 0.0], "front": [0.8, -0.6, 0.0]},
    }
    pack_scene_states(write_scenes(tmp_path, "val", [scene]), tmp_path / "s.h5")
    store = ObjectStates(tmp_path / "s.h5")
    assert (len(store), store.feature_dim, store.kind) == (1, 18, "objects")
    features, num_cells = store.read(np.array([0]))
    assert num_cells.tolist() == [2]
    expected = np.zeros((1, 2, 18), np.float32)
    # sphere, small, cyan, metal; right (0.9 - 0.6) / 3, front (1.2 + 0.45) / 3, height 0.3 / 3
    expected[0, 0, [1, 4, 11, 14]] = 1
    expected[0, 0, 15:] = [0.1, 0.55, 0.1]
    # cube, large, gray, rubber; right 2.4 / 3, front -1.8 / 3, height 0.6 / 3
    expected[0, 1, [0, 3, 5, 13]] = 1
    expected[0, 1, 15:] = [0.8, -0.6, 0.2]
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_states_are_in_order_of_image_and_padded(tmp_path: Path) -> None:
    scenes = [make_scene(index, 1 + index % 4) for index in (2, 0, 3, 1)]
    pack_scene_states(write_scenes(tmp_path, "val", scenes), tmp_path / "s.h5")
    store = ObjectStates(tmp_path / "s.h5")
    features, num_cells = store.read(np.array([0, 1, 2]))
    assert features.shape == (3, 3, FEATURE_DIM)
    assert num_cells.tolist() == [1, 2, 3]
    for image in range(3):
        assert (features[image, : image + 1, :15].sum(-1) == 4).all()
        assert not features[image, image + 1 :].any()
        alone, _ = pickle.loads(pickle.dumps(store)).read(np.array([image]))
        np.testing.assert_array_equal(alone[0], features[image, : image + 1])


def test_states_are_current_only_for_their_source(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    assert not is_current(path, "a")
    pack_scene_states(write_scenes(tmp_path, "val", [make_scene(0, 2)]), path, "a")
    assert is_current(path, "a")
    assert not is_current(path, "b")
    path.write_bytes(path.read_bytes()[:-8])
    assert not is_current(path, "a")
    with pytest.raises(UserError, match=r"s\.h5 holds no scene states"):
        ObjectStates(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": []}, "scene 1 has no objects"),
        ({"objects": ...}, "scene 1 has no field 'objects'"),
        ({"directions": ...}, "scene 1 has no field 'directions'"),
        ({"directions": {"right": [1, 0, 0]}}, "scene 1 has no field 'front'"),
        ({"image_index": 0}, "image_index 0 occurs twice"),
        ({"image_filename": 3}, "scene at position 1: field 'image_filename' is 3, not str"),
        ({"image_index": ...}, "scene at position 1 has no field 'image_index'"),
    ],
)
def test_odd_scenes_are_named(tmp_path: Path, change: dict, message: str) -> None:
    scenes = [make_scene(index, 2) for index in range(3)]
    scenes[1] = {k: v for k, v in (scenes[1] | change).items() if v is not ...}
    path = write_scenes(tmp_path, "val", scenes)
    with pytest.raises(UserError) as caught:
        pack_scene_states(path, tmp_path / "s.h5")
    assert str(caught.value).startswith(f"{path}: {message}")
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "pink"}, "scene 0, object 1: unknown color 'pink'"),
        ({"shape": ...}, "scene 0, object 1 has no field 'shape'"),
        ({"3d_coords": [1, 2]}, r"object 1: field '3d_coords' is \[1, 2\], not three numbers"),
        ({"3d_coords": [1, 2, "x"]}, "object 1: field '3d_coords' is .* not three numbers"),
        ({"3d_coords": [1, 2, 4e38]}, "object 1: field '3d_coords' is .* numbers up to 1e\\+09"),
    ],
)
def test_odd_objects_are_named(tmp_path: Path, change: dict, message: str) -> None:
    scene = make_scene(0, 2)
    objects = scene["objects"]
    objects[1] = {k: v for k, v in (objects[1] | change).items() if v is not ...}
    with pytest.raises(UserError, match=message):
        pack_scene_states(write_scenes(tmp_path, "val", [scene]), tmp_path / "s.h5")


def test_no_scenes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val_scenes\.json has no scenes"):
        pack_scene_states(write_scenes(tmp_path, "val", []), tmp_path / "s.h5")
