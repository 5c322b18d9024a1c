"""`model.background`: one constant cell more, whatever the image, the batch and the halting."""

from dataclasses import asdict

import hydra
import numpy as np
import pytest
import torch
from batches import IMAGES, A, B, C, D, K, examples, make_batch, make_network, make_options
from conftest import CONF, TINY, Program
from hydra.core.global_hydra import GlobalHydra
from oracle import answer_one
from PIL import Image
from test_against_paper import CASES, CLOSE, assert_same, rows_of, with_more_padding

from dact import checkpoint, checkpoint_file, config, warm_start
from dact.datamodules.vocabulary import Vocabulary
from dact.errors import UserError
from dact.explain import figures
from dact.explain.knowledge import of_dataset
from dact.explain.page import strip_html
from dact.explain.reasoning import Reasoner, Reasoning, ReasoningStep
from dact.explain.views import View
from dact.gqa_metrics import read_attentions
from dact.models.encoders import ObjectStem
from dact.options import NetworkOptions, PonderOptions
from dact.runs.restore import open_data, restore

pytestmark = pytest.mark.usefixtures("configured")

POLICIES = ["mac", "mac_gate", "act", "dact", "pondernet", "dact_self_attention", "dact_budget"]


def build(case="mac", **changes):
    name, own, ponder = CASES[case]
    options = make_options(name, background=True, **own, **changes)
    return make_network(options, grid=False, ponder=PonderOptions(**ponder)), options


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", POLICIES)
@torch.no_grad()
def test_it_is_an_object_of_zeros_that_was_appended_by_hand(case, training):
    """Equal to the slow oracle, which knows of no background: count + 1 objects, the last zero."""
    network, options = build(case)
    ponder = PonderOptions(**CASES[case][2])
    batch = make_batch(grid=False)
    output = network.train(training)(batch, trace=True)
    for row, (tokens, features) in enumerate(examples(batch)):
        by_hand = torch.cat([features, features.new_zeros(1, C)])
        wanted = answer_one(
            network.state_dict(), options, ponder, tokens, by_hand, training=training
        )
        assert output.steps[row] == wanted.steps
        torch.testing.assert_close(output.log_probs[row], wanted.log_probs, **CLOSE)
        torch.testing.assert_close(output.ponder_cost[row], wanted.ponder_cost, **CLOSE)
        for n, step in enumerate(wanted.trace):
            seen = output.trace.knowledge_attention[row, n]
            torch.testing.assert_close(
                seen[: len(features)], step.knowledge_attention[:-1], **CLOSE
            )
            torch.testing.assert_close(seen[-1], step.knowledge_attention[-1], **CLOSE)
            assert seen[len(features) : -1].eq(0).all()


@torch.no_grad()
def test_the_last_cell_is_the_same_in_every_image_and_never_masked():
    stem = ObjectStem(C, D, background=True).double().eval()
    batch = make_batch(grid=False)
    cells, mask = stem(batch.features, batch.num_cells)
    assert cells.shape == (IMAGES, K + 1, D)
    assert mask.tolist() == [[True] * (K + 1), [True] * 3 + [False] * (K - 3) + [True]]
    elu = torch.nn.functional.elu
    constant = elu(stem.linear2.weight @ elu(stem.linear1.bias) + stem.linear2.bias)
    torch.testing.assert_close(cells[:, -1], constant.expand(IMAGES, D), **CLOSE)
    without, _ = ObjectStem(C, D).double().eval().requires_grad_(False)(batch[2], batch[3])
    assert without.shape == (IMAGES, K, D)


@torch.no_grad()
def test_full_attention_on_it_reads_the_constant_whatever_the_image():
    """Then all images give one answer to a question, which depends on the question alone."""
    network, _ = build("mac")
    batch = make_batch(grid=False)._replace(
        tokens=torch.full((B, 7), 2), lengths=torch.tensor([7] * B)
    )
    assert not torch.allclose(*network.eval()(batch).log_probs[:2])
    for row in range(B):
        shared = batch._replace(num_cells=torch.zeros(IMAGES, dtype=torch.int64))
        output = network(shared, trace=True)
        assert output.trace.knowledge_attention[row, :, -1].eq(1).all()
    torch.testing.assert_close(output.log_probs, output.log_probs[:1].expand(B, A), **CLOSE)


@pytest.mark.parametrize("garbage", [1e6, float("nan")])
@pytest.mark.parametrize("case", POLICIES)
@torch.no_grad()
def test_padding_and_batch_mates_change_nothing(case, garbage):
    network, _ = build(case)
    batch = make_batch(grid=False)
    together = network.eval()(batch)
    assert_same(network(with_more_padding(batch, garbage)), together)
    for order in ([2, 0, 1], [1], [2, 2, 0]):
        rows = torch.tensor(order)
        own = batch._replace(
            **{
                name: value[rows]
                for name, value in batch._asdict().items()
                if name not in ("features", "num_cells")
            }
        )
        assert_same(network(own), rows_of(together, order))


@pytest.mark.parametrize("case", ["act", "dact", "pondernet"])
@torch.no_grad()
def test_every_early_exit_gives_the_same_answers(case):
    batch, outputs = make_batch(grid=False), []
    for early_exit in ("example", "batch", "never"):
        network, _ = build(case, halting_exit=early_exit)
        outputs.append(network.eval()(batch))
    assert_same(outputs[1], outputs[0])
    assert_same(outputs[2], outputs[0])


def test_it_has_no_parameters_and_its_gradient_goes_to_the_stem():
    network, _ = build("dact")
    plain = make_network(make_options("dact"), grid=False)
    assert {n: p.shape for n, p in network.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }
    nothing = make_batch(grid=False)._replace(num_cells=torch.zeros(IMAGES, dtype=torch.int64))
    network(nothing).log_probs[:, 0].sum().backward()
    assert network.stem.linear1.bias.grad.ne(0).any()
    assert network.stem.linear1.weight.grad.eq(0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes.*:UserWarning")
def test_an_exported_network_has_it():
    class Answers(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, *batch):
            return self.network(type(example)(*batch)).log_probs

    network, _ = build("dact", halting_exit="never")
    example = make_batch(grid=False)
    exported = torch.export.export(Answers(network.eval()), tuple(example)).module()
    other = make_batch(grid=False, seed=5)
    torch.testing.assert_close(exported(*other), network(other).log_probs, **CLOSE)


# What is refused.


def test_a_feature_map_shows_its_own_background():
    with pytest.raises(UserError, match=r"feature map shows the background .* leave .* out"):
        make_network(make_options(background=True), grid=True)


def test_scene_states_have_their_own(program):
    for typed in ("data.background=true", "data.background=false"):
        with pytest.raises(
            UserError, match=r"not for data\.features=state.* data\.background=true"
        ):
            program("model=mac", "model.background=true", typed)


def saved_with(network, options, path, *, old=False):
    """A MAC's checkpoint; an old one does not say whether it has a background."""
    model = asdict(options)
    if old:
        del model["background"]
    vocabulary = Vocabulary({"a": 1, "b": 2}, {"x": 0, "y": 1})
    known = {"model": model, "ponder": asdict(PonderOptions()), "data": {}}
    description = checkpoint.Description(known, vocabulary.to_dict(), C, False, [])
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    entry = checkpoint.entry(description, {})
    checkpoint_file.write(path, {"state_dict": state, checkpoint.ENTRY: entry})
    return vocabulary


@pytest.mark.parametrize(
    ("before", "now"), [({}, True), ({"old": True}, True), ({"background": True}, False)]
)
def test_a_start_with_other_cells_is_refused(tmp_path, before, now):
    old = before.pop("old", False)
    options = make_options("mac", **before)
    network = make_network(options, grid=False)
    vocabulary = saved_with(network, options, tmp_path / "mac.ckpt", old=old)
    other = make_network(make_options("dact", background=now), grid=False)
    was = "false" if now else "true"
    with pytest.raises(UserError, match=rf"mac\.ckpt was trained with model\.background={was}"):
        warm_start.load_into(other, tmp_path / "mac.ckpt", vocabulary)
    same = make_network(make_options("dact", **before), grid=False)
    assert warm_start.load_into(same, tmp_path / "mac.ckpt", vocabulary).model == "mac"


def test_a_checkpoint_of_before_has_none_and_kept_macs_are_found_where_they_were(tmp_path):
    model = asdict(make_options("mac"))
    del model["background"]
    options = checkpoint.network_options({"model": model})
    assert options == make_options("mac")
    place = warm_start.folder(tmp_path, "data", NetworkOptions(name="mac"))
    assert place.name == "b6e2bbc55250856c"
    other = warm_start.folder(tmp_path, "data", NetworkOptions(name="mac", background=True))
    assert other.name != place.name


# Through the program, on objects of GQA.


@pytest.fixture(scope="module")
def gqa(gqa_root, tmp_path_factory):
    """A DACT that was trained with a background, after its MAC; and what is typed to use it."""
    folder = tmp_path_factory.mktemp("background")
    data = ["data=gqa_mini", "data.generate=null", f"data.root={gqa_root}"]
    data.append(f"data.cache_dir={folder / 'cache'}")
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        program = Program(folder, *data, *TINY, "model.background=true")
        program("model=mac")
        fitted = program("model=dact")
    GlobalHydra.instance().clear()
    return fitted, [*data, "trainer=cpu", "trainer.enable_progress_bar=false"]


def test_it_is_trained_with_its_mac_and_validated(gqa, tmp_path):
    fitted, typed = gqa
    assert checkpoint.describe(fitted.checkpoint).config["model"]["background"] is True
    done = Program(tmp_path, *typed)(
        "mode=validate", f"ckpt_path={fitted.last}", "data.split=val_balanced"
    )
    for _, attention in read_attentions(done.folder / "attentions.json"):
        cells = np.array(attention)
        assert cells[:, :4].any(axis=1).all(), "the background was written as a box"
        assert 0 < cells[:, 4].sum() < 1


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("mode=validate", "ckpt_path={}", "model.background=false"), "decided by the checkpoint"),
        (("model=dact", "ckpt_path={}"), r"trained with model\.background=True, not False"),
        (("model=dact", "warm_start={}"), r"holds a dact"),
    ],
)
def test_a_checkpoint_with_it_is_used_with_it(gqa, tmp_path, typed, message):
    fitted, data = gqa
    words = [word.format(fitted.last) for word in typed]
    own = data if words[0] == "mode=validate" else [*data, *TINY]
    with pytest.raises(UserError, match=message):
        Program(tmp_path, *own)(*words)


def test_an_answer_shows_its_share_and_no_box(gqa, tmp_path):
    restored = restore(gqa[0].last)
    data = open_data(restored)
    (split,) = data.splits_of("predict")
    knowledge = of_dataset(data, split, data.dataset(split).questions.images[1])
    reasoner = Reasoner(restored.network, restored.vocabulary)
    answer = reasoner.ask("Is the dog to the left of the car?", *knowledge[:2])
    cells = answer.steps[0].cells
    assert answer.background
    assert cells.shape == (knowledge.num_cells + 1,)
    assert cells.sum() == pytest.approx(1, abs=1e-5)
    assert len(knowledge.view.boxes) == knowledge.num_cells
    page = strip_html("a", answer, knowledge.view, max_steps=4, adaptive=True)
    assert page.count("<span>background</span>") == len(answer.steps)
    assert page.count("<rect") <= knowledge.num_cells * len(answer.steps)
    figures.save_as(figures.strip(answer, knowledge.view), tmp_path / "strip.png")


def test_tokens_are_drawn_without_it():
    step = ReasoningStep(np.ones(1), np.array([0.2, 0.1, 0.1, 0.1, 0.1, 0.4]), 1.0, [("yes", 1.0)])
    answer = Reasoning(["word"], [], "yes", 1.0, [step], background=True)
    view = View(Image.new("RGB", (8, 8)), (2, 2), first=1)
    np.testing.assert_array_equal(view.on_picture(step.cells), np.full((2, 2), 0.1))
    page = strip_html("a", answer, view, max_steps=4, adaptive=False)
    assert "background</span><span>40%" in page
    assert figures.strip(answer, view).axes
