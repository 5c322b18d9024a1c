"""Features of GQA: each image its own row, whatever the shards, their order and their padding."""

import json
import multiprocessing
import pickle
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import convert_gqa_objects
import h5py
import numpy as np
import pytest

from dact.datamodules import gqa_mini
from dact.datamodules.gqa_features import GQAObjects, GQASpatial
from dact.datamodules.gqa_index import ImageIndex, write_image_index
from dact.datamodules.gqa_ragged import RaggedObjects, write_ragged_objects
from dact.errors import UserError
from dact.one_line import one_line_errors

SHARDS = (7, 5, 3)
ROOM, DIM, HEIGHT, WIDTH = 11, 13, 3, 2
NAMES = [f"n{number}" for number in range(sum(SHARDS))]


def info_of(folder):
    """Path of the info file of a folder of shards."""
    (path,) = folder.glob("*_info.json")
    return path


def entries(folder):
    return json.loads(info_of(folder).read_text())


def change_entries(folder, change):
    info = entries(folder)
    change(info)
    info_of(folder).write_text(json.dumps(info))


def place_images(rng):
    """Names shared out to the rows of the shards at random: name → file and idx."""
    places = [(file, idx) for file, rows in enumerate(SHARDS) for idx in range(rows)]
    return {name: places[i] for name, i in zip(NAMES, rng.permutation(len(NAMES)), strict=True)}


@pytest.fixture
def objects(tmp_path):
    """Shards whose padding is NaN, infinity or huge."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "objects"
    folder.mkdir()
    info = {}
    for name, (file, idx) in place_images(rng).items():
        count, width, height = (int(rng.integers(1, end)) for end in (ROOM + 1, 700, 500))
        info[name] = {"file": file, "idx": idx, "objectsNum": count}
        info[name] |= {"width": width, "height": height}
    info["n0"]["objectsNum"], info["n1"]["objectsNum"] = 1, ROOM
    for file, rows in enumerate(SHARDS):
        features = rng.standard_normal((rows, ROOM, DIM)).astype(np.float32)
        boxes = rng.uniform(0, 500, (rows, ROOM, 4)).astype(np.float32)
        for entry in info.values():
            if entry["file"] == file:
                for array in (features, boxes):
                    garbage = array[entry["idx"], entry["objectsNum"] :]
                    garbage[:] = rng.choice([np.nan, np.inf, 1e30])
        with h5py.File(folder / f"gqa_objects_{file}.h5", "w") as shard:
            chunks = (2, 3, 5) if file == 1 else None
            shard.create_dataset("features", data=features, chunks=chunks)
            shard["bboxes"] = boxes
    (folder / "gqa_objects_info.json").write_text(json.dumps(info))
    return folder


@pytest.fixture
def spatial(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "spatial"
    folder.mkdir()
    info = {name: {"file": f, "idx": i} for name, (f, i) in place_images(rng).items()}
    for file, rows in enumerate(SHARDS):
        with h5py.File(folder / f"gqa_spatial_{file}.h5", "w") as shard:
            values = rng.standard_normal((rows, DIM, HEIGHT, WIDTH))
            shard["features"] = values.astype(np.float32)
    (folder / "gqa_spatial_info.json").write_text(json.dumps(info))
    return folder


def open_objects(folder, names=NAMES, index=None):
    index = index or folder.parent / "index.h5"
    write_image_index(index, names, info_of(folder), "objects", "stamp")
    return GQAObjects(folder, index)


def open_spatial(folder, names=NAMES):
    index = folder.parent / "index.h5"
    write_image_index(index, names, info_of(folder), "spatial", "stamp")
    return GQASpatial(folder, index)


Slow = namedtuple("Slow", "features boxes")


def look_up(folder, name):
    """One image's objects and boxes, read as the format's description says."""
    entry = entries(folder)[name]
    with h5py.File(folder / f"gqa_objects_{entry['file']}.h5") as file:
        features = file["features"][entry["idx"]][: entry["objectsNum"]]
        boxes = file["bboxes"][entry["idx"]][: entry["objectsNum"]]
    sides = [entry["width"], entry["height"]]
    return Slow(features, boxes / np.array(sides * 2, np.float32))


def check_batch(store, folder, names, rows, dtype=np.float32):
    features, counts = store.read(rows)
    boxes = store.boxes(rows)
    assert features.dtype == dtype
    assert boxes.dtype == np.float32
    slow = [look_up(folder, names[row]) for row in rows]
    assert counts.dtype == np.int64
    assert counts.tolist() == [len(one.features) for one in slow]
    assert features.shape == (len(rows), max(counts, default=0), store.feature_dim)
    assert boxes.shape == (*features.shape[:2], 4)
    for number, (one, count) in enumerate(zip(slow, counts, strict=True)):
        np.testing.assert_array_equal(features[number, :count], one.features.astype(dtype))
        np.testing.assert_array_equal(boxes[number, :count], one.boxes)
        assert not features[number, count:].any()
        assert not boxes[number, count:].any()


ROWS = [[], [0], [14], [0, 1], [3, 4, 5, 11, 13], list(range(15))]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("order", [1, -1])
def test_objects_are_those_of_the_image(objects, rows, order):
    store = open_objects(objects, NAMES[::order])
    assert (len(store), store.feature_dim, store.kind) == (15, DIM, "objects")
    assert store.index.names[:] == NAMES[::order]
    check_batch(store, objects, NAMES[::order], np.array(rows, np.int64))


@pytest.mark.parametrize("rows", ROWS)
def test_grids_are_those_of_the_image(spatial, rows):
    store = open_spatial(spatial)
    assert (len(store), store.feature_dim, store.kind) == (15, DIM, "grid")
    assert store.grid_size == (HEIGHT, WIDTH)
    features, cells = store.read(np.array(rows, np.int64))
    assert features.shape == (len(rows), DIM, HEIGHT, WIDTH)
    assert cells.tolist() == [HEIGHT * WIDTH] * len(rows)
    info = entries(spatial)
    for row, values in zip(rows, features, strict=True):
        entry = info[NAMES[row]]
        with h5py.File(spatial / f"gqa_spatial_{entry['file']}.h5") as file:
            np.testing.assert_array_equal(values, file["features"][entry["idx"]])


def test_neighbours_are_read_in_one_piece(spatial, monkeypatch):
    info = entries(spatial)
    names = sorted(NAMES, key=lambda name: (info[name]["file"], info[name]["idx"]))
    store = open_spatial(spatial, names)
    reads = []
    original = h5py.Dataset.read_direct
    monkeypatch.setattr(
        h5py.Dataset, "read_direct", lambda *a, **k: (reads.append(1), original(*a, **k))
    )
    store.read(np.arange(15))
    assert len(reads) == len(SHARDS)


def test_a_part_of_the_images_needs_a_part_of_the_shards(objects):
    info = entries(objects)
    names = [name for name in NAMES if info[name]["file"] != 1]
    (objects / "gqa_objects_1.h5").unlink()
    store = open_objects(objects, names)
    check_batch(store, objects, names, np.arange(len(names)))


def test_float16_shards_stay_float16(objects):
    for path in objects.glob("*.h5"):
        with h5py.File(path, "r+") as file, np.errstate(over="ignore"):
            values = file["features"][:].astype(np.float16)
            del file["features"]
            file["features"] = values
    check_batch(open_objects(objects), objects, NAMES, np.arange(15), np.float16)


@pytest.mark.parametrize("kind", ["objects", "spatial"])
def test_stores_are_pickled_without_files(request, kind):
    folder = request.getfixturevalue(kind)
    store = {"objects": open_objects, "spatial": open_spatial}[kind](folder)
    fresh = pickle.dumps(store)
    rows = np.array([2, 3, 5, 7])
    here = store.read(rows)[0]
    used = pickle.dumps(store)
    assert len(used) == len(fresh)
    for content in (fresh, used):
        np.testing.assert_array_equal(pickle.loads(content).read(rows)[0], here)


def read_and_send(store, rows, end):
    end.send(store.read(rows)[0])
    end.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forked_processes_open_the_shards_again(objects):
    store = open_objects(objects)
    rows = np.arange(15)
    here = store.read(rows)[0]
    context = multiprocessing.get_context("fork")
    ends = []
    for _ in range(3):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=read_and_send, args=(store, rows, sender))
        process.start()
        ends.append((process, receiver))
    for process, receiver in ends:
        np.testing.assert_array_equal(receiver.recv(), here)
        process.join()
        assert process.exitcode == 0
    np.testing.assert_array_equal(store.read(rows)[0], here)


def test_an_index_is_current_only_for_its_source(objects, tmp_path):
    path = tmp_path / "index.h5"
    assert not ImageIndex.is_current(path, "stamp")
    open_objects(objects)
    assert ImageIndex.is_current(path, "stamp")
    assert not ImageIndex.is_current(path, "other")
    index = pickle.loads(pickle.dumps(ImageIndex(path)))
    assert index.names[3] == "n3"
    with pytest.raises(IndexError):
        index.names[15]
    with pytest.raises(UserError, match=r"index\.h5 is an index of objects features, not of spa"):
        GQASpatial(objects, path)
    path.write_bytes(path.read_bytes()[:-8])
    assert not ImageIndex.is_current(path, "stamp")
    with pytest.raises(UserError, match=r"index\.h5 is no index of images"):
        ImageIndex(path)


def test_names_come_once(objects):
    with pytest.raises(ValueError, match="twice"):
        open_objects(objects, ["n1", "n1"])
    with pytest.raises(UserError, match="features of no image are wanted"):
        open_objects(objects, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": 5}, r"gqa_objects_5\.h5 is missing, whose row 2 is image n4"),
        ({"file": -1}, r"image n4, row 2 of gqa_objects_-1\.h5, has file -1, not one in 0\.\."),
        ({"idx": -1}, r"image n4 has idx -1, not one in 0\.\."),
        ({"idx": 10**12}, r"image n4 has idx 1000000000000, not one in 0\.\."),
        ({"idx": 5}, r"_1\.h5: image n4 is said to be row 5, but 'features' has 5 rows"),
        ({"objectsNum": 0}, r"image n4, row 2 of gqa_objects_1\.h5, has objectsNum 0, not one in"),
        ({"objectsNum": 12}, r"_1\.h5: image n4, row 2, is said to have 12 objects, but .* for 11"),
        ({"objectsNum": "3"}, "image n4: field 'objectsNum' is '3', not int"),
        ({"width": 0}, r"image n4, row 2 of gqa_objects_1\.h5, has width 0"),
        ({"height": ...}, "image n4 has no field 'height'"),
    ],
)
def test_odd_entries_are_named(objects, tmp_path, change, message):
    def alter(info):
        entry = info["n4"] | {"file": 1, "idx": 2} | change
        info["n4"] = {key: value for key, value in entry.items() if value is not ...}

    change_entries(objects, alter)
    with pytest.raises(UserError, match=message) as caught:
        open_objects(objects)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index.h5").exists()
    open_objects(objects, [name for name in NAMES if name != "n4"])  # nobody asks about it


def test_an_image_without_an_entry_is_named(objects):
    change_entries(objects, lambda info: (info.pop("n4"), info.pop("n9")))
    with pytest.raises(UserError, match=r"info\.json has no image n4, row 4 .* lacks 2 of 15"):
        open_objects(objects)


def test_an_image_with_two_entries_is_named(objects):
    path = info_of(objects)
    path.write_text(path.read_text().replace('"n4"', '"n3"'))
    with pytest.raises(UserError, match=r"info\.json: image n3 occurs twice"):
        open_objects(objects)


def rewrite(folder, file, name, change):
    with h5py.File(folder / f"gqa_{folder.name}_{file}.h5", "r+") as shard:
        values = change(shard[name][:])
        del shard[name]
        if values is not None:
            shard[name] = values


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("features", lambda v: None, r"_1\.h5 has no dataset 'features'"),
        ("features", lambda v: v[..., :7], r"_1\.h5: 'features' has shape \(5, 11, 7\), unlike"),
        ("features", lambda v: v[0], r"_1\.h5: 'features' has shape \(11, 13\), not \(images, ob"),
        ("features", lambda v: v[:4], r"_1\.h5: image n\d+ is said to be row 4, but 'features' ha"),
        ("bboxes", lambda v: v[:4], r"_1\.h5: image n\d+ is said to be row 4, but 'bboxes' has 4"),
        ("bboxes", lambda v: None, r"_1\.h5 has no dataset 'bboxes'"),
        ("bboxes", lambda v: v[..., :3], r"_1\.h5: 'bboxes' has shape \(5, 11, 3\), unlike"),
    ],
)
def test_shards_changed_since_are_named_when_the_store_opens(objects, name, change, message):
    store = open_objects(objects)
    rewrite(objects, 1, name, change)
    with pytest.raises(UserError, match=message):
        GQAObjects(objects, store.path)


def test_shards_that_are_missing_or_cut_are_named_when_the_store_opens(spatial):
    store = open_spatial(spatial)
    path = spatial / "gqa_spatial_2.h5"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"gqa_spatial_2\.h5 is no whole HDF5 file"):
        GQASpatial(spatial, store.path)
    path.unlink()
    with pytest.raises(UserError, match=r"_2\.h5 is missing, whose row \d is image n\d"):
        GQASpatial(spatial, store.path)


def test_a_real_object_that_is_not_finite_is_named(objects):
    info = entries(objects)
    entry = info["n4"]

    def spoil(values):
        values[entry["idx"], entry["objectsNum"] - 1, 3] = np.nan
        return values

    store = open_objects(objects)
    rewrite(objects, entry["file"], "bboxes", spoil)
    store.read(np.arange(15))
    message = rf"gqa_objects_{entry['file']}\.h5: row {entry['idx']} holds NaN or infinity"
    with pytest.raises(UserError, match=message):
        store.boxes(np.arange(15))


@pytest.mark.parametrize("row", [-1, 15])
def test_a_row_outside_is_named(objects, row):
    store = open_objects(objects)
    for read in (store.read, store.boxes):
        with pytest.raises(UserError, match=rf"row {row} is wanted, but it has 15 rows"):
            read(np.array([row]))


@pytest.fixture
def ragged(objects, tmp_path):
    path = tmp_path / "objects.h5"
    write_ragged_objects(objects, path)
    return path


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("order", [1, -1])
def test_one_file_gives_the_batches_of_the_shards(objects, ragged, rows, order):
    store = RaggedObjects(ragged, NAMES[::order])
    assert (len(store), store.feature_dim, store.kind) == (15, DIM, "objects")
    rows = np.array(rows, np.int64)
    check_batch(store, objects, NAMES[::order], rows, np.float16)
    again = pickle.loads(pickle.dumps(store))
    check_batch(again, objects, NAMES[::order], rows, np.float16)


def test_one_file_has_no_padding(objects, ragged, tmp_path):
    info = entries(objects)
    count = sum(entry["objectsNum"] for entry in info.values())
    with h5py.File(ragged) as file:
        assert file["features"].shape == (count * DIM,)
        assert file["features"].dtype == np.float16
        names = file["names"][:].tobytes().decode()
        sizes = list(zip(file["widths"], file["heights"], strict=True))
    order = sorted(info, key=lambda name: (info[name]["file"], info[name]["idx"]))
    assert names == "".join(order)
    assert sizes == [(info[name]["width"], info[name]["height"]) for name in order]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects", "objects.h5"]


def test_a_value_that_float16_cannot_hold_is_named(objects, tmp_path):
    info = entries(objects)
    entry = info["n4"]

    def spoil(values):
        values[entry["idx"], 0, 3] = -1e5
        return values

    rewrite(objects, entry["file"], "features", spoil)
    place = rf"gqa_objects_{entry['file']}\.h5: row {entry['idx']}, image n4, holds 100000"
    with pytest.raises(UserError, match=place):
        write_ragged_objects(objects, tmp_path / "objects.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]


def test_the_disk_is_asked_first(objects, tmp_path, monkeypatch):
    said = []
    usage, free = namedtuple("usage", "free"), iter([10**6, 100])  # the index is small
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(next(free)))
    with pytest.raises(UserError, match=r"objects\.h5 needs 0\.0 GB, but 0\.0 GB are free"):
        write_ragged_objects(objects, tmp_path / "objects.h5", say=said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]
    assert said == []


def test_one_file_of_other_shards_is_refused(objects, ragged):
    info = objects / "gqa_objects_info.json"
    store = RaggedObjects(ragged, ["n1"])
    store.check_source(info)
    store.check_source(objects / "gone.json")
    info.write_text(info.read_text() + " ")
    with pytest.raises(UserError, match=r"objects\.h5 was made before .*info\.json changed"):
        store.check_source(info)


def test_one_file_that_cannot_be_used_is_named(objects, ragged, tmp_path):
    with pytest.raises(UserError, match=r"objects\.h5 has no image x, row 1 of those asked about"):
        RaggedObjects(ragged, ["n1", "x"])
    with pytest.raises(UserError, match="exists already"):
        write_ragged_objects(objects, ragged)
    with pytest.raises(UserError, match=r"none/objects\.h5 cannot be written"):
        write_ragged_objects(objects, tmp_path / "none" / "objects.h5")
    with pytest.raises(UserError, match="is no file of objects of this version"):
        RaggedObjects(objects / "gqa_objects_0.h5", NAMES)
    ragged.write_bytes(ragged.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"objects\.h5 cannot be read"):
        RaggedObjects(ragged, NAMES)


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("gqa") / "mini"
    images = {"train": 103, "val": 3, "test": 2}
    gqa_mini.generate(
        root, images=images, questions_per_image=2, feature_dim=17, shards=2, progress=False
    )
    return root / "features"


def test_gqa_mini_is_read_and_converted(mini, tmp_path, monkeypatch, capsys):
    names = list(entries(mini / "objects"))[::-2]
    rows = np.arange(0, len(names), 3)
    store = open_objects(mini / "objects", names, tmp_path / "index.h5")
    check_batch(store, mini / "objects", names, rows)
    target = tmp_path / "objects.h5"
    arguments = ["convert", "--features", str(mini / "objects"), "--output", str(target)]
    monkeypatch.setattr(sys, "argv", arguments)
    convert_gqa_objects.main()
    said = capsys.readouterr().out
    assert "objects.h5 needs 0.0 GB for" in said
    assert "objects of 108 images" in said
    check_batch(RaggedObjects(target, names), mini / "objects", names, rows, np.float16)
    assert one_line_errors(convert_gqa_objects.main) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("open_store", ["shards", "ragged"])
def test_images_that_are_not_there_can_be_left_out(objects, ragged, tmp_path, open_store):
    wanted = [NAMES[1], "nowhere", NAMES[0]]
    if open_store == "shards":
        index = tmp_path / "some.h5"
        with pytest.raises(UserError, match=r"no image nowhere.*data\.missing_images=skip"):
            write_image_index(index, wanted, info_of(objects), "objects", "stamp")
        write_image_index(index, wanted, info_of(objects), "objects", "stamp", may_lack=True)
        store = GQAObjects(objects, index)
    else:
        with pytest.raises(UserError, match=r"no image nowhere.*data\.missing_images=skip"):
            RaggedObjects(ragged, wanted)
        store = RaggedObjects(ragged, wanted, may_lack=True)
    assert list(store.images.names) == [NAMES[1], NAMES[0]]
    features, counts = store.read(np.array([0, 1]))
    for row, name in enumerate(store.images.names):
        expected = look_up(objects, name).features
        np.testing.assert_allclose(features[row, : counts[row]], expected, rtol=1e-3, atol=1e-3)
