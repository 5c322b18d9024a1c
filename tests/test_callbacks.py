"""What is left on disk and said while training and predicting."""

from types import SimpleNamespace

import pytest
import torch

from dact import callbacks, checkpoint
from dact.callbacks import EpochSummary
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.metrics import GroupMeans

# Checkpoints.


def test_periodic_checkpoints_change_nothing_else(program):
    typed = ("model=mac", "trainer.max_epochs=2", "seed=1")
    plain, often, never = (
        program(*typed, f"checkpoint_every={every}").checkpoint for every in ("null", 3, 1000)
    )
    for other in (often, never):
        assert other["global_step"] == plain["global_step"] == 16
        for key in ("state_dict", "current_model_state", "averaging_state"):
            assert other[key].keys() == plain[key].keys()
            assert all(torch.equal(other[key][name], plain[key][name]) for name in plain[key])


def test_last_points_at_the_newest_while_an_epoch_goes_on(program, tmp_path):
    finished = program("model=mac", "checkpoint_every=3", "trainer.max_steps=7")
    names = [path.name for path in finished.last.parent.glob("epoch*")]
    assert finished.last.resolve().name == max(names)


def test_a_trial_of_code_leaves_no_checkpoint(program):
    finished = program("model=mac", "trainer.fast_dev_run=true")
    assert not (finished.folder / "checkpoints").exists()
    assert finished.value is not None


def test_every_checkpoint_holds_the_results_of_its_own_epoch(program):
    finished = program("model=mac", "trainer.max_epochs=3", "optimizer.ema_decay=0.1")
    paths = sorted(finished.last.parent.glob("epoch*"))
    saved = [checkpoint.results(checkpoint.load(path))["all"] for path in paths]
    rows = finished.validation()
    assert [one.accuracy for one in saved] == [row["val/accuracy"] for row in rows]
    assert [one.steps for one in saved] == [row["val/steps"] for row in rows]


# Losses and weights.


@pytest.mark.faults(
    "a loss of NaN or infinity",
    tried="at the first batch and in a later epoch",
    happened="one line names the batch; checkpoints of before stay, all finite",
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("step", "said"), [(13, "batch 5 in epoch 1"), (0, "batch 0 in epoch 0")])
def test_a_loss_that_is_no_number_ends_the_run_and_spoils_nothing(
    program, monkeypatch, tmp_path, value, step, said
):
    proper = VQALitModule.training_step

    def training_step(self, batch, batch_idx):
        outputs = proper(self, batch, batch_idx)
        factor = value if self.global_step == step else 1
        return outputs | {"loss": outputs["loss"] * factor}

    monkeypatch.setattr(VQALitModule, "training_step", training_step)
    typed = ("model=mac", "trainer.max_epochs=3", "checkpoint_every=2", "keep_checkpoints=-1")
    with pytest.raises(UserError, match=f"the loss of {said} .* is NaN or infinite"):
        program(*typed, folder=tmp_path / "bad")
    found = sorted((tmp_path / "bad").glob("checkpoints/epoch*"))
    assert len(found) == step // 2
    for path in found:
        weights = checkpoint.load(path)["current_model_state"].values()
        assert all(weight.isfinite().all() for weight in weights)


def spoil_gradients(monkeypatch, step, seen):
    """An infinite gradient for one parameter in that step, under a loss that is as it was."""

    def on_after_backward(self):
        if self.global_step == step:
            self.network.head.output.bias.grad.fill_(float("inf"))

    proper = VQALitModule.validation_step

    def validation_step(self, batch, batch_idx):
        seen.append(self.global_step)
        return proper(self, batch, batch_idx)

    monkeypatch.setattr(VQALitModule, "on_after_backward", on_after_backward)
    monkeypatch.setattr(VQALitModule, "validation_step", validation_step)


@pytest.mark.faults(
    "weights of NaN under a good loss",
    tried="an infinite gradient in the first, an inner and the last batch, found at once and when "
    "something is to be saved or validated",
    happened="one line names the batch; nothing of it is saved, validated or kept for others",
)
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("step", "said"),
    [(0, "batch 0 in epoch 0"), (7, "batch 7 in epoch 0"), (15, "batch 7 in epoch 1")],
)
def test_weights_that_are_no_numbers_end_the_run_and_spoil_nothing(
    program, monkeypatch, tmp_path, step, said, at_once
):
    validated = []
    spoil_gradients(monkeypatch, step, validated)
    typed = ("model=mac", "trainer.max_epochs=2", "checkpoint_every=3", "keep_checkpoints=-1")
    if not at_once:  # as on a GPU, or with several processes
        monkeypatch.setattr(callbacks.FiniteTraining, "_costs_nothing", lambda self, trainer: False)
        typed += ("trainer.log_every_n_steps=1000", "trainer.num_sanity_val_steps=0")
    with pytest.raises(UserError, match=f"the weights after {said} .* are NaN or infinite"):
        program(*typed, folder=tmp_path / "bad")
    found = sorted((tmp_path / "bad").glob("checkpoints/epoch*"))
    assert [int(path.stem[-6:]) for path in found] == [n for n in (3, 6, 8, 9, 12, 15) if n <= step]
    for path in found:
        saved = checkpoint.load(path)
        for part in ("current_model_state", "state_dict"):
            assert all(weight.isfinite().all() for weight in saved[part].values())
    assert all(one <= step for one in validated)
    assert not (tmp_path / "bad" / "result.json").exists()
    assert not list((tmp_path / "cache" / "warm_start").glob("*/mac.ckpt"))


# What is said.


def test_an_epoch_leaves_one_line(capsys):
    trainer = SimpleNamespace(
        is_global_zero=True,
        current_epoch=2,
        max_epochs=5,
        num_training_batches=7,
        fit_loop=SimpleNamespace(batch_idx=6),
    )
    module = SimpleNamespace(results={"all": GroupMeans(0.9123, 4.567, 10)})
    EpochSummary().on_train_epoch_end(trainer, module)
    said = capsys.readouterr().out
    assert said == "epoch 3/5: validation accuracy 91.2 %, mean steps 4.57\n"
    trainer.is_global_zero = False
    EpochSummary().on_train_epoch_end(trainer, module)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("enabled", "bars"), [(True, 1), (None, 1), (False, 0)])
def test_a_progress_bar_is_for_terminals(monkeypatch, enabled, bars):
    assert callbacks.progress_bar(enabled) == []
    monkeypatch.setattr("dact.callbacks.Console", lambda: SimpleNamespace(is_terminal=True))
    assert len(callbacks.progress_bar(enabled)) == bars
