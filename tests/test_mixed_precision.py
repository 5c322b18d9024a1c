"""Half precision with a gradient scaler, as `trainer.precision=16-mixed` has it on a GPU.

On a CPU Lightning makes bfloat16 of that option, which needs no scaler; the plugin is the same.
"""

from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from test_resume import DROPOUT, assert_same
from test_stopping import PARTS, stopped
from torch.nn.utils import get_total_norm

from dact.lit_module import VQALitModule

#: So large that the first steps overflow, which the scaler leaves out.
SCALE = 2.0**24
#: Key of the scaler's state in a checkpoint.
SCALER = "MixedPrecision"


@pytest.fixture
def half(program, monkeypatch):
    """A program whose trainers compute in float16 on the CPU, with a scaler."""
    proper = pl.Trainer

    def trainer(*, plugins, precision, **options):
        scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=5)
        own = MixedPrecision("16-mixed", "cpu", scaler)
        return proper(plugins=[*plugins, own], **options)

    monkeypatch.setattr(pl, "Trainer", trainer)
    # oneDNN has an LSTM in float16 for few CPUs.
    monkeypatch.setattr("torch.backends.mkldnn.enabled", False)
    return program


TYPED = (
    "model=dact",
    "warm_start=none",
    "trainer.max_epochs=3",
    "trainer.gradient_clip_val=0.5",
    "optimizer.ema_decay=0.8",
    "optimizer.learning_rate=0.01",
    *DROPOUT,
)


@pytest.mark.faults(
    "stopped in half precision",
    tried="SIGTERM while the scale of the gradients falls, is searched for and grows",
    happened="resumed, bit-identical; the scale too",
)
@pytest.mark.parametrize("schedule", ["plateau", "trapezoid"])
@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_run_with_a_scaler_is_resumed_to_the_bit(half, tmp_path, schedule, step):
    typed = (*TYPED, f"optimizer.schedule={schedule}")
    whole = half(*typed)
    folder = tmp_path / "stopped"
    stopped(half, *typed, step=step, folder=folder)
    resumed = half(*typed, "ckpt_path=last", folder=folder)
    ours, theirs = resumed.checkpoint, whole.checkpoint
    for part in (*PARTS, SCALER):
        assert_same(ours.get(part), theirs.get(part), part)
    assert resumed.metrics == whole.metrics


def test_steps_that_overflow_are_left_out_and_end_nothing(half, monkeypatch):
    """Their gradients are infinite, but not the weights: that is what the scaler is for."""
    before, norms = [], []

    def on_before_optimizer_step(self, optimizer):  # unscaled by now, and not yet clipped
        before.append(self.network.head.output.bias.detach().clone())
        norms.append(get_total_norm([p.grad for p in self.parameters() if p.grad is not None]))

    monkeypatch.setattr(VQALitModule, "on_before_optimizer_step", on_before_optimizer_step)
    finished = half(*TYPED)
    finite = [bool(norm.isfinite()) for norm in norms]
    moved = [not torch.equal(one, other) for one, other in pairwise(before)]
    assert len(finite) == 24
    assert not finite[0]
    assert moved == finite[:-1]
    scale = SCALE
    for unbroken, good in zip(runs(finite), finite, strict=True):
        scale *= 0.5 if not good else 2 if unbroken == 5 else 1
    assert finished.checkpoint[SCALER]["scale"] == scale
    assert all(weight.isfinite().all() for weight in finished.checkpoint["state_dict"].values())
    for optimizer in finished.checkpoint["optimizer_states"]:
        assert {state["step"].item() for state in optimizer["state"].values()} == {sum(finite)}


def runs(finite):
    """How many steps since the last overflow or growth, this one included."""
    count = 0
    for good in finite:
        count = count % 5 + 1 if good else 0
        yield count
