"""Options of Lightning's Trainer that cannot work are refused in one line, wherever Lightning looks
at them."""

import pytest
import torch
from conftest import compose, everything_in

from dact import checks
from dact.batch import VQABatch
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.runs.processes import refused_in_one_line

CHILDREN = [
    "ddp_spawn",
    "DDP_Spawn",
    "ddp_fork",
    "ddp_notebook",
    "ddp_spawn_find_unused_parameters_true",
]


@pytest.mark.parametrize("mode", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("strategy", [*CHILDREN, "ddp_fork_find_unused_parameters_false"])
def test_processes_that_keep_the_results_are_refused(configured, mode, strategy):
    with pytest.raises(UserError, match=r"use trainer\.strategy=ddp$"):
        checks.check(compose(f"mode={mode}", f"trainer.strategy={strategy}"))


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"])
def test_other_strategies_are_left_to_lightning(configured, strategy):
    checks.check(compose(f"trainer.strategy={strategy}"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("val_check_interval=0", "0 is not possible"),
        ("val_check_interval=0.0", "0 is not possible"),
        ("check_val_every_n_epoch=0", "it is at least 1"),
        ("accumulate_grad_batches=0", "it is at least 1"),
        ("gradient_clip_val=-1", "it is at least 0"),
        ("gradient_clip_val=nan", "it is at least 0"),
        ("num_sanity_val_steps=-2", "it is at least -1"),
        ("log_every_n_steps=-1", "it is at least 0"),
        ("limit_val_batches=abc", "is no number"),
        ("overfit_batches=abc", "is no number"),
        ("overfit_batches=-1", "share in 0.0..1.0"),
        ("overfit_batches=1.5", "share in 0.0..1.0"),
        ("limit_train_batches=true", "is no number"),
        ("val_check_interval=true", "True is not possible"),
        ("deterministic=maybe", "choose one of true, false, warn"),
        ("max_epochs=0", "trains nothing"),
        ("max_steps=0", "trains nothing"),
        ("max_steps=-2", "trains nothing"),
        ("limit_train_batches=0", "trains nothing"),
        ("limit_train_batches=0.0", "trains nothing"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(configured, typed, said):
    with pytest.raises(UserError, match=rf"^trainer\.{typed.split('=')[0]}=.*{said}"):
        checks.check(compose(f"trainer.{typed}"))


@pytest.mark.parametrize(
    "typed",
    [
        "max_steps=1",
        "max_epochs=-1",
        "limit_val_batches=0",
        "gradient_clip_val=null",
        "log_every_n_steps=0",
        "check_val_every_n_epoch=null",
        "deterministic=warn",
    ],
)
def test_what_makes_sense_is_taken(configured, typed):
    checks.check(compose(f"trainer.{typed}"))


REFUSED = pytest.mark.faults(
    "an option that Lightning refuses only when it begins",
    tried="intervals and shares that the number of batches does not allow, in each mode",
    happened="one line; a new folder stays empty",
)


@REFUSED
@pytest.mark.parametrize(
    "typed",
    [
        "trainer.val_check_interval=1000",
        "trainer.limit_train_batches=0.001",
        "trainer.limit_val_batches=0.05",
        "trainer.limit_train_batches=-3",
    ],
)
def test_what_lightning_refuses_in_a_fit_is_one_line(program, typed, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"^these trainer options do not work here: ") as refused:
        program("model=mac", typed, folder=folder)
    assert "\n" not in str(refused.value)
    assert set(everything_in(folder)) <= {".lock"}


@REFUSED
@pytest.mark.parametrize(
    ("mode", "name"), [("validate", "val"), ("test", "test"), ("predict", "predict")]
)
def test_what_lightning_refuses_in_an_evaluation_is_one_line(evaluate, trained, mode, name):
    limit = f"trainer.limit_{name}_batches=0.001"
    with pytest.raises(UserError, match=r"^these trainer options do not work here: "):
        evaluate(f"mode={mode}", f"ckpt_path={trained.mac.last}", "data.split=val", limit)


def test_errors_that_are_not_lightnings_stay_as_they_are():
    with pytest.raises(ValueError, match="ours"), refused_in_one_line():
        raise ValueError("ours")


def batches_of(monkeypatch, program, *typed):
    """Positions of the questions of each training batch of a run, and the run."""
    seen = []
    proper = VQALitModule.training_step

    def training_step(self, batch: VQABatch, batch_idx):
        seen.append(tuple(batch.positions.tolist()))
        return proper(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(VQALitModule, "training_step", training_step)
        return seen, program("model=mac", "trainer.max_epochs=3", *typed)


@pytest.mark.parametrize(("share", "number"), [("2", 2), ("0.25", 2), ("0.05", 1)])
def test_overfitting_takes_the_same_batches_in_every_epoch(monkeypatch, program, share, number):
    seen, finished = batches_of(monkeypatch, program, f"trainer.overfit_batches={share}")
    assert len(seen) == 3 * number
    assert seen == 3 * seen[:number]
    assert len(set(seen)) == number
    assert finished.checkpoint["global_step"] == 3 * number
    assert finished.value is not None


@pytest.mark.slow
def test_a_run_that_overfits_goes_on_with_its_batches(monkeypatch, program):
    typed = ("trainer.overfit_batches=3",)
    seen, whole = batches_of(monkeypatch, program, *typed)
    begun, stopped = batches_of(monkeypatch, program, *typed, "trainer.max_steps=4")
    folder = stopped.folder

    def go_on(*arguments):
        return program(*arguments, "ckpt_path=last", folder=folder)

    rest, resumed = batches_of(monkeypatch, go_on, *typed)
    assert begun + rest == seen
    for name, value in whole.checkpoint["state_dict"].items():
        assert torch.equal(resumed.checkpoint["state_dict"][name], value)
