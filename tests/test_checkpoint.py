"""Checkpoints explain themselves, run nothing, and fit or are refused by name."""

import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from conftest import plain
from hypothesis import given
from hypothesis import strategies as st
from test_resume import assert_same

from dact import checkpoint, checkpoint_file
from dact.datamodules import Vocabulary
from dact.errors import UserError
from dact.models import build_network


class Malicious:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))


def make_network(description, **changes):
    options = checkpoint.network_options(description.config)
    for name, value in changes.items():
        setattr(options, name, value)
    vocabulary = Vocabulary.from_dict(description.vocabulary)
    return build_network(options, **checkpoint.sizes(description, vocabulary))


def plain_containers(value):
    if isinstance(value, dict):
        return all(type(key) is str and plain_containers(item) for key, item in value.items())
    if isinstance(value, list):
        return all(plain_containers(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)


def test_a_checkpoint_needs_nothing_else(trained):
    saved = torch.load(trained.dact.last, weights_only=True)
    assert plain_containers(saved[checkpoint.ENTRY])
    description = checkpoint.describe(saved)
    assert description.config["model"]["name"] == "dact"
    assert description.config["ponder"]["cost"] == 5e-3
    assert description.config["data"]["root"] == str(trained.root)
    assert (description.feature_dim, description.grid) == (18, False)
    network = make_network(description)
    weights = checkpoint.network_weights(saved)
    checkpoint.load_weights(network, weights, source="it")
    own = network.state_dict()
    assert set(own) == set(weights)
    assert all(torch.equal(own[name], weights[name]) for name in own)


def test_its_configuration_is_the_resolved_one(trained, program):
    typed = [*program.defaults, "model=dact", "ponder=5e-3"]
    changes = [f"data.cache_dir={trained.cache}", "trainer.max_epochs=2", "optimizer.ema_decay=0.8"]
    composed = plain(program.compose(*typed, *changes))
    assert checkpoint.describe(trained.dact.checkpoint).config == composed


def test_its_vocabulary_is_that_of_the_data(trained):
    saved = checkpoint.describe(trained.dact.checkpoint).vocabulary
    assert saved == Vocabulary.load(trained.cache / "vocabulary.json").to_dict()


def test_it_knows_the_results_and_what_it_started_from(trained):
    saved = trained.dact.checkpoint
    assert checkpoint.results(saved)["all"].accuracy == trained.dact.value
    assert checkpoint.results(saved)["all"].questions == 32
    start = checkpoint.started_from(checkpoint.describe(saved))
    assert start["all"].accuracy == trained.mac.value
    assert checkpoint.describe(trained.mac.checkpoint).started_from is None


def test_names_of_checkpoints(trained):
    folder = trained.dact.last.parent
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["epoch00-step000008.ckpt", "epoch01-step000016.ckpt", "last.ckpt"]
    assert trained.dact.last.resolve().name == "epoch01-step000016.ckpt"


# Refusals.


def refusal(path):
    with pytest.raises(UserError) as raised:
        checkpoint.load(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(trained, share):
    content = trained.dact.last.read_bytes()
    path = Path("short.ckpt")
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04garbage", b"PK\x03\x04"])
def test_rubbish_is_refused(content):
    path = Path("rubbish.ckpt")
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.mark.faults(
    "a bit flipped in a checkpoint",
    tried="anywhere",
    happened="refused in one line, or the same content",
    times=100,
)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_or_harmless(trained, place, bit):
    content = bytearray(trained.mac.last.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path = Path("flipped.ckpt")
    path.write_bytes(content)
    try:
        found = checkpoint.load(path)
    except UserError:
        return
    assert_same(found, trained.mac.checkpoint)  # in what a zip archive says twice, or pads with


def test_a_tensor_that_the_index_calls_a_folder_is_noticed(trained):
    """PyTorch would leave it as the memory was."""
    content = bytearray(trained.mac.last.read_bytes())
    entry = content.index(b"/data/3PK\x01\x02") + len("/data/3")
    content[entry + 38] ^= 0x10
    path = Path("folder.ckpt")
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_malicious_file_is_refused_and_not_executed():
    torch.save({"state_dict": {}, checkpoint.ENTRY: Malicious()}, "zip.ckpt")
    Path("raw.ckpt").write_bytes(pickle.dumps({checkpoint.ENTRY: Malicious()}))
    for name in ("zip.ckpt", "raw.ckpt"):
        assert "damaged or holds something other than plain data" in refusal(Path(name))
    assert not Path("executed").exists()


def test_a_missing_file_is_named():
    assert "does not exist" in refusal(Path("none.ckpt"))


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": {}}, {checkpoint.ENTRY: 3}])
def test_a_foreign_checkpoint_is_refused_with_a_way_out(content):
    torch.save(content, "foreign.ckpt")
    assert "scripts/import_reference.py" in refusal(Path("foreign.ckpt"))


@pytest.mark.parametrize("missing", ["state_dict", "config", "vocabulary"])
def test_half_a_checkpoint_is_refused(trained, missing):
    saved = trained.dact.checkpoint
    (saved if missing in saved else saved[checkpoint.ENTRY]).pop(missing)
    torch.save(saved, "half.ckpt")
    assert missing in refusal(Path("half.ckpt"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 10}, r"it differs: encoder\.\S+ has shape \(.*\) instead of \(.*\) and \d+ more"),
        ({"max_steps": 4}, r"it lacks cell\.control\.positions\.3\.weight and 1 more"),
        ({"max_steps": 2}, r"it has the unknown cell\.control\.positions\.2\.weight and 1 more"),
        ({"name": "mac"}, r"it has the unknown policy\.halting\.\S+ and 1 more"),
        ({"self_attention": True}, r"it lacks cell\.write\.\S+ and 3 more"),
    ],
)
def test_a_network_of_another_shape_is_refused_by_name(trained, changes, message):
    saved = trained.dact.checkpoint
    network = make_network(checkpoint.describe(saved), **changes)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError, match=f"^it.ckpt does not fit this network: {message}; use the"):
        checkpoint.load_weights(network, checkpoint.network_weights(saved), source="it.ckpt")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_saving_leaves_a_whole_file_or_none():
    path = Path("folder/x.ckpt")
    checkpoint_file.write(path, {"value": torch.ones(2)})
    assert torch.load(path, weights_only=True)["value"].tolist() == [1, 1]
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoint_file.write(path, {"value": lambda: None})
    assert torch.load(path, weights_only=True)["value"].tolist() == [1, 1]
    assert [file.name for file in path.parent.iterdir()] == ["x.ckpt"]


def test_file_names_never_upset_hydra(trained):
    assert re.fullmatch(r"[\w.+-]+", trained.dact.last.resolve().name)
