"""What is left on disk and said while training and predicting."""

import csv
from types import SimpleNamespace

import pytest
import torch
from conftest import compose, everything_in, plain

from dact import callbacks, checkpoint
from dact.callbacks import EpochSummary
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.loggers import ContinuedCSVLogger
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


# Losses.


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("step", "said"), [(13, "batch 5 in epoch 1"), (0, "batch 0 in epoch 0")])
def test_a_loss_that_is_no_number_ends_the_run_and_spoils_nothing(
    program, monkeypatch, tmp_path, value, step, said
):
    proper = VQALitModule.training_step

    def training_step(self, batch, batch_idx):
        loss = proper(self, batch, batch_idx)
        return loss * value if self.global_step == step else loss

    monkeypatch.setattr(VQALitModule, "training_step", training_step)
    typed = ("model=mac", "trainer.max_epochs=3", "checkpoint_every=2", "keep_checkpoints=-1")
    with pytest.raises(UserError, match=f"the loss of {said} .* is NaN or infinite"):
        program(*typed, folder=tmp_path / "bad")
    found = sorted((tmp_path / "bad").glob("checkpoints/epoch*"))
    assert len(found) == step // 2
    for path in found:
        weights = checkpoint.load(path)["current_model_state"].values()
        assert all(weight.isfinite().all() for weight in weights)


# What is said.


def test_an_epoch_leaves_one_line(capsys):
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=2, max_epochs=5)
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


# metrics.csv.


def log(folder, rows):
    """Log (step, metrics) as one process would."""
    logger = ContinuedCSVLogger(str(folder))
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
        logger.save()
    logger.finalize("success")


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row["a"], row.get("b", "")) for row in csv.DictReader(file)]


def test_metrics_are_continued_not_restarted(tmp_path):
    log(tmp_path, [(1, {"a": 1}), (2, {"a": 2})])
    log(tmp_path, [(3, {"a": 3}), (4, {"a": 4})])
    assert rows_of(tmp_path) == [(n, str(n), "") for n in (1, 2, 3, 4)]


def test_what_is_logged_again_replaces_what_a_lost_run_logged(tmp_path):
    log(tmp_path, [(1, {"a": 1}), (2, {"a": 2}), (3, {"a": 3})])
    log(tmp_path, [(2, {"a": 20}), (3, {"a": 30})])
    assert rows_of(tmp_path) == [(1, "1", ""), (2, "20", ""), (3, "30", "")]


def test_new_columns_may_come_later(tmp_path):
    log(tmp_path, [(1, {"a": 1})])
    log(tmp_path, [(2, {"b": 5}), (3, {"a": 3, "b": 6})])
    assert rows_of(tmp_path) == [(1, "1", ""), (2, "", "5"), (3, "3", "6")]


def test_a_run_that_logs_nothing_leaves_the_file_alone(tmp_path):
    log(tmp_path, [(1, {"a": 1})])
    log(tmp_path, [])
    assert rows_of(tmp_path) == [(1, "1", "")]
    assert everything_in(tmp_path) == ["metrics.csv"]


# The loggers of conf/.


def test_no_logger_leaves_no_metrics(program):
    finished = program("model=mac", "logger=none")
    assert not (finished.folder / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("key", "login", "offline"),
    [(None, False, True), ("abc", False, False), (None, True, False)],
)
def test_wandb_is_offline_without_a_key(configured, monkeypatch, tmp_path, key, login, offline):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    if login:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine api.wandb.ai\n  login user\n  password abc\n")
        netrc.chmod(0o600)
    cfg = plain(compose("logger=wandb"))
    assert cfg["logger"]["offline"] is offline
    assert cfg["logger"]["name"] == "clevr_mini-dact-5e-3-s0"


@pytest.mark.slow
def test_a_run_is_logged_to_wandb(program, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    finished = program("model=mac", "logger=wandb")
    assert list((finished.folder / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
def test_a_run_is_logged_to_tensorboard(program):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    finished = program("model=mac", "logger=tensorboard")
    assert list((finished.folder / "tensorboard").glob("events.*"))
