"""Object features of GQA as people have them: without boxes, or in TSV files of a detector."""

import base64
import json
import sys

import convert_gqa_objects
import h5py
import numpy as np
import pytest
from conftest import TINY, Program, command

from dact.datamodules import GQADataModule
from dact.datamodules.gqa_ragged import RaggedObjects, write_ragged_objects
from dact.datamodules.gqa_tsv import USUAL, fields_of, write_objects_of_tsv
from dact.errors import UserError
from dact.one_line import one_line_errors

WIDTH, HEIGHT, DIM = 640, 480, 7
#: As many boxes as adaptive detectors give, and the fixed number.
COUNTS = {"n1": 36, "2300075": 10, "n3": 100}


def encoded(values):
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def objects_of(name):
    """Boxes in pixels and features of an image."""
    rng = np.random.default_rng(COUNTS[name])
    corners = rng.random((COUNTS[name], 2, 2)) * [WIDTH, HEIGHT]
    boxes = np.sort(corners, axis=1).reshape(-1, 4)
    return boxes.astype(np.float32), rng.normal(size=(COUNTS[name], DIM)).astype(np.float32)


def fields(name, names=USUAL[6], **changes):
    """Fields of a line, in order."""
    boxes, features = objects_of(name)
    known = dict.fromkeys(names, encoded(np.zeros(3))) | {
        "image_id": name,
        "image_w": WIDTH,
        "image_h": HEIGHT,
        "num_boxes": len(boxes),
        "boxes": encoded(boxes),
        "features": encoded(features),
    }
    return [str((known | changes)[field]) for field in names]


def write_tsv(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def check(path, names=tuple(COUNTS)):
    """The file holds the objects of all images."""
    store = RaggedObjects(path, names)
    assert (len(store), store.feature_dim, store.has_boxes) == (len(names), DIM, True)
    rows = np.arange(len(names))
    features, counts = store.read(rows)
    shares = store.boxes(rows)
    assert counts.tolist() == [COUNTS[name] for name in names]
    for row, name in enumerate(names):
        boxes, values = objects_of(name)
        count = COUNTS[name]
        np.testing.assert_array_equal(features[row, :count], values.astype(np.float16))
        pixels = shares[row, :count] * [WIDTH, HEIGHT, WIDTH, HEIGHT]
        np.testing.assert_allclose(pixels, boxes, rtol=1e-5)


@pytest.mark.parametrize("names", USUAL.values(), ids=["detector", "lxmert"])
@pytest.mark.parametrize("header", [False, True])
def test_the_usual_files_are_read(tmp_path, names, header):
    lines = [fields(name, names) for name in COUNTS]
    source = write_tsv(tmp_path / "x.tsv", [list(names)] * header + lines)
    write_objects_of_tsv([source], tmp_path / "objects.h5")
    check(tmp_path / "objects.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.h5", "x.tsv"]


def test_several_files_and_named_fields(tmp_path):
    names = fields_of("features,boxes,num_boxes,img_h,img_w,img_id")
    lines = [fields(name, names) for name in COUNTS]
    sources = [write_tsv(tmp_path / f"{i}.tsv", [line]) for i, line in enumerate(lines)]
    write_objects_of_tsv(sources, tmp_path / "objects.h5", columns=names)
    check(tmp_path / "objects.h5", list(COUNTS)[::-1])
    with pytest.raises(UserError, match="--columns lacks image_w, boxes"):
        fields_of("image_id,image_h,num_boxes,features")


@pytest.mark.faults(
    "damaged lines in TSV files of object features",
    tried="cut off, no base64, other lengths, numbers or types, images twice, sides exchanged",
    happened="one line names file, line and image; nothing left behind",
)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": encoded(np.zeros(5, "f4"))}, "image 2300075: features has 20 bytes"),
        ({"features": "AAA"}, "image 2300075: features is no base64"),
        ({"features": encoded(np.full((10, DIM), np.nan, "f4"))}, "features holds NaN"),
        ({"features": encoded(np.full((10, DIM), 1e5, "f4"))}, "100000, too much for float16"),
        ({"features": encoded(np.zeros((10, DIM + 1), "f4"))}, "have 8 features, those .* have 7"),
        ({"boxes": encoded(np.zeros((10, 4)))}, "each of its 10 boxes has 8 numbers, not 4"),
        ({"boxes": encoded(np.full((10, 4), 0.5, "f4"))}, "reaches further than 0.5; a box should"),
        ({"boxes": encoded(np.tile(np.array([300, 90, 20, 30], "f4"), (10, 1)))}, "ends before it"),
        ({"boxes": encoded(np.full((10, 4), -9, "f4"))}, "its boxes begin at -9"),
        ({"num_boxes": 0}, "num_boxes is '0', not a whole number"),
        ({"num_boxes": 11}, "not float32 for 11 boxes"),
        ({"image_w": "wide"}, "image_w is 'wide'"),
        ({"image_w": HEIGHT, "image_h": WIDTH}, "width and height seem to be exchanged"),
        ({"image_id": "n1"}, r"line 2: image n1 comes twice, as .*x\.tsv: line 1"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, changes, said):
    lines = [fields("n1"), fields("2300075", **changes), fields("n3")]
    source = write_tsv(tmp_path / "x.tsv", lines)
    with pytest.raises(UserError, match=r"x\.tsv: line 2") as caught:
        write_objects_of_tsv([source], tmp_path / "objects.h5")
    assert "\n" not in str(caught.value)
    assert caught.match(said)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tsv"]
    heard = []
    how = {"skip_damaged": True, "say": heard.append}
    write_objects_of_tsv([source], tmp_path / "objects.h5", **how)
    check(tmp_path / "objects.h5", ("n1", "n3"))
    assert [line for line in heard if line.startswith("left out: ")]


def test_a_file_that_is_cut_off_is_named(tmp_path):
    source = write_tsv(tmp_path / "x.tsv", [fields(name) for name in COUNTS])
    text = source.read_bytes()
    for end in (len(text) - 9, len(text) - 3000, text.rindex(b"\t")):
        source.write_bytes(text[:end])
        with pytest.raises(UserError, match=r"x\.tsv: line 3"):
            write_objects_of_tsv([source], tmp_path / "objects.h5")
    source.write_bytes(b"")
    with pytest.raises(UserError, match="no line with the objects of an image"):
        write_objects_of_tsv([source], tmp_path / "objects.h5")


def convert(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["convert_gqa_objects.py", *map(str, arguments)])
    return one_line_errors(convert_gqa_objects.main)


def test_a_folder_of_tsv_is_converted_to_where_training_looks(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "features" / "objects"
    (tmp_path / "questions").mkdir()
    write_tsv(folder / "obj36.tsv", [fields(name) for name in COUNTS])
    data = GQADataModule(tmp_path)
    with pytest.raises(UserError, match=r"obj36\.tsv is there: convert it with python scripts/con"):
        data.check_features("val_all")
    assert not convert(monkeypatch, "--features", folder)
    assert "3 images, whose objects have 7 features each" in capsys.readouterr().out
    check(tmp_path / "features" / "objects.h5")
    data.check_features("val_all")
    info = folder / "gqa_objects_info.json"
    info.write_text("{}")
    with pytest.raises(UserError, match=r"was made from obj36\.tsv, but there is .*info\.json"):
        RaggedObjects(tmp_path / "features" / "objects.h5", ["n1"]).check_source(info)
    assert convert(monkeypatch, "--features", tmp_path / "none.tsv") == 1
    assert "none.tsv: no such file" in capsys.readouterr().err
    (folder / "gqa_objects_0.h5").touch()
    assert convert(monkeypatch, "--features", folder / "gqa_objects_0.h5") == 1
    assert "gqa_objects_0.h5 is no TSV file: give the folder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def boxless(gqa_root, tmp_path_factory):
    """A copy of the root whose objects have no boxes and whose images have no sizes."""
    root = tmp_path_factory.mktemp("boxless") / "root"
    for name in ("questions", "sceneGraphs"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(gqa_root / name)
    folder = root / "features" / "objects"
    folder.mkdir(parents=True)
    for path in (gqa_root / "features" / "objects").glob("*.h5"):
        with h5py.File(path) as whole, h5py.File(folder / path.name, "w") as file:
            file["features"] = whole["features"][:]
    info = json.loads((gqa_root / "features/objects/gqa_objects_info.json").read_text())
    sizes = ("width", "height")
    less = {name: {k: v for k, v in e.items() if k not in sizes} for name, e in info.items()}
    (folder / "gqa_objects_info.json").write_text(json.dumps(less))
    return root


def batches(root, cache):
    data = GQADataModule(root, cache_dir=cache, val_split="val_balanced", progress=False)
    data.prepare_data("validate")
    data.setup("validate")
    return data, list(data.val_dataloader())


def test_objects_without_boxes_give_the_same_batches(gqa_root, boxless, tmp_path, caplog):
    with caplog.at_level("INFO"):
        data, less = batches(boxless, tmp_path / "less")
    assert caplog.text.count("the objects have no boxes") == 1
    _, whole = batches(gqa_root, tmp_path / "whole")
    for one, other in zip(less, whole, strict=True):
        np.testing.assert_array_equal(one.features, other.features)
    with pytest.raises(UserError, match="attentions cannot be written: the objects have no boxes"):
        data.attention_layout("val_balanced")
    heard = []
    write_ragged_objects(boxless / "features" / "objects", tmp_path / "o.h5", say=heard.append)
    assert "the objects have no boxes" in heard[0]
    name = data.dataset("val_balanced").questions.images[0]
    store = RaggedObjects(tmp_path / "o.h5", [name])
    assert not store.has_boxes
    shards = data.dataset("val_balanced").features.read(np.array([0]))[0]
    np.testing.assert_array_equal(store.read(np.array([0]))[0], shards.astype(np.float16))


@pytest.mark.slow
@pytest.mark.usefixtures("configured")
def test_everything_but_grounding_and_pictures_works_without_boxes(boxless, tmp_path):
    data = ["data=gqa", f"data.root={boxless}", f"data.cache_dir={tmp_path / 'cache'}"]
    fitted = Program(tmp_path, *data, *TINY, "warm_start=none")("model=mac")
    typed = [*data, "trainer=cpu", "trainer.enable_progress_bar=false", "mode=validate"]
    words = [*typed, f"ckpt_path={fitted.last}", "data.split=val_balanced"]
    done = Program(tmp_path)(*words)
    (path,) = done.folder.rglob("official.json")
    official = json.loads(path.read_text())
    assert "grounding" not in official
    assert 0 <= official["validity"] <= 100
    refused = command(*words, f"attentions={tmp_path / 'a.json'}", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].startswith("error: attentions cannot be written")
    from dact.runs.explain import report_of_checkpoint

    page = report_of_checkpoint(fitted.last, tmp_path / "report", examples=1, accelerator="cpu")
    text = page.read_text()
    assert "The features do not say where in the picture their objects are" in text
    assert "<rect x=" not in text.partition("Question by question")[2]
