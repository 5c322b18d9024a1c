"""Each question gets the features of its own image: by name, else by number, or it is refused."""

import json
import pickle

import h5py
import numpy as np
import pytest
from clevr_files import make_questions, positions, ready, write_grid, write_questions
from convert_features import convert

from dact.datamodules import image_rows
from dact.errors import UserError
from dact.explain.knowledge import of_dataset

#: Images of val by name, and the number that a question gives each.
NAMES = ["img1.png", "img2.png", "img10.png", "img11.png"]


def picture(name):
    """Features that only this image has."""
    return np.full((3, 2, 2), 1 + NAMES.index(name), np.float32)


def write_features(root, split, names, *, named=True, skipped=None, column=None):
    path = write_grid(root, split, np.stack([picture(name) for name in names]))
    with h5py.File(path, "r+") as file:
        if named:
            file["images"] = names if column is None else column
        if skipped is not None:
            file["skipped"] = np.array(skipped, np.uint8)
    return path


def questions_about(split, images, each=2, start=0):
    """`each` questions about each of `images` (number, name)."""
    entries = make_questions(split, len(images), each)
    for entry in entries:
        place = entry["image_index"]
        number, name = images[place]
        entry |= {"image_index": number, "image_filename": name}
    return entries


NUMBERED = list(enumerate(NAMES))


@pytest.fixture
def root(tmp_path):
    """Questions about all images, features in the order of the questions' numbers."""
    for split in ("train", "val"):
        write_questions(tmp_path, split, questions_about(split, NUMBERED))
        write_features(tmp_path, split, NAMES)
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(image_rows, "rank_zero_info", lines.append)
    return lines


def check_pictures(module, split, left_out=()):
    """Every question that is served has the features of its image; all others are `left_out`."""
    dataset = module.dataset(split)
    served = []
    for place in range(len(dataset)):
        batch = dataset[place]
        (record,) = module.records(split, batch.positions)
        assert record.image in NAMES
        assert (batch.features[0].numpy() == picture(record.image)).all()
        served.append(record.image)
    wanted = [record.image for record in module.records(split, range(len(dataset.questions)))]
    assert served == [name for name in wanted if name not in left_out]


def refusal(root, **options):
    with pytest.raises(UserError) as raised:
        ready(root, **{"features": "grid", **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


# The right row.


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [0, 2, 3, 1], [3, 2, 1, 0]])
def test_names_decide_in_whatever_order_the_rows_are(root, order):
    write_features(root, "val", [NAMES[place] for place in order])
    module = ready(root, features="grid")
    check_pictures(module, "val")
    again = pickle.loads(pickle.dumps(module.dataset("val").questions))
    assert (again.image_rows == module.dataset("val").questions.image_rows).all()
    for name in NAMES:
        assert (of_dataset(module, "val", name).features.numpy() == picture(name)).all()


def test_a_new_order_is_seen_though_the_questions_are_cached(root):
    ready(root, features="grid")
    for split in ("train", "val"):
        write_features(root, split, NAMES[::-1])
    check_pictures(ready(root, features="grid"), "val")


def test_the_fingerprint_of_data_knows_the_rows(root):
    fingerprints = []
    for order in ([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 3, 2]):  # the first row is always the same
        write_features(root, "train", [NAMES[place] for place in order])
        fingerprints.append(ready(root, features="grid").fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_files_without_names_are_read_by_number(root):
    padded = [*NAMES, NAMES[0], NAMES[0]]  # to a multiple, as the released code does
    for split in ("train", "val"):
        write_features(root, split, padded, named=False)
    check_pictures(ready(root, features="grid"), "val")


def test_padded_rows_have_no_name(root):
    write_features(root, "val", [*NAMES[::-1], NAMES[0]], column=[*NAMES[::-1], ""])
    check_pictures(ready(root, features="grid"), "val")


def test_numbers_may_be_given_instead_of_names(root):
    images = [(number + 5000, name) for number, name in NUMBERED]
    write_questions(root, "val", questions_about("val", images))
    write_features(root, "val", NAMES[::-1], named=False)
    with h5py.File(root / "features" / "val_features.hdf5", "r+") as file:
        file["images"] = [5003, 5002, 5001, 5000]
    check_pictures(ready(root, features="grid"), "val")


@pytest.mark.parametrize("numbers", [[5000, 5001, 5007, 6000], [0, 0, 0, 0]])
def test_with_names_the_numbers_may_be_anything(root, numbers):
    images = list(zip(numbers, NAMES, strict=True))
    for split in ("train", "val"):
        write_questions(root, split, questions_about(split, images))
    check_pictures(ready(root, features="grid"), "val")


@pytest.mark.parametrize(
    "written",
    ["small/{}.jpg", "C:\\\\data\\\\{}.PNG", "{}"],
    ids=["in a folder", "on Windows", "without extension"],
)
def test_images_may_have_been_converted_or_moved(root, written):
    column = [written.format(name.removesuffix(".png")) for name in NAMES[::-1]]
    write_features(root, "val", NAMES[::-1], column=column)
    check_pictures(ready(root, features="grid"), "val")


@pytest.mark.parametrize(
    "column",
    [
        np.array([name.encode() for name in NAMES[::-1]])[:, None],
        np.array([3.0, 2.0, 1.0, 0.0]),
    ],
    ids=["one column", "MATLAB's numbers"],
)
def test_other_shapes_and_types_of_names(root, column):
    write_features(root, "val", NAMES[::-1], column=column)
    check_pictures(ready(root, features="grid"), "val")


@pytest.mark.parametrize("more", [{}, {"paths": [f"/pictures/{name}" for name in NAMES[::-1]]}])
def test_file_names_may_have_any_name(root, more):
    path = write_features(root, "val", NAMES[::-1], named=False)
    columns = {"filenames": NAMES[::-1], "labels": ["red", "green", "blue", "1.5"], **more}
    with h5py.File(path, "r+") as file:
        for name, values in columns.items():
            file[name] = values
    check_pictures(ready(root, features="grid"), "val")


@pytest.mark.parametrize("number", [0.5, np.nan])
def test_fractions_name_no_image(root, number):
    write_features(root, "val", NAMES, column=np.array([0, 1, number, 3]))
    assert "neither a name nor a whole number" in refusal(root)


def test_names_lie_in_the_group_of_the_features(root):
    path = write_features(root, "val", NAMES[::-1])
    with h5py.File(path, "r+") as file:
        group = file.create_group("val")
        for name in ("data", "images"):
            file.move(name, f"val/{name}")
        assert set(file) == {group.name.strip("/")}
    check_pictures(ready(root, features="grid"), "val")


def test_of_two_extensions_the_exact_one_counts(root):
    column = ["img1.png", "img1.jpg", "img10.png", "img11.png"]
    write_features(root, "val", NAMES, column=column)
    write_questions(root, "val", questions_about("val", [NUMBERED[0], *NUMBERED[2:]]))
    check_pictures(ready(root, features="grid"), "val")
    write_questions(root, "val", questions_about("val", [(0, "img1.gif")]))
    assert "img1.gif" in refusal(root)


@pytest.mark.parametrize(
    ("asked", "there"), [("val/img1.png", "train/img1.png"), ("img.1", "img.2")]
)
def test_images_of_another_folder_or_number_are_others(root, asked, there):
    write_features(root, "val", NAMES, column=[there, *NAMES[1:]])
    images = [(0, asked), *NUMBERED[1:]]
    write_questions(root, "val", questions_about("val", images))
    assert f"asks about {asked}, which is not in" in refusal(root)


# Images without features.


@pytest.mark.parametrize("how", ["missing", "skipped"])
@pytest.mark.faults(
    "images without features",
    tried="images that extraction skipped, that are missing, or that start at any number",
    happened="one line, or the questions about them are left out and counted",
)
def test_images_without_features_are_refused_or_left_out(root, said, how):
    if how == "missing":
        write_features(root, "val", [NAMES[0], *NAMES[2:]])
        reason = "which is not in .*val_features.hdf5, nor under another extension"
    else:
        write_features(root, "val", NAMES, skipped=[0, 1, 0, 0])
        reason = "which could not be read when .*val_features.hdf5 was made"
    message = f"question 2 asks about img2.png, {reason}.*missing_images=skip.* 2 of 8"
    with pytest.raises(UserError, match=message):
        ready(root, features="grid")
    module = ready(root, features="grid", missing_images="skip")
    check_pictures(module, "train")
    check_pictures(module, "val", left_out=["img2.png"])
    assert positions(module.val_dataloader()) == [0, 1, 4, 5, 6, 7]
    path = root / "features" / "val_features.hdf5"
    assert said == [
        f"2 of 8 questions of val are left out: {path} has no features of 1 of 4 images, such as "
        "img2.png"
    ]
    with pytest.raises(UserError, match=r"val_features\.hdf5 has no features of img2\.png"):
        of_dataset(module, "val", "img2.png")


def test_a_fraction_is_of_the_images_that_are_there(root):
    write_features(root, "train", NAMES[1:])
    module = ready(root, features="grid", missing_images="skip", fraction=2 / 3)
    images = {record.image for record in module.records("train", module.dataset("train").positions)}
    assert len(images) == 2
    assert images < set(NAMES[1:])


@pytest.mark.parametrize("first", [1, 3, 5000])
@pytest.mark.parametrize("missing_images", ["refuse", "skip"])
def test_rows_without_names_are_not_taken_for_shifted_numbers(root, first, missing_images):
    images = [(first + number, name) for number, name in NUMBERED]
    write_questions(root, "val", questions_about("val", images))
    write_features(root, "val", NAMES, named=False)
    message = refusal(root, missing_images=missing_images)
    assert "has only 4 rows, of images that it does not name" in message
    assert f"image_index is {first}..{first + 3} here" in message


def test_a_file_without_rows(root):
    with h5py.File(write_features(root, "val", NAMES, named=False), "r+") as file:
        del file["data"]
        file["data"], file["images"] = np.zeros((0, 3, 2, 2), np.float32), np.zeros(0, int)
    assert "which has only 0 rows; no question has features" in refusal(root)


def test_a_split_with_no_features_at_all_is_refused(root):
    write_features(root, "val", NAMES, skipped=[1, 1, 1, 1])
    for missing_images in ("refuse", "skip"):
        message = refusal(root, missing_images=missing_images)
        assert message.endswith("no question has features")


def test_other_choices_are_refused(root):
    assert refusal(root, missing_images="ignore").endswith("is neither refuse nor skip")


# Contradictions.


@pytest.mark.faults(
    "questions, scenes and features of other images",
    tried="other names, contradicting names and numbers, one name or number twice",
    happened="one line that names an example",
)
@pytest.mark.parametrize("missing_images", ["refuse", "skip"])
def test_features_of_altogether_other_images(root, missing_images):
    write_features(root, "val", NAMES, column=["a.png", "b.png", "c.png", "d.png"])
    message = refusal(root, missing_images=missing_images)
    assert "none of the images" in message
    assert "img1.png" in message
    assert "it names a.png, b.png, c.png, …" in message


def test_a_name_that_two_rows_have(root):
    write_features(root, "val", NAMES, column=["img1.png", "img2.png", "img10.png", "img2.png"])
    assert "img2.png twice" in refusal(root)


def test_a_number_that_two_rows_have(root):
    write_features(root, "val", NAMES, column=[0, 1, 1, 2])
    assert "two rows the image_index 1" in refusal(root)


def test_as_many_names_as_rows(root):
    write_features(root, "val", NAMES, column=NAMES[:3])
    assert "'images' has 3 entries, but 'data' has 4 rows" in refusal(root)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            [(0, "img1.png"), (1, "img2.png"), (2, "img1.png")],
            "question 4 says that img1.png has image_index 2, but question 0 says 0",
        ),
        (
            [(0, "img1.png"), (1, "img2.png"), (1, "img10.png")],
            "question 4 says that image_index 1 is img10.png, but question 2 says img2.png",
        ),
    ],
)
def test_where_numbers_decide_they_do_not_contradict_names(root, images, message):
    for split in ("train", "val"):
        write_features(root, split, NAMES, named=False)
    write_questions(root, "val", questions_about("val", images))
    assert refusal(root) == message


@pytest.mark.parametrize("name", ["", "image.png"])
def test_placeholders_are_no_names(root, name):
    for split in ("train", "val"):
        write_features(root, split, NAMES, named=False)
    write_questions(root, "val", questions_about("val", [(n, name) for n in range(4)]))
    module = ready(root, features="grid")
    assert module.dataset("val").questions.image_rows.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


# Other ways to a feature file.


def test_a_converted_file_keeps_names_flags_and_backbone(root, tmp_path):
    path = write_features(root, "val", NAMES[::-1], skipped=[0, 0, 1, 0])
    with h5py.File(path, "r+") as file:
        file["data"].attrs["backbone"] = json.dumps({"name": "x", "fingerprint": "1"})
    convert(path, tmp_path / "small.hdf5", np.dtype("float16"), progress=False)
    path.unlink()
    (tmp_path / "small.hdf5").rename(path)
    module = ready(root, features="grid", missing_images="skip")
    check_pictures(module, "val", left_out=["img2.png"])
    assert module.dataset("val").features.backbone == {"name": "x", "fingerprint": "1"}
