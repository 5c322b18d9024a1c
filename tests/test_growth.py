"""A network trained on CLEVR goes on with the questions of people: its vocabulary grows."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import hydra
import numpy as np
import pytest
import torch
from clevr_files import (
    HUMANS,
    make_questions,
    ready,
    times_of,
    write_clevr,
    write_grid,
    write_humans,
    write_questions,
)
from conftest import CONF, TINY, Finished, Program, compose
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from test_resume import DROPOUT, assert_same, run_until

from dact import checkpoint, checkpoint_file, config, warm_start
from dact.datamodules import CLEVRHumansDataModule, Vocabulary, VocabularyBuilder
from dact.errors import UserError
from dact.models import build_network
from dact.runs.parts import sizes
from dact.runs.restore import restore

NEW_WORDS = ["gumballs", "lilac"]
WORDS, ANSWERS = "encoder.embedding.weight", ("head.output.weight", "head.output.bias")
pytestmark = pytest.mark.slow


class Bases(NamedTuple):
    """Networks trained on a tiny CLEVR; read only."""

    root: Path
    mac: Finished
    dact: Finished


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    root = write_clevr(folder / "clevr")
    program = Program(folder, "data=clevr", f"data.root={root}", "data.features=state", *TINY)
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        mac = program("model=mac", "optimizer.ema_decay=0.5")
        dact = program("model=dact", "optimizer.ema_decay=0.5")
    GlobalHydra.instance().clear()
    return Bases(root, mac, dact)


@pytest.fixture
def root(tmp_path):
    """The same CLEVR, with the questions of people."""
    root = write_clevr(tmp_path / "clevr")
    for split in HUMANS:
        write_humans(root / "CLEVR-Humans", split)
    return root


@pytest.fixture
def humans(configured, root, tmp_path):
    """run.py on them."""
    typed = ("data=clevr_humans", f"data.root={root}", "data.features=state", *TINY)
    return Program(tmp_path, *typed, "data.batch_size=2")


@pytest.fixture
def evaluation(configured, tmp_path):
    """run.py that knows nothing but a checkpoint."""
    return Program(tmp_path, "trainer=cpu", "trainer.enable_progress_bar=false")


def vocabulary_of(finished):
    return Vocabulary.from_dict(checkpoint.describe(finished.checkpoint).vocabulary)


def prepared(root, base=None, **options):
    module = CLEVRHumansDataModule(root, base=base, progress=False, **options)
    module.prepare_data("fit")
    module.setup("fit")
    return module


def network_for(data, *typed):
    """A network with its first weights, of the size that the data ask for."""
    cfg = compose("data=clevr_humans", *TINY, *typed)
    return build_network(OmegaConf.to_object(cfg.model), **sizes(data))


def refusal(program, *typed):
    with pytest.raises(UserError) as raised:
        program(*typed)
    assert "\n" not in str(raised.value)
    return str(raised.value)


# The vocabulary.

texts = st.lists(st.sampled_from("abcdefgh"), max_size=8)


def grown(base, words, answers):
    builder = VocabularyBuilder(base=base)
    builder.encode(words)
    for answer in answers:
        builder.answer_id(answer)
    return builder.finish()


@given(texts, texts, texts, texts)
def test_what_is_new_comes_after_what_is_known_in_order_of_first_appearance(a, b, c, d):
    base = grown(None, a, b)
    after = grown(base, c, d)
    assert after.extends(base)
    assert list(after.words) == list(dict.fromkeys([*a, *c]))
    assert after.answer_names == list(dict.fromkeys([*b, *d]))
    assert after.unknown_word == len(after.words) + 1
    assert base.extends(after) == (base.to_dict() == after.to_dict())
    assert grown(after, c, d).to_dict() == after.to_dict()  # a second time adds nothing


def test_a_vocabulary_with_other_numbers_is_not_extended():
    base = Vocabulary({"a": 1, "b": 2}, {"yes": 0})
    assert not Vocabulary({"b": 1, "a": 2, "c": 3}, {"yes": 0}).extends(base)
    assert not Vocabulary({"a": 1, "b": 2, "c": 3}, {"no": 0, "yes": 1}).extends(base)
    assert not Vocabulary({"a": 1, "b": 2}, {"yes": 0}, lowercase=True).extends(base)
    assert VocabularyBuilder(base=Vocabulary({}, {}, lowercase=True)).lowercase


# The network.


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("base", "model"), [("mac", "mac"), ("mac", "mac_gate"), ("mac", "dact"), ("dact", "dact")]
)
def test_questions_of_old_words_are_answered_as_before(bases, root, base, model):
    """Before the first step of training; also with a word that nobody knows.

    A fresh gate is set so that it keeps nothing of the steps before, as in the MAC.
    """
    start, known = getattr(bases, base).last, vocabulary_of(bases.mac)
    module = prepared(root, known)
    network = network_for(module, f"model={model}").eval()
    found = warm_start.load_into(network, start, module.vocabulary, grown_for=model)
    assert (found.model, found.vocabulary) == (base, known.to_dict())
    assert len(module.vocabulary.words) == len(known.words) + len(NEW_WORDS)
    if base != model:
        network.gate.bias = -1e9
    old = restore(start).network
    write_questions(root, "val", [*make_questions("val", 5, 3), unknown_question()])
    before, after = (
        answers(one, ready(root, vocabulary=words, batch_size=16))
        for one, words in ((old, known), (network, module.vocabulary))
    )
    assert len(before.steps) == 16
    assert torch.equal(before.steps, after.steps)
    if (base, model) == ("mac", "dact"):  # which adds probabilities up, and so rounds
        assert torch.allclose(before.log_probs, after.log_probs, atol=1e-5)
    else:
        assert torch.equal(before.log_probs, after.log_probs)


@torch.inference_mode()
def answers(network, data):
    (batch,) = data.val_dataloader()
    return network(batch)


def unknown_question():
    """With a word that neither CLEVR nor people use in training."""
    return make_questions("val", 1, 1)[0] | {
        "question_index": 99,
        "question": "How many zebras are there?",
    }


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("answers", [(), ("lavender", "gold")])
def test_known_rows_are_copied_and_new_ones_stay_fresh(bases, root, answers):
    asked = [*HUMANS["train"], *(("Which color is it?", answer) for answer in answers)]
    write_humans(root / "CLEVR-Humans", "train", asked)
    known = vocabulary_of(bases.mac)
    module = prepared(root, known)
    network = network_for(module, "model=dact")
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    warm_start.load_into(network, bases.mac.last, module.vocabulary, grown_for="dact")
    old, new = checkpoint.network_weights(bases.mac.checkpoint), network.state_dict()
    n, a = known.num_words - 1, known.num_answers
    assert module.vocabulary.answer_names[a:] == list(answers)
    assert torch.equal(new[WORDS][:n], old[WORDS][:n])  # padding and known words
    assert torch.equal(new[WORDS][-1], old[WORDS][-1])  # the unknown word, still the last
    assert torch.equal(new[WORDS][n:-1], fresh[WORDS][n:-1])
    assert len(new[WORDS][n:-1]) >= len(NEW_WORDS)
    for name in ANSWERS:
        assert torch.equal(new[name][:a], old[name])
        assert torch.equal(new[name][a:], fresh[name][a:])
        assert len(new[name]) == a + len(answers)
    for name in set(new) - {WORDS, *ANSWERS}:
        assert torch.equal(new[name], old.get(name, fresh[name]))
    assert {name for name in new if name not in old} == {name for name in new if "halting" in name}


# The whole way.


@pytest.mark.parametrize(("base", "model"), [("mac", "dact"), ("dact", "dact"), ("mac", "mac")])
def test_a_network_goes_on_with_the_questions_of_people(
    bases, humans, evaluation, capsys, base, model
):
    start = getattr(bases, base)
    fitted = humans(f"model={model}", f"warm_start={start.last}")
    said = capsys.readouterr().out
    name = {"mac": "MAC", "dact": "dact"}[base]
    assert f"starting from the {name} in {start.last}" in said
    assert "its vocabulary grows by 2 words and 0 answers" in said
    assert "MAC steps" not in said  # that was on other questions
    known, now = vocabulary_of(start), vocabulary_of(fitted)
    assert list(now.words) == [*known.words, *NEW_WORDS]
    assert now.answer_names == known.answer_names
    assert not list(humans.folder.glob("clevr/.dact/warm_start/*/mac.ckpt"))
    longer = humans(
        f"model={model}", "ckpt_path=last", "trainer.max_epochs=2", folder=fitted.folder
    )
    assert vocabulary_of(longer).to_dict() == now.to_dict()
    validated = evaluation("mode=validate", f"ckpt_path={longer.last}")
    assert validated.value == longer.value
    predicted = evaluation("mode=predict", f"ckpt_path={longer.last}", "data.split=val")
    assert [line["question"] for line in predicted.predictions] == [q for q, _ in HUMANS["val"]]
    clevr = evaluation(
        "mode=validate", f"ckpt_path={longer.last}", "data=clevr", f"data.root={bases.root}"
    )
    assert 0 <= clevr.value <= 1


def test_a_resumed_run_is_one_that_was_never_stopped(bases, humans):
    typed = ("model=dact", "trainer.max_epochs=3", "optimizer.learning_rate=0.01", *DROPOUT)
    start = f"warm_start={bases.dact.last}"
    whole = humans(*typed, start)
    folder = whole.folder.with_name("stopped")
    run_until(3 + 1, humans, *typed, start, folder=folder)
    resumed = humans(*typed, "ckpt_path=last", folder=folder)
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        assert_same(resumed.checkpoint[key], whole.checkpoint[key], key)
    assert vocabulary_of(resumed).to_dict() == vocabulary_of(whole).to_dict()
    assert resumed.metrics == whole.metrics


def test_without_a_start_the_command_is_given_that_makes_one(bases, humans, root, capsys):
    sizes = ("model.self_attention=true", "data.fraction=1.0")
    for model in ("mac", "dact"):
        said = refusal(humans, f"model={model}", *sizes)
        assert "data=clevr_humans goes on from a network trained on clevr" in said
        assert "give warm_start=PATH" in said
        assert "warm_start=none" in said
        (shown,) = re.findall(r"`python run\.py (.*)`", said)
        first = shlex.split(shown)
        assert first[:2] == ["data=clevr", "model=mac"]
    mac = Program(humans.folder, "trainer.max_epochs=1")(*first)
    assert checkpoint.describe(mac.checkpoint).config["data"]["name"] == "clevr"
    assert "gumballs" not in vocabulary_of(mac)
    assert vocabulary_of(humans("model=dact", *sizes, f"warm_start={mac.last}")).extends(
        vocabulary_of(mac)
    )


def test_none_means_from_scratch_with_the_words_of_people_alone(humans, capsys):
    fitted = humans("model=dact", "warm_start=none")
    assert list(vocabulary_of(fitted).words)[:4] == ["How", "many", "gumballs", "are"]
    longer = humans(
        "model=dact",
        "warm_start=none",
        "ckpt_path=last",
        "trainer.max_epochs=2",
        folder=fitted.folder,
    )
    assert vocabulary_of(longer).to_dict() == vocabulary_of(fitted).to_dict()
    assert "starting from" not in capsys.readouterr().out


# What is packed.


def other_base():
    """Words in another order, and more of them."""
    return Vocabulary({"sphere": 1, "Is": 2, "purple": 3}, {"no": 0, "teal": 1})


def test_two_networks_do_not_share_what_is_packed_for_one(bases, root):
    first, second = vocabulary_of(bases.mac), other_base()
    for base in (first, second, None, first, second):
        module = prepared(root, base)
        vocabulary, questions = module.vocabulary, module.dataset("train").questions
        assert base is None or vocabulary.extends(base)
        assert questions.vocabulary == vocabulary.fingerprint
        tokens, lengths = questions.tokens_of(np.arange(1))
        words = {number: word for word, number in vocabulary.words.items()}
        text = " ".join(words[token] for token in tokens[0, : lengths[0]])
        assert text == "How many gumballs are there ?"
        assert vocabulary.answer_names[questions.answers[0]] == "2"
    assert prepared(root, second).vocabulary.answer_names == ["no", "teal", "2", "yes", "metal"]


def test_other_questions_are_seen_and_the_same_are_packed_once(bases, root):
    base = vocabulary_of(bases.mac)
    before = prepared(root, base).vocabulary
    files = times_of(root / ".dact")
    assert prepared(root, base).vocabulary.to_dict() == before.to_dict()
    assert times_of(root / ".dact") == files
    write_humans(root / "CLEVR-Humans", "train", [("Is there a mauve sphere?", "yes")])
    after = prepared(root, base).vocabulary
    assert "mauve" in after
    assert "gumballs" not in after


@pytest.mark.parametrize("grows", [True, False])
def test_asking_an_old_network_does_not_make_its_words_those_of_training(bases, root, grows):
    """Packed for it, training questions that changed are not taken for those of its vocabulary."""
    base = vocabulary_of(bases.mac) if grows else None
    before = prepared(root, base).vocabulary
    write_humans(root / "CLEVR-Humans", "train", [("Is there a mauve sphere?", "yes")])
    asked = CLEVRHumansDataModule(root, vocabulary=before, split="train", progress=False)
    asked.prepare_data("validate")
    asked.setup("validate")
    assert len(asked.dataset("train")) == 1
    assert "mauve" in prepared(root, base).vocabulary


# Refusals.


def test_a_network_of_another_kind_is_refused(bases, humans):
    said = refusal(humans, "model=act", f"warm_start={bases.dact.last}")
    assert said.endswith("last.ckpt holds a dact: start from a plain mac or another act")
    said = refusal(humans, "model=mac", f"warm_start={bases.dact.last}")
    assert said.endswith("last.ckpt holds a dact: start from a plain mac")


@pytest.mark.parametrize(
    ("typed", "name"), [("model.embedding_dim=4", "embedding"), ("model.dim=10", "encoder")]
)
def test_a_network_of_another_shape_is_refused(bases, humans, typed, name):
    said = refusal(humans, "model=dact", typed, f"warm_start={bases.mac.last}")
    assert re.search(rf"does not fit this network: it differs: \S*{name}\S* has shape", said)


def test_features_of_another_kind_are_refused(bases, humans, root):
    for split, images in (("train", 7), ("val", 5)):
        write_grid(root, split, np.ones((images, 5, 3, 2), np.float32))
    said = refusal(humans, "model=mac", f"warm_start={bases.mac.last}", "data.features=grid")
    assert "last.ckpt does not fit this network" in said


def test_a_start_that_is_not_there_is_named(humans):
    said = refusal(humans, "model=dact", "warm_start=nowhere.ckpt")
    assert "nowhere.ckpt" in said


def test_other_data_refuse_other_words_as_ever(bases, root, humans):
    write_questions(root, "train", make_questions("train", 7, 5)[1:])
    said = refusal(humans, "data=clevr", "model=mac", f"warm_start={bases.mac.last}")
    assert "was trained with other words and answers than these data have" in said
    said = refusal(humans, "data=clevr", "data.grow_vocabulary=true", "model=mac")
    assert said == "data.grow_vocabulary=true goes on from a trained network: give warm_start=PATH"


def test_a_run_does_not_go_on_with_other_words_than_it_began_with(bases, humans, root):
    fitted = humans("model=mac", f"warm_start={bases.mac.last}")
    write_humans(root / "CLEVR-Humans", "train", [("Is there a mauve sphere?", "yes")] * 5)
    said = refusal(humans, "model=mac", f"ckpt_path={fitted.last}")
    assert "was trained with other words and answers than these data have" in said


def test_a_network_trained_on_clevr_is_no_run_on_people(bases, humans):
    said = refusal(humans, "model=mac", f"ckpt_path={bases.mac.last}")
    assert "was trained with other words and answers than these data have" in said


def test_questions_without_answers_teach_nothing(bases, humans, root):
    asked = [(text, None) for text, _ in HUMANS["train"]]
    write_humans(root / "CLEVR-Humans", "train", asked)
    for _ in range(2):
        said = refusal(humans, "model=mac", f"warm_start={bases.mac.last}")
        assert "CLEVR-Humans-train.json: nothing to learn from, it has no answers" in said


def test_answers_that_nobody_taught_are_counted(bases, humans, root, caplog):
    asked = [("Is there a cube?", "perhaps"), ("Is there a sphere?", "yes")]
    write_humans(root / "CLEVR-Humans", "val", asked)
    humans("model=mac", f"warm_start={bases.mac.last}")
    assert "1 answers of val never occur in train: scored as wrong" in caplog.text


# A plain MAC may start from another one on any data.


def test_a_mac_starts_from_a_mac_where_one_is_given(program, trained, capsys):
    typed = ("model=mac", f"warm_start={trained.mac.last}", "optimizer.learning_rate=0")
    fitted = program(*typed)
    assert f"starting from the MAC in {trained.mac.last}" in capsys.readouterr().out
    before, after = (checkpoint.network_weights(f.checkpoint) for f in (trained.mac, fitted))
    for name, value in before.items():
        assert torch.allclose(after[name], value, rtol=1e-5, atol=1e-7), name
    start = checkpoint.started_from(checkpoint.describe(fitted.checkpoint))
    assert start["all"].accuracy == trained.mac.value


def test_a_mac_does_not_start_from_another_kind(program, trained):
    said = refusal(program, "model=mac", f"warm_start={trained.dact.last}")
    assert said.endswith("holds a dact: start from a plain mac")


def test_an_edited_checkpoint_is_refused(bases, humans, tmp_path):
    saved = bases.mac.checkpoint
    saved["dact"]["vocabulary"]["words"]["again"] = 1
    checkpoint_file.write(tmp_path / "edited.ckpt", saved)
    said = refusal(humans, "model=mac", f"warm_start={tmp_path / 'edited.ckpt'}")
    assert "the ids of the words are not 1, 2" in said
