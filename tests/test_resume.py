"""A resumed run is the run that was never stopped, or a mistake that is named."""

import pytest
import torch
from conftest import everything_in

from dact import checkpoint
from dact.errors import UserError
from dact.lit_module import VQALitModule

DROPOUT = tuple(
    f"model.dropout.{name}=0.2" for name in ("stem", "question", "memory", "read", "output")
)
STEPS_PER_EPOCH = 8


class PowerCutError(Exception):
    """Ends a run where no one expects it."""


def stop_at(monkeypatch, step):
    """Let training end in the middle of that step."""
    proper = VQALitModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            raise PowerCutError
        return proper(self, batch, batch_idx)

    monkeypatch.setattr(VQALitModule, "training_step", training_step)


def run_until(step, program, *typed, folder):
    """A run that is stopped in the middle of that step."""
    with pytest.MonkeyPatch.context() as patched:
        stop_at(patched, step)
        with pytest.raises(PowerCutError):
            program(*typed, folder=folder)


def assert_same(one, other, where=""):
    """Nested containers hold the same, to the bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}/{number}")
    else:
        assert one == other, where


@pytest.mark.parametrize(
    ("model", "schedule"), [("mac", "plateau"), ("dact", "trapezoid"), ("mac_gate", "constant")]
)
def test_a_resumed_run_is_one_that_was_never_stopped(program, model, schedule):
    typed = (
        f"model={model}",
        "warm_start=none",
        f"optimizer.schedule={schedule}",
        "optimizer.learning_rate=0.01",
        "optimizer.gate_learning_rate=0.02",
        "optimizer.ema_decay=0.8",
        "trainer.max_epochs=3",
        *DROPOUT,
    )
    whole = program(*typed)
    folder = whole.folder.with_name("stopped")
    run_until(STEPS_PER_EPOCH + 6, program, *typed, folder=folder)
    stopped = checkpoint.load(folder / "checkpoints" / "last.ckpt")
    assert (stopped["epoch"], stopped["global_step"]) == (0, STEPS_PER_EPOCH)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    ours, theirs = resumed.checkpoint, whole.checkpoint
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        assert_same(ours[key], theirs[key], key)
    for key in ("lr_schedulers", "plateau", "epoch", "global_step"):
        assert_same(ours.get(key), theirs.get(key), key)
    assert resumed.metrics == whole.metrics
    assert resumed.value == whole.value
    assert everything_in(folder) == everything_in(whole.folder)


def test_a_resumed_run_may_be_made_longer(program):
    typed = ("model=mac", "optimizer.schedule=constant", *DROPOUT)
    whole = program(*typed, "trainer.max_epochs=3")
    short = program(*typed, "trainer.max_epochs=2")
    longer = program(*typed, "trainer.max_epochs=3", "ckpt_path=last", folder=short.folder)
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        assert_same(longer.checkpoint[key], whole.checkpoint[key], key)
    assert longer.metrics == whole.metrics


def test_a_finished_run_can_be_resumed_and_stays_as_it_was(program, capsys):
    first = program("model=mac", "trainer.max_epochs=2")
    saved, metrics = first.checkpoint, first.metrics
    capsys.readouterr()
    again = program("model=mac", "trainer.max_epochs=2", "ckpt_path=last", folder=first.folder)
    assert again.value == first.value
    assert_same(again.checkpoint["state_dict"], saved["state_dict"])
    assert again.metrics == metrics
    assert "validation" in capsys.readouterr().out


def test_a_resumed_run_remembers_the_mac_it_started_from(program, trained, tmp_path, capsys):
    typed = ("model=dact", "trainer.max_epochs=2")
    start = f"warm_start={trained.mac.last}"
    folder = tmp_path / "stopped"
    run_until(STEPS_PER_EPOCH + 1, program, *typed, start, folder=folder)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    assert "MAC steps" in capsys.readouterr().out
    before = checkpoint.describe(resumed.checkpoint).started_from
    assert before["all"][0] == trained.mac.value


def test_resuming_with_another_width_is_refused_by_name(program, trained):
    with pytest.raises(UserError, match=r"does not fit this network: it differs: \S+ has shape"):
        program("model=dact", "model.dim=10", f"ckpt_path={trained.dact.last}")


def test_weights_alone_cannot_be_resumed_from(program, trained):
    (mac,) = (trained.cache / "warm_start").glob("*/mac.ckpt")
    with pytest.raises(UserError, match=r"holds weights alone: start from it with warm_start=PATH"):
        program("model=mac", f"ckpt_path={mac}")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("model=act", r"model\.name=dact, not act"),
        ("model.gate.bias=2", r"model\.gate="),
        ("ponder=1e-3", r"ponder\.cost=0\.005, not 0\.001"),
        ("ponder.penalty=linear", r"ponder\.penalty=unit, not linear"),
        ("ponder.phase=3", r"ponder\.phase=None, not 3"),
        ("data.fraction=0.5", r"data\.fraction=1\.0, not 0\.5"),
    ],
)
def test_another_run_is_not_gone_on_with(program, trained, typed, message):
    with pytest.raises(UserError, match=f"was trained with {message}"):
        program("model=dact", typed, f"ckpt_path={trained.dact.last}")


def test_a_damaged_last_checkpoint_is_stepped_over(program, trained, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "damaged"
    run_until(STEPS_PER_EPOCH + 5, program, *typed, "checkpoint_every=4", folder=folder)
    newest = (folder / "checkpoints" / "last.ckpt").resolve()
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="cut short or damaged.*; taking "):
        resumed = program(*typed, "checkpoint_every=4", "ckpt_path=last", folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])


def test_a_finished_mac_is_offered_with_its_averaged_weights(program):
    """Although a run that is complete loads its raw weights and averages nothing any more."""
    typed = ("model=mac", "trainer.max_epochs=2", "optimizer.ema_decay=0.9")
    first = program(*typed)
    (cached,) = first.folder.parent.glob("cache/warm_start/*/mac.ckpt")
    cached.unlink()
    program(*typed, "ckpt_path=last", folder=first.folder)
    assert_same(checkpoint.load(cached)["state_dict"], first.checkpoint["state_dict"])


def test_an_epoch_of_few_batches_is_followed_by_a_whole_one(program, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=3", "trainer.limit_train_batches=3", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "stopped"
    run_until(4, program, *typed, folder=folder)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])
    assert resumed.metrics == whole.metrics


def test_results_are_those_of_the_epoch_or_none(program):
    finished = program("model=mac", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2")
    assert finished.value is None
    paths = sorted(finished.last.parent.glob("epoch*"))
    assert [bool(checkpoint.results(checkpoint.load(path))) for path in paths] == [
        False,
        True,
        False,
    ]


def test_a_trial_without_a_checkpoint_needs_no_mac(program):
    with pytest.raises(UserError, match="give warm_start=none"):
        program("model=dact", "trainer.fast_dev_run=true")
    program("model=dact", "trainer.fast_dev_run=true", "warm_start=none")


def test_the_same_seed_gives_the_same_run_and_another_one_does_not(program):
    one, same, other = (program("model=mac", *DROPOUT, f"seed={seed}") for seed in (1, 1, 2))
    assert_same(one.checkpoint["state_dict"], same.checkpoint["state_dict"])
    name = "network.encoder.embedding.weight"
    assert not torch.equal(one.checkpoint["state_dict"][name], other.checkpoint["state_dict"][name])
