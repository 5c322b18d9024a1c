"""Feature files of other programs: used if there is no doubt, else one line says what is there."""

import json
import sys

import convert_features
import h5py
import numpy as np
import pytest
from clevr_files import ready, write_clevr
from convert_features import convert

from dact.datamodules.axes import KNOWN_AXES, TokenMap, doubt, token_map
from dact.datamodules.feature_files import Choice, check_alone, find_features, open_image_features
from dact.errors import UserError
from dact.one_line import one_line_errors

GRID = (5, 7, 3, 2)
FLOAT16 = np.dtype("float16")


def made(shape=GRID, dtype="float32", seed=0):
    return (100 * np.random.default_rng(seed).random(shape)).astype(dtype)


def write(path, datasets, attributes=()):
    """An HDF5 file of these datasets; the attributes are of the first one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        file[next(iter(datasets))].attrs.update(dict(attributes))
    return path


def refusal(action, *arguments, **options):
    """The one line by which something is refused."""
    with pytest.raises(UserError) as raised:
        action(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "name", ["val_features.h5", "val_features.hdf", "features_val.h5", "val.h5"]
)
@pytest.mark.parametrize("dataset", ["data", "features", "feats", "group/conv4"])
def test_files_of_other_names_are_used(tmp_path, name, dataset):
    values = made()
    write(tmp_path / name, {dataset: values, "images": np.array([b"x"] * 5), "ids": np.arange(5)})
    store = find_features(tmp_path, "val")
    np.testing.assert_array_equal(store.read(np.array([1, 4]))[0], values[[1, 4]])
    (note,) = check_alone(tmp_path, "val")
    assert f"{name}: '{dataset}' is read as 5 images of 7 channels in 3×2 cells" in note


def test_training_takes_them_and_says_so_once(tmp_path, caplog):
    root = write_clevr(tmp_path)
    for split, count in (("train", 7), ("val", 5)):
        write(root / "features" / f"{split}_features.h5", {"features": made((count, 5, 3, 2))})
    with caplog.at_level("INFO"):
        module = ready(root, features="grid")
        module.prepare_data("fit")
    assert (module.feature_dim, module.feature_kind) == (5, "grid")
    assert caplog.text.count("train_features.h5: 'features' is read as 7 images") == 1


def test_ours_is_used_without_a_word(tmp_path):
    write(tmp_path / "val_features.hdf5", {"data": made(), "other": made((5, 9, 3, 2))})
    assert list(check_alone(tmp_path, "val")) == []
    assert find_features(tmp_path, "val").feature_dim == 7


@pytest.mark.faults(
    "feature files of other programs",
    tried="several datasets or files it could be, none, other axes, other types",
    happened="one line names what is there and the option or command",
)
@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        (
            {"conv4": made(), "conv5": made((5, 9, 3, 2))},
            [
                "'conv4' (5, 7, 3, 2) float32, 'conv5'",
                "data.feature_dataset=conv4",
                "--dataset conv4",
            ],
        ),
        ({"labels": np.arange(5)}, ["no dataset 'data'", "'labels' (5,) int64"]),
        ({"data": made(dtype="float64")}, ["is float64", "convert_features.py --input"]),
        ({"feats": made(dtype="uint8")}, ["is uint8", "--dataset feats --output"]),
        ({"data": made((5, 3, 3, 9))}, ["looks like (images, H, W, C)", "feature_axes=nhwc"]),
        ({"data": made((5, 96, 49))}, ["looks like (images, C, tokens)", "feature_axes=nct"]),
    ],
)
def test_what_is_in_doubt_is_refused(tmp_path, datasets, said):
    write(tmp_path / "val_features.h5", datasets)
    message = refusal(find_features, tmp_path, "val")
    assert "val_features.h5" in message
    for part in said:
        assert part in message


def test_what_is_there_instead_is_named(tmp_path):
    write(tmp_path / "resnet.h5", {"val": made()})
    message = refusal(find_features, tmp_path, "val")
    assert "val_features.hdf5 is missing" in message
    assert "resnet.h5 ('val' (5, 7, 3, 2) float32)" in message
    assert "python scripts/convert_features.py --input FILE --output" in message


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (made(seed=1), "differ in row 0"),
        (made((6, 7, 3, 2)), "differ in shape, (5, 7, 3, 2) and (6, 7, 3, 2)"),
        (np.concatenate([made()[:-1], 0 * made()[-1:]]), "differ in row 4"),
    ],
)
def test_two_files_that_disagree_are_refused(tmp_path, other, said):
    one = write(tmp_path / "val_features.hdf5", {"data": made()})
    two = write(tmp_path / "val_features.h5", {"features": other})
    message = refusal(lambda: list(check_alone(tmp_path, "val")))
    assert f"{one} and {two} both hold features of val" in message
    assert said in message


def test_a_file_and_its_copy_agree(tmp_path):
    source = write(tmp_path / "val_features.h5", {"features": made()})
    convert(source, tmp_path / "val_features.hdf5", FLOAT16, progress=False)
    assert list(check_alone(tmp_path, "val")) == []
    assert find_features(tmp_path, "val").path.suffix == ".hdf5"
    write(source, {"labels": np.arange(5)})
    (note,) = check_alone(tmp_path, "val")
    assert "the file beside it cannot be" in note


def test_options_choose(tmp_path):
    values = made((5, 3, 3, 9))
    path = write(tmp_path / "f.h5", {"a": made(), "b": values})
    store = open_image_features(path, Choice("b", "nhwc"))
    assert (store.feature_dim, store.grid_size) == (9, (3, 3))
    np.testing.assert_array_equal(store.read(np.arange(5))[0], values.transpose(0, 3, 1, 2))
    assert "no dataset 'c'; it holds 'a'" in refusal(open_image_features, path, Choice("c"))
    assert "do not fit" in refusal(open_image_features, path, Choice("b", "ntc"))
    root = write_clevr(tmp_path)
    assert "data.features=grid" in refusal(ready, root, feature_dataset="b")
    assert "nchw, nhwc, ntc, nct" in refusal(ready, root, features="grid", feature_axes="chw")
    assert KNOWN_AXES == ("nchw", "nhwc", "ntc", "nct")


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int32", ">f4"])
@pytest.mark.parametrize(
    ("axes", "usual"), [("nchw", "nchw"), ("nhwc", "nchw"), ("ntc", "ntc"), ("nct", "ntc")]
)
def test_any_numbers_in_any_order_are_converted(tmp_path, dtype, axes, usual):
    sizes = dict(zip("nchwt", (5, 7, 3, 2, 11), strict=True))
    values = made([sizes[axis] for axis in axes], dtype)
    about = {"images": np.array([b"%d" % i for i in range(5)]), "skipped": np.eye(1, 5)[0]}
    backbone = json.dumps({"name": "mine"})
    source = write(tmp_path / "x.h5", {"feats": values, **about}, {"backbone": backbone})
    target = tmp_path / "y.hdf5"
    convert(source, target, FLOAT16, choice=Choice(None, axes), progress=False)
    store = open_image_features(target)
    order = [axes.index(axis) for axis in usual]
    np.testing.assert_array_equal(
        store.read(np.arange(5))[0], values.transpose(order).astype(np.float32).astype(FLOAT16)
    )
    assert store.backbone == {"name": "mine"}
    with h5py.File(target) as file:
        assert set(file) == {"data", "images", "skipped"}
        for name, column in about.items():
            np.testing.assert_array_equal(file[name][:], column)


def test_a_declaration_is_kept_to(tmp_path):
    path = write(tmp_path / "f.h5", {"data": made((5, 4, 4, 9))}, {"axes": "nchw"})
    assert open_image_features(path).feature_dim == 4
    assert "axes are nchw, not nhwc" in refusal(open_image_features, path, Choice(None, "nhwc"))
    path = write(tmp_path / "g.h5", {"data": made((5, 4, 9))}, {"grid": [3, 3]})
    assert "does not fit its 4 tokens" in refusal(lambda: open_image_features(path).map)


def test_names_that_are_too_few_are_refused(tmp_path):
    source = write(tmp_path / "x.h5", {"data": made(), "images": np.array([b"a"])})
    message = refusal(convert, source, tmp_path / "y.h5", FLOAT16, progress=False)
    assert "'images' has 1 entries, but 'data' has 5 rows" in message
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_names_under_another_name_are_kept_and_pictures_are_none(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    pictures = np.zeros((5, 3, 8, 8), np.uint8)
    source = write(
        tmp_path / "x.h5",
        {"data": made(), "images": pictures, "filenames": np.array(names, "S")},
    )
    convert(source, tmp_path / "y.h5", FLOAT16, progress=False)
    assert open_image_features(tmp_path / "y.h5").images.names == names


def test_a_dataset_that_may_name_the_images_is_pointed_out(tmp_path):
    write(
        tmp_path / "val_features.hdf5",
        {"data": made(), "width": np.arange(5), "image_ids": np.arange(5)},
    )
    (note,) = check_alone(tmp_path, "val")
    assert "rename 'image_ids' to 'images' if it says which image each row is" in note


def test_the_command_line_converts(tmp_path, monkeypatch, capsys):
    source = write(tmp_path / "x.h5", {"a": made((5, 36, 4)), "b": made()})
    typed = ["--input", str(source), "--output", str(tmp_path / "y.h5"), "--dataset", "a"]
    monkeypatch.setattr(sys, "argv", ["convert_features.py", *typed, "--grid", "6", "6"])
    convert_features.main()
    assert open_image_features(tmp_path / "y.h5").map == TokenMap(0, (6, 6))
    monkeypatch.setattr(sys, "argv", ["convert_features.py", *typed[:3], str(tmp_path / "z.h5")])
    assert one_line_errors(convert_features.main) == 1
    assert "--dataset a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tokens", "first", "side"),
    [(197, 1, 14), (196, 0, 14), (50, 1, 7), (198, 2, 14), (261, 5, 16), (1370, 1, 37), (17, 1, 4)],
)
def test_tokens_fill_the_image_but_for_the_first(tokens, first, side):
    assert token_map(tokens) == TokenMap(first, (side, side))


def test_tokens_that_fill_no_image():
    assert token_map(20) is None
    assert token_map(13, (224, 672)) == TokenMap(1, (2, 6))


TOLD = [(197, 768), (197, 32), (256, 1024), (576, 1024), (50, 64), (36, 2048)]


@pytest.mark.parametrize("usual", TOLD)
def test_transposed_tokens_are_seen_where_numbers_tell(usual):
    assert doubt((4, *usual)) is None
    assert doubt((4, *reversed(usual))) == ("ntc", "nct")


@pytest.mark.parametrize("shape", [(197, 16), (16, 197), (12, 64), (64, 12), (9, 5), (49, 9)])
def test_numbers_that_tell_nothing_are_taken_as_usual(shape):
    assert doubt((4, *shape)) is None


@pytest.mark.parametrize("shape", [(14, 14, 1024), (7, 7, 512), (10, 15, 1024), (4, 4, 9)])
def test_channels_that_are_last_are_seen(shape):
    rows, columns, channels = shape
    assert doubt((4, *shape)) == ("nchw", "nhwc")
    assert doubt((4, channels, rows, columns)) is None
