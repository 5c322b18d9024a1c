"""Tokens of a vision transformer from pictures to reports: every token is a knowledge cell."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from clevr_files import make_questions, ready, write_questions
from conftest import TINY, Program
from PIL import Image

from dact.datamodules.features import TokenFeatures
from dact.errors import UserError
from dact.explain import figures
from dact.explain.knowledge import ImageReader, of_dataset
from dact.explain.page import strip_html
from dact.explain.reasoning import Reasoner
from dact.explain.report import write_report
from dact.extraction import extract, find_images, load_backbone
from dact.extraction.backbones import Backbone
from dact.options import BackboneOptions
from dact.runs.restore import answer_split, open_data, restore

OPTIONS = BackboneOptions(
    name="small_vit",
    model="small_backbone:small_vit",
    layer="encoder.ln",
    weights=None,
    size=[32, 32],
)
#: A class token and 4×4 patches.
TOKENS, CHANNELS = 17, 24


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pictures, questions about them, and the tokens of a small transformer."""
    root = tmp_path_factory.mktemp("tokens")
    backbone = load_backbone(OPTIONS)
    for split, count in (("train", 6), ("val", 3)):
        folder = root / "images" / split
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"CLEVR_{split}_{number:06d}.png")
        write_questions(root, split, make_questions(split, count, 5))
        path = root / "features" / f"{split}_features.hdf5"
        extract(find_images(folder), path, backbone, OPTIONS, dtype="float32", progress=False)
    return root


@pytest.fixture(scope="module")
def fitted(root):
    import hydra
    from conftest import CONF
    from hydra.core.global_hydra import GlobalHydra

    from dact import config

    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        program = Program(root, "data=clevr", f"data.root={root}", *TINY, "warm_start=none")
        done = program("model=dact", "data.features=grid")
    GlobalHydra.instance().clear()
    return done


def test_the_file_holds_what_the_layer_gives(root):
    store = TokenFeatures(root / "features" / "val_features.hdf5")
    assert (store.kind, store.num_cells, store.feature_dim) == ("tokens", TOKENS, CHANNELS)
    assert store.map == (1, (4, 4))
    assert store.backbone["name"] == "small_vit"
    with h5py.File(store.path) as file:
        assert file["data"].attrs["axes"] == "ntc"
        assert file["images"][2] == b"CLEVR_val_000002.png"
    features, cells = store.read(np.arange(3))
    assert features.shape == (3, TOKENS, CHANNELS)
    assert cells.tolist() == [TOKENS] * 3


def test_extraction_is_complete_when_run_again(root):
    path = root / "features" / "val_features.hdf5"
    before = path.read_bytes()
    images = find_images(root / "images" / "val")
    extract(images, path, load_backbone(OPTIONS), OPTIONS, dtype="float32", progress=False)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("configured")
def test_a_checkpoint_is_of_so_many_tokens(root, fitted, tmp_path):
    description = restore(fitted.last).description
    assert (description.grid, description.num_tokens) == (False, TOKENS)
    assert description.feature_dim == CHANNELS
    other = tmp_path / "other"
    write_questions(other, "val", make_questions("val", 3, 5))
    (other / "features").mkdir()
    with h5py.File(other / "features" / "val_features.h5", "w") as file:
        file["data"] = np.zeros((3, TOKENS - 1, CHANNELS), np.float32)
    typed = ["mode=validate", f"ckpt_path={fitted.last}", "data=clevr", f"data.root={other}"]
    with pytest.raises(UserError, match=r"'num_tokens': 17\}, not .*'num_tokens': 16\}"):
        Program(tmp_path)(*typed)


def test_splits_of_unlike_tokens_do_not_meet(root, tmp_path):
    for split, tokens in (("train", TOKENS), ("val", TOKENS - 1)):
        write_questions(tmp_path, split, make_questions(split, 3, 5))
        (tmp_path / "features").mkdir(exist_ok=True)
        with h5py.File(tmp_path / "features" / f"{split}.h5", "w") as file:
            file["feats"] = np.zeros((3, tokens, CHANNELS), np.float32)
    with pytest.raises(UserError, match=r"train: 17 tokens of 24 features .* val: 16 tokens of 24"):
        ready(tmp_path, features="grid")


def test_a_picture_is_answered_as_its_tokens_in_the_file_are(root, fitted, tmp_path):
    restored = restore(fitted.last)
    name = "CLEVR_val_000001.png"
    data = open_data(restored)
    by_name = of_dataset(data, "val", name)
    by_file = ImageReader(restored.description).read(root / "images" / "val" / name)
    torch.testing.assert_close(by_name.features, by_file.features)
    assert by_name.num_cells == by_file.num_cells == TOKENS
    assert (by_file.view.grid, by_file.view.first) == ((4, 4), 1)
    assert (by_name.view.grid, by_name.view.first) == ((4, 4), 1)
    reasoner = Reasoner(restored.network, restored.vocabulary)
    reasoning = reasoner.ask("How many things are there?", by_file.features, by_file.num_cells)
    step = reasoning.steps[0]
    assert by_file.view.elsewhere(step.cells) == pytest.approx(float(step.cells[0]))
    np.testing.assert_array_equal(by_file.view.on_picture(step.cells).ravel(), step.cells[1:])
    figures.save_as(figures.strip(reasoning, by_file.view), tmp_path / "strip.png")
    assert (tmp_path / "strip.png").stat().st_size > 0
    page = strip_html("a", reasoning, by_file.view, max_steps=3, adaptive=True)
    assert "no place in the picture" in page


@pytest.mark.slow
def test_a_report_draws_attention_over_tokens(fitted, tmp_path):
    restored = restore(fitted.last)
    data = open_data(restored)
    found = answer_split(restored, data, accelerator="cpu")
    reasoner = Reasoner(restored.network, restored.vocabulary)
    named = {"title": "t", "subtitle": "s", "examples": 2}
    page = write_report(tmp_path, found, reasoner, data, "val", **named).read_text()
    assert "Dark: where nobody looks" in page
    assert page.count("data:image/png") >= 2


class Gives(torch.nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shape = shape

    def forward(self, images):
        return torch.zeros(len(images), *self.shape)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((7, 7, 768), r"\(1, 7, 7, 768\), which looks like \(images, H, W, C\)"),
        ((768, 197), r"\(1, 768, 197\), which looks like \(images, C, tokens\)"),
        ((768,), r"\(1, 768\), not \(images, channels, height, width\) or \(images, tokens"),
    ],
)
def test_layers_that_give_something_else_are_named(shape, said):
    backbone = Backbone(Gives(*shape), None, [0.0] * 3, [1.0] * 3)
    with pytest.raises(UserError, match=said):
        backbone(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_a_network_that_refuses_the_size_is_one_line(root):
    options = replace(OPTIONS, size=[64, 64])
    with pytest.raises(UserError, match=r"backbone.size=\[64, 64\]: .*Expected 32"):
        extract([], root / "x.hdf5", load_backbone(options), options)


@pytest.mark.slow
def test_the_transformer_of_torchvision_gives_196_patches_and_a_class_token(tmp_path):
    from conftest import CONF

    from dact import config

    options = config.read_backbone(CONF, "vit_b_16")
    options.weights = None  # random ones: nothing is downloaded
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    path = tmp_path / "x.hdf5"
    extract([tmp_path / "a.png"], path, load_backbone(options), options, progress=False)
    store = TokenFeatures(path)
    assert (store.num_cells, store.feature_dim, store.map) == (197, 768, (1, (14, 14)))
    assert json.loads(store.attributes["backbone"])["layer"] == "encoder.ln"
