"""What is said of a question is what the network did with it."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from batches import A, V, make_batch, make_network, make_options
from clevr_files import make_scene
from PIL import Image

from dact.checkpoint import Description
from dact.datamodules import Vocabulary
from dact.datamodules.clevr_mini.camera import FOCAL, WIDTH
from dact.errors import UserError
from dact.explain.knowledge import ImageReader, of_scene, read_scene
from dact.explain.page import frames, render, shade, strip_html
from dact.explain.reasoning import Reasoner
from dact.explain.views import View, find_scenes, view_of_scene
from dact.extraction import describe_backbone, load_backbone
from dact.options import BackboneOptions

WORDS = [f"w{number}" for number in range(1, V - 1)]
VOCABULARY = Vocabulary(
    {word: number for number, word in enumerate(WORDS, 1)},
    {f"answer {number}": number for number in range(A)},
)


def reasoner_of(name="dact", *, grid=True, **changes):
    return Reasoner(make_network(make_options(name, **changes), grid=grid).float(), VOCABULARY)


def texts_of(batch):
    """The words of each question; ids past the vocabulary are a word nobody knows."""
    return [
        " ".join(WORDS[token - 1] if token <= len(WORDS) else "zebra" for token in row[:length])
        for row, length in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True)
    ]


@pytest.mark.parametrize("name", ["mac", "mac_gate", "act", "dact"])
@pytest.mark.parametrize("grid", [True, False])
def test_a_reasoning_is_the_networks_own(name, grid):
    reasoner = reasoner_of(name, grid=grid)
    batch = make_batch(grid=grid, dtype=torch.float32)
    with torch.no_grad():
        output = reasoner.network(batch)
    found = reasoner.explain(batch, texts_of(batch))
    cells = batch.num_cells[batch.image_index].tolist()
    for row, one in enumerate(found):
        assert len(one.steps) == output.steps[row]
        assert one.answer == f"answer {int(output.log_probs[row].argmax())}"
        assert one.confidence == pytest.approx(float(output.log_probs[row].max().exp()), rel=1e-4)
        last = one.steps[-1].answers[0]
        assert last[0] == one.answer
        assert last[1] == pytest.approx(one.confidence, rel=1e-4)
        for step in one.steps:
            assert step.words.shape == (batch.lengths[row],)
            assert step.cells.shape == (cells[row],)
            assert step.words.sum() == pytest.approx(1, abs=1e-5)
            assert step.cells.sum() == pytest.approx(1, abs=1e-5)
            shares = [share for _, share in step.answers]
            assert shares == sorted(shares, reverse=True)
            assert 0 <= step.still_open <= 1


@pytest.mark.parametrize("grid", [True, False])
def test_asked_alone_is_asked_together(grid):
    reasoner = reasoner_of(grid=grid)
    batch = make_batch(grid=grid, dtype=torch.float32)
    for row, together in enumerate(reasoner.explain(batch, texts_of(batch))):
        image = int(batch.image_index[row])
        cells = int(batch.num_cells[image])
        features = batch.features[image] if grid else batch.features[image, :cells]
        alone = reasoner.ask(texts_of(batch)[row], features, cells)
        assert (alone.words, alone.answer) == (together.words, together.answer)
        assert len(alone.steps) == len(together.steps)
        for one, other in zip(alone.steps, together.steps, strict=True):
            assert np.allclose(one.words, other.words, atol=1e-5)
            assert np.allclose(one.cells, other.cells, atol=1e-5)
            assert one.still_open == pytest.approx(other.still_open, abs=1e-5)


def test_unknown_words_are_named_and_an_empty_question_is_refused():
    reasoner = reasoner_of()
    features = torch.randn(13, 2, 4)
    found = reasoner.ask("w1 zebra w2 <b>", features, 8)
    assert found.unknown == ["zebra", "<", "b", ">"]
    with pytest.raises(UserError, match="the question is empty"):
        reasoner.ask("  ", features, 8)


def test_only_adaptive_networks_halt():
    assert [reasoner_of(name).adaptive for name in ("mac", "mac_gate", "act", "dact")] == [
        False,
        False,
        True,
        True,
    ]


# Pages.


def strip_of(reasoner, view, features, cells, question="w1 w2 ?"):
    reasoning = reasoner.ask(question, features, cells)
    html = strip_html(
        "x", reasoning, view, max_steps=reasoner.max_steps, adaptive=reasoner.adaptive
    )
    return reasoning, html


def test_a_strip_has_a_figure_per_step_and_escapes_what_it_shows():
    reasoner = reasoner_of()
    view = View(Image.new("RGB", (30, 20)), (2, 4))
    question = 'w1 <script>alert(1)</script> & "w2"'
    reasoning, html = strip_of(reasoner, view, torch.randn(13, 2, 4), 8, question)
    assert html.count("<figure") == len(reasoning.steps)
    assert "<script" not in html
    assert "alert" in html
    assert html.count("data:image/png") == len(reasoning.steps)
    assert html.count("data:image/jpeg") == 1


def test_the_last_step_says_whether_it_halted():
    view = View(Image.new("RGB", (30, 20)), (2, 4))
    for bias, text in ((30.0, "halted here"), (-30.0, "all steps taken")):
        reasoner = reasoner_of()
        list(reasoner.network.gate.parameters())[-1].data.fill_(bias)
        _, html = strip_of(reasoner, view, torch.randn(13, 2, 4), 8)
        assert text in html
    _, html = strip_of(reasoner_of("mac"), view, torch.randn(13, 2, 4), 8)
    assert "still open" not in html


def test_shades_are_clear_where_the_network_looks_most():
    cells = np.array([0.5, 0, 0.25, 0, 0, 0.25], np.float32)
    uri = shade(cells, (2, 3))
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert image.size == (3, 2)
    alpha = np.asarray(image)[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[0, 1] == alpha.max() == 166
    assert alpha[1, 2] == 83


def test_frames_are_those_looked_at_in_shares_of_the_image():
    boxes = np.array([[0.1, 0.2, 0.4, 0.8], [0, 0, 1, 1]], np.float32)
    assert list(frames(np.array([0.99, 0.01], np.float32), boxes)) == [(0.1, 0.2, 0.3, 0.6, 1.0)]


def test_templates_take_nothing_that_is_not_there():
    with pytest.raises(Exception, match="undefined"):
        render("answer.html")


# Scenes and pictures.


def test_objects_are_framed_where_the_scene_says_they_are():
    scene = make_scene(1, 3)
    depth = 10.0
    for number, thing in enumerate(scene["objects"]):
        thing |= {"pixel_coords": [100 + 50 * number, 60 + 40 * number, depth], "shape": "sphere"}
    view = view_of_scene(scene)
    assert view.picture.size == (320, 240)
    centres = (view.boxes[:, :2] + view.boxes[:, 2:]) / 2 * (320, 240)
    assert np.allclose(centres, [(100, 60), (150, 100), (200, 140)], atol=1e-2)
    sizes = (view.boxes[:, 2:] - view.boxes[:, :2]) * (320, 240)
    radius = {"small": 0.35, "large": 0.7}
    expected = [2.2 * radius[thing["size"]] / depth * FOCAL for thing in scene["objects"]]
    assert np.allclose(sizes, np.array(expected)[:, None], rtol=1e-3)


def test_scenes_of_the_release_are_drawn_in_their_own_shape(mini_root):
    """There a picture is 480×320: the same lens, half as wide again."""
    content = json.loads((mini_root / "scenes" / "CLEVR_val_scenes.json").read_text())
    scene = content["scenes"][0]
    own = view_of_scene(scene)
    wide = json.loads(json.dumps(scene))
    for thing in wide["objects"]:
        x, y, depth = thing["pixel_coords"]
        thing["pixel_coords"] = [1.5 * x, 1.5 * (y - 120) + 160, depth]
    wide["objects"][0]["pixel_coords"][0] = max(wide["objects"][0]["pixel_coords"][0], 321)
    released = view_of_scene(wide)
    assert released.picture.size[0] / released.picture.size[1] == pytest.approx(1.5, abs=0.01)
    assert np.allclose(own.boxes[1:, [0, 2]], released.boxes[1:, [0, 2]], atol=1e-3)
    assert own.picture.size[0] == WIDTH


def test_missing_scenes_are_named(mini_root):
    path = mini_root / "scenes" / "CLEVR_val_scenes.json"
    assert sorted(find_scenes(path, {0, 7})) == [0, 7]
    with pytest.raises(UserError, match="has no scene 99"):
        find_scenes(path, {0, 99})


@pytest.mark.parametrize(
    ("content", "index", "message"),
    [
        ("{", None, "cannot be read as a scene"),
        ("3", None, "holds no scene"),
        ('{"scenes": []}', None, "holds no scene"),
        ('{"scenes": [{}, {}]}', None, "holds 2 scenes: say which"),
        ('{"scenes": [{}, {}]}', 2, r"has no scene 2, but 0\.\.1"),
    ],
)
def test_files_without_a_scene_are_refused(tmp_path, content, index, message):
    (tmp_path / "scene.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_scene(tmp_path / "scene.json", index)


def describe(features, **more):
    config = {"data": {"name": "clevr", "features": features}}
    return Description(config, {}, 5, features == "grid", [], **more)


def test_scenes_and_pictures_are_not_taken_for_each_other(tmp_path):
    with pytest.raises(UserError, match="does not reason about scenes"):
        of_scene(describe("grid"), make_scene(0, 2))
    with pytest.raises(UserError, match="not about pictures: give a scene"):
        ImageReader(describe("state"))
    with pytest.raises(UserError, match="name the backbone"):
        ImageReader(describe("grid"))
    scene = make_scene(0, 2)
    assert of_scene(describe("state"), scene).num_cells == 2
    del scene["objects"][0]["pixel_coords"]
    with pytest.raises(UserError, match="needs pixel_coords"):
        of_scene(describe("state"), scene)
    del scene["objects"][0]["color"]
    with pytest.raises(UserError, match="the scene, object 0"):
        of_scene(describe("state"), scene)


def test_another_backbone_than_the_features_were_made_with_is_refused(tmp_path):
    options = BackboneOptions("small", "small_backbone:Small", "features")
    known = describe_backbone(options, load_backbone(options))
    reader = ImageReader(describe("grid", backbone=known))
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    assert reader.read(tmp_path / "a.png").num_cells == 56 * 56
    for name, value, message in (
        ("fingerprint", "0" * 12, "of small with weights 000000"),
        ("layer", "head", "with layer head, but the backbone here has features"),
        ("size", [9, 9], "with size"),
    ):
        with pytest.raises(UserError, match=message):
            ImageReader(describe("grid", backbone={**known, name: value}), options)
