"""Gated and adaptive networks start from a trained MAC, which is kept beside the data."""

import re
import shlex

import pytest
import torch
from conftest import TINY, Program, compose, plain
from filelock import FileLock
from omegaconf import OmegaConf

from dact import checkpoint, checkpoint_file, checks, config, warm_start
from dact.datamodules import build_datamodule
from dact.errors import UserError
from dact.metrics import GroupMeans
from dact.models import build_network
from dact.options import NetworkOptions
from dact.runs.parts import sizes


def cached(cache):
    """Checkpoints in the cache."""
    return sorted((cache / "warm_start").glob("*/mac.ckpt"))


def entry(accuracy, mark):
    """What a finished MAC offers."""
    description = checkpoint.Description({"model": {"name": "mac"}}, {}, 1, False, [])
    results = {"all": GroupMeans(accuracy, 3.0, 10)}
    return {
        "state_dict": {"network.mark": torch.tensor([mark])},
        checkpoint.ENTRY: checkpoint.entry(description, results),
    }


def kept(place):
    return checkpoint.load(place / "mac.ckpt")["state_dict"]["network.mark"].item()


def test_a_finished_mac_is_kept(trained):
    (path,) = cached(trained.cache)
    saved = checkpoint.load(path)
    weights = checkpoint.network_weights(saved)
    averaged = checkpoint.network_weights(trained.mac.checkpoint)
    assert set(weights) == set(averaged)
    assert all(torch.equal(weights[name], averaged[name]) for name in averaged)
    assert checkpoint.results(saved)["all"].accuracy == trained.mac.value


def test_only_a_better_one_replaces_it(tmp_path):
    assert warm_start.offer(tmp_path, entry(0.5, 1))
    assert not warm_start.offer(tmp_path, entry(0.5, 2))
    assert not warm_start.offer(tmp_path, entry(0.4, 3))
    assert kept(tmp_path) == 1
    assert warm_start.offer(tmp_path, entry(0.6, 4))
    assert kept(tmp_path) == 4
    assert warm_start.find(tmp_path).results["all"].accuracy == 0.6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "mac.ckpt"]


DAMAGED = pytest.mark.faults(
    "a kept MAC that is damaged",
    tried="cut short at 3 places, half a checkpoint, NaN, no permission",
    happened="a warning names it; it is trained and kept anew",
)


def spoil(path, how):
    """Damage a kept MAC."""
    if how == "half":
        torch.save({checkpoint.ENTRY: {}}, path)
    elif how == "nan":
        saved = checkpoint.load(path)
        next(iter(saved["state_dict"].values())).view(-1)[0] = float("nan")
        checkpoint_file.write(path, saved)
    else:
        path.write_bytes(path.read_bytes()[: int(how * path.stat().st_size)])


@DAMAGED
@pytest.mark.parametrize("how", [0.0, 0.5, 0.99, "half", "nan"])
def test_one_that_is_damaged_counts_as_none(tmp_path, how):
    assert warm_start.offer(tmp_path, entry(0.5, 1.0))
    spoil(tmp_path / "mac.ckpt", how)
    with pytest.warns(UserWarning, match=r"the MAC that was kept is of no use: .*mac\.ckpt"):
        assert warm_start.find(tmp_path) is None
    with pytest.warns(UserWarning, match=r"the MAC that was kept is of no use: .*mac\.ckpt"):
        assert warm_start.offer(tmp_path, entry(0.4, 2.0))
    assert kept(tmp_path) == 2


@DAMAGED
def test_one_that_may_not_be_read_counts_as_none(tmp_path, monkeypatch):
    assert warm_start.offer(tmp_path, entry(0.5, 1.0))

    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("torch.load", refuse)
    with pytest.warns(UserWarning, match=r"of no use: .*mac\.ckpt may not be read"):
        assert warm_start.find(tmp_path) is None


def test_one_that_is_no_number_is_not_kept(tmp_path):
    assert not warm_start.offer(tmp_path, entry(0.9, float("nan")))
    assert warm_start.find(tmp_path) is None


def test_offers_wait_for_each_other(tmp_path, monkeypatch):
    held = []
    acquire = FileLock.__enter__
    monkeypatch.setattr(FileLock, "__enter__", lambda lock: held.append(lock) or acquire(lock))
    save = checkpoint_file.write
    monkeypatch.setattr(
        "dact.checkpoint_file.write",
        lambda *given: [save(*given) for lock in held if lock.is_locked],
    )
    assert warm_start.offer(tmp_path, entry(0.5, 1))
    assert kept(tmp_path) == 1


def test_the_folder_depends_on_data_and_shape_alone(tmp_path):
    base = NetworkOptions(name="mac", dim=8, max_steps=3)
    place = warm_start.folder(tmp_path, "abc", base)
    for same in (
        NetworkOptions(name="dact", dim=8, max_steps=3),
        NetworkOptions(name="act", dim=8, max_steps=3, epsilon=0.1, halting_bound=None),
    ):
        assert warm_start.folder(tmp_path, "abc", same) == place
    for other in (
        warm_start.folder(tmp_path, "abd", base),
        warm_start.folder(tmp_path, "abc", NetworkOptions(name="mac", dim=10, max_steps=3)),
        warm_start.folder(tmp_path, "abc", NetworkOptions(name="mac", dim=8, max_steps=4)),
        warm_start.folder(
            tmp_path, "abc", NetworkOptions(name="mac", dim=8, max_steps=3, self_attention=True)
        ),
    ):
        assert other != place
    assert place.is_relative_to(tmp_path / "warm_start")


# Loading.


def network_of(program, *typed):
    cfg = program.compose(*program.defaults, *typed)
    data = build_datamodule(**config.data_options(OmegaConf.to_object(cfg.data), cfg.seed))
    data.prepare_data("fit")
    data.setup("fit")
    options = checkpoint.network_options(plain(cfg))
    return build_network(options, **sizes(data)), data.vocabulary


@pytest.mark.parametrize("model", ["mac_gate", "act", "dact"])
def test_everything_but_the_gate_is_loaded(trained, program, model):
    network, vocabulary = network_of(program, f"model={model}")
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    start = warm_start.load_into(network, trained.mac.last, vocabulary)
    assert start.results["all"].accuracy == trained.mac.value
    weights = checkpoint.network_weights(trained.mac.checkpoint)
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights.get(name, fresh[name]))
    own = [name for name in fresh if name not in weights]
    assert own
    assert all("memory_gate" in name or "halting" in name for name in own)


@pytest.mark.parametrize("lost", ["encoder.embedding.weight", "head.output.bias"])
def test_nothing_else_may_be_missing(trained, program, lost, tmp_path):
    saved = trained.mac.checkpoint
    del saved["state_dict"][f"network.{lost}"]
    path = tmp_path / "lacking.ckpt"
    torch.save(saved, path)
    network, vocabulary = network_of(program, "model=dact")
    with pytest.raises(UserError, match=f"it lacks {re.escape(lost)};"):
        warm_start.load_into(network, path, vocabulary)


def test_a_mac_of_another_width_is_refused_by_name(trained, program):
    with pytest.raises(UserError, match=r"it differs: \S+ has shape"):
        program("model=dact", "model.dim=10", f"warm_start={trained.mac.last}")


def test_only_a_plain_mac_will_do(trained, program):
    with pytest.raises(UserError, match=r"last\.ckpt holds a dact: start from a plain mac"):
        program("model=dact", f"warm_start={trained.dact.last}")


def with_other_words(saved):
    """The checkpoint of a network that numbers its words another way."""
    words = saved[checkpoint.ENTRY]["vocabulary"]["words"]
    first, second = list(words)[:2]
    words[first], words[second] = words[second], words[first]
    return saved


@pytest.mark.parametrize("option", ["warm_start", "ckpt_path"])
def test_a_mac_with_other_words_is_refused(trained, program, tmp_path, option):
    torch.save(with_other_words(trained.mac.checkpoint), tmp_path / "other.ckpt")
    model = "dact" if option == "warm_start" else "mac"
    with pytest.raises(UserError, match=r"other\.ckpt was trained with other words and answers"):
        program(f"model={model}", f"{option}={tmp_path / 'other.ckpt'}")


# The whole way.


def test_a_run_says_what_it_starts_from(trained, program, capsys):
    dact = program("model=dact", f"warm_start={trained.mac.last}")
    said = capsys.readouterr().out
    assert f"starting from the MAC in {trained.mac.last}" in said
    assert f"({100 * trained.mac.value:.1f} % on validation)" in said
    assert "MAC steps" in said
    start = checkpoint.started_from(checkpoint.describe(dact.checkpoint))
    assert start["all"].accuracy == trained.mac.value


def test_none_means_none(program, capsys):
    dact = program("model=dact", "warm_start=none")
    assert checkpoint.describe(dact.checkpoint).started_from is None
    assert "MAC" not in capsys.readouterr().out


@pytest.mark.slow
def test_clevr_mini_trains_the_missing_mac_once(program, capsys, tmp_path):
    dact = program("model=dact", "ponder=3e-3", "model.max_steps=2")
    assert "no trained MAC yet: training it first" in capsys.readouterr().out
    (path,) = cached(tmp_path / "cache")
    mac = checkpoint.describe(checkpoint.load(path)).config
    ours = checkpoint.describe(dact.checkpoint).config
    assert mac["model"]["name"] == "mac"
    assert mac["trainer"]["max_epochs"] == mac["data"]["mac"]["epochs"]
    assert {**mac["data"], "network": None} == {**ours["data"], "network": None}
    assert (mac["model"]["dim"], mac["model"]["max_steps"]) == (8, 2)
    program("model=act", "ponder=0", "model.max_steps=2")
    assert f"starting from the MAC in {path}" in capsys.readouterr().out
    assert cached(tmp_path / "cache") == [path]


@DAMAGED
@pytest.mark.parametrize("model", ["mac", "dact"])
def test_a_damaged_mac_costs_a_training_and_not_the_run(program, model, tmp_path):
    program("model=mac")
    (path,) = cached(tmp_path / "cache")
    spoil(path, 0.5)
    with pytest.warns(UserWarning, match="the MAC that was kept is of no use"):
        finished = program(f"model={model}")
    assert (finished.folder / "result.json").exists()
    assert warm_start.find(path.parent).results["all"].questions > 0


@pytest.mark.parametrize(
    "limit", ["trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "trainer.max_steps=2"]
)
def test_a_trial_is_not_kept(program, limit, tmp_path):
    program("model=mac", limit)
    assert cached(tmp_path / "cache") == []


def test_a_trial_starts_from_a_trial(program, tmp_path):
    dact = program("model=dact", "trainer.limit_train_batches=1")
    assert cached(tmp_path / "cache") == []
    assert checkpoint.describe(dact.checkpoint).started_from["all"]
    assert (dact.folder / "warm_start" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    "typed",
    [
        ("model=dact", "ponder=5e-3", "trainer.max_epochs=30"),
        ("experiment=clevr/mac3_gate", "model.self_attention=true", "seed=3"),
        ("experiment=clevr/dact_5e-3", "model.control_init=learned", "model.gate.bias=1"),
    ],
)
def test_other_data_stop_with_the_exact_command(configured, mini_root, tmp_path, typed):
    cache = tmp_path / "a cache, with 'odd' signs"
    sizes = [text for text in TINY if "max_steps" not in text and "max_epochs" not in text]
    if not typed[0].startswith("experiment"):
        sizes += ["data=clevr", "model.max_steps=3"]
    data = [f"data.root={mini_root}", f"data.cache_dir={cache}", "data.features=state"]
    program = Program(tmp_path, *sizes, *data)
    with pytest.raises(UserError) as raised:
        program(*typed)
    assert "\n" not in str(raised.value)
    (shown,) = re.findall(r"`python run\.py (.*)`", str(raised.value))
    adaptive = compose(*program.defaults, *typed)
    command = shlex.split(shown)
    mac = compose(*command)
    assert mac.model.name == "mac"
    assert mac.data == adaptive.data
    assert mac.seed == adaptive.seed
    assert mac.trainer.max_epochs == 10
    checks.check(mac)
    checks.check_typed_is_used(mac, command)
    options = [checkpoint.network_options(plain(cfg)) for cfg in (mac, adaptive)]
    assert len({warm_start.folder(cache, "abc", one) for one in options}) == 1
    # Once that command has run, the same run finds its MAC.
    Program(tmp_path)(*command, "trainer.max_epochs=1")
    assert len(cached(cache)) == 1
    finished = program(*typed, "trainer.max_epochs=1")
    assert checkpoint.describe(finished.checkpoint).started_from
