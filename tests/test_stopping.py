"""A run that is asked to stop saves first, at any batch, and what goes on is the same run."""

import os
import shutil
import signal

import pytest
from test_resume import DROPOUT, assert_same

from dact import run_folder
from dact.datamodules.mini import CLEVRMiniDataModule
from dact.errors import UserError
from dact.lit_module import VQALitModule
from dact.stopping import StopSignals

EPOCH = 8  # steps
#: What a run is, in a checkpoint.
PARTS = (
    "state_dict",
    "current_model_state",
    "averaging_state",
    "optimizer_states",
    "lr_schedulers",
    "global_step",
    "epoch",
)


def ask_to_stop(monkeypatch, number, *, step):
    """A signal comes in the middle of that step."""
    proper = VQALitModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == step:
            os.kill(os.getpid(), number)
        return proper(self, batch, batch_idx)

    monkeypatch.setattr(VQALitModule, "training_step", training_step)


def stopped(program, *typed, number=signal.SIGTERM, step, folder):
    """Run until the signal; returns the status of the program."""
    with pytest.MonkeyPatch.context() as patched:
        ask_to_stop(patched, number, step=step)
        with pytest.raises(SystemExit) as ended:
            program(*typed, folder=folder)
    return ended.value.code


def checkpoint_steps(folder):
    """Steps of the checkpoints in a run folder."""
    return sorted(int(path.stem[-6:]) for path in folder.glob("checkpoints/epoch*.ckpt"))


@pytest.mark.faults(
    "SIGTERM in training",
    tried="at the first, last and inner batches of epochs, with and without workers",
    happened="saved first; resumed, bit-identical",
)
@pytest.mark.parametrize("step", [0, EPOCH - 2, EPOCH - 1, EPOCH, 2 * EPOCH + 3])
@pytest.mark.parametrize(
    "typed",
    [
        ("model=dact", "optimizer.schedule=trapezoid", "data.group_by_length=true"),
        ("model=act", "data.num_workers=2", "data.questions_per_image=3"),
        ("model=mac", "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1"),
    ],
    ids=["dact", "act", "mac"],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_a_run_stopped_at_any_batch_goes_on_as_if_it_had_not_been(program, typed, step, tmp_path):
    if "accumulate" in typed[1]:
        step //= 2
    typed = (*typed, "warm_start=none", "optimizer.learning_rate=0.01", "trainer.max_epochs=3")
    typed = (*typed, "optimizer.ema_decay=0.8", *DROPOUT)
    whole = program(*typed)
    folder = tmp_path / "stopped"
    assert stopped(program, *typed, step=step, folder=folder) == 128 + signal.SIGTERM
    assert checkpoint_steps(folder)[-1] == step + 1
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    ours, theirs = resumed.checkpoint, whole.checkpoint
    for part in PARTS:
        assert_same(ours.get(part), theirs.get(part), part)
    assert resumed.metrics == whole.metrics
    assert resumed.value == whole.value


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 2, 3, 5, EPOCH + 2])
def test_a_validation_within_the_epoch_belongs_to_the_batch_before_it(program, step, tmp_path):
    """It may change the learning rate, so that what is saved before it would be too little."""
    typed = ("model=mac", "optimizer.schedule=plateau", "trainer.val_check_interval=3", *DROPOUT)
    typed += ("trainer.max_epochs=2", "optimizer.learning_rate=0.01", "optimizer.ema_decay=0.8")
    whole = program(*typed)
    folder = tmp_path / "stopped"
    stopped(program, *typed, step=step, folder=folder)
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    for part in (*PARTS, "plateau"):
        assert_same(resumed.checkpoint.get(part), whole.checkpoint.get(part), part)
    assert resumed.metrics == whole.metrics


def test_the_signal_ends_the_program_as_it_does_others(program, tmp_path, capsys, caplog):
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    with caplog.at_level("INFO"):
        status = stopped(program, "model=mac", number=signal.SIGINT, step=3, folder=tmp_path / "a")
    assert status == 130
    assert "SIGINT after step 4: saved in" in caplog.text
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.faults(
    "SIGTERM in validation",
    tried="in each batch of one validation",
    happened="the checkpoint of the epoch is written; resumed, bit-identical",
)
def test_a_signal_during_validation_waits_for_the_checkpoint_of_the_epoch(program, tmp_path):
    typed = ("model=mac", "trainer.max_epochs=2", "optimizer.schedule=plateau", *DROPOUT)
    whole = program(*typed)
    proper = VQALitModule.validation_step

    def validation_step(self, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)
        return proper(self, batch, batch_idx)

    folder = tmp_path / "stopped"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(VQALitModule, "validation_step", validation_step)
        with pytest.raises(SystemExit):
            program(*typed, folder=folder)
    assert checkpoint_steps(folder) == [EPOCH]
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])
    assert resumed.metrics == whole.metrics


def test_whoever_will_not_wait_presses_it_twice():
    signals = StopSignals()
    signals.watch()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signals.release()


def test_other_signals_are_left_to_whom_they_are_meant_for(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    signals = StopSignals()
    signals.watch()
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)] == before
    signals.release()


def test_the_handler_of_a_launcher_has_the_last_word(program, tmp_path):
    """As that of submitit, which puts the job into the queue again, or lets it go on."""
    folder = tmp_path / "launched"
    seen = []

    def handler(number, frame):
        seen.append((number, checkpoint_steps(folder)))

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.MonkeyPatch.context() as patched:
            ask_to_stop(patched, signal.SIGUSR2, step=2)
            finished = program("model=mac", "trainer.max_epochs=1", folder=folder)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [(signal.SIGUSR2, [3])]
    assert finished.checkpoint["global_step"] == EPOCH


@pytest.mark.faults(
    "a SLURM job whose time is up",
    tried="SIGUSR1 while it trains, and before, with a stand-in for scontrol",
    happened="saved, requeued; goes on in its folder",
)
def test_a_slurm_job_whose_time_is_up_is_requeued(program, slurm, tmp_path):
    folder = tmp_path / "job"
    status = stopped(program, "model=mac", number=signal.SIGUSR1, step=2, folder=folder)
    assert status == 128 + signal.SIGUSR1
    assert checkpoint_steps(folder) == [3]
    assert slurm.read_text() == "requeue 4711\n"


@pytest.mark.faults(
    "a SLURM job whose time is up",
    tried="SIGUSR1 while it trains, and before, with a stand-in for scontrol",
    happened="saved, requeued; goes on in its folder",
)
def test_a_slurm_job_whose_time_is_up_before_it_trains_is_requeued(program, slurm, monkeypatch):
    proper = CLEVRMiniDataModule.setup

    def setup(self, stage):
        os.kill(os.getpid(), signal.SIGUSR1)
        return proper(self, stage)

    monkeypatch.setattr(CLEVRMiniDataModule, "setup", setup)
    with pytest.raises(SystemExit) as ended:
        program("model=mac")
    assert ended.value.code == 128 + signal.SIGUSR1
    assert slurm.read_text() == "requeue 4711\n"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def in_the_last_validation(monkeypatch, action):
    """Do something in the last validation of each training."""
    proper = VQALitModule.on_validation_epoch_end

    def on_validation_epoch_end(self):
        if self.current_epoch == self.trainer.max_epochs - 1:
            action()
        return proper(self)

    monkeypatch.setattr(VQALitModule, "on_validation_epoch_end", on_validation_epoch_end)


def test_a_signal_in_the_last_validation_ends_a_run_that_is_complete(program, tmp_path):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patched:
        in_the_last_validation(patched, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit) as ended:
            program("model=mac", "trainer.max_epochs=2", folder=folder)
    assert ended.value.code == 128 + signal.SIGTERM
    assert checkpoint_steps(folder) == [EPOCH, 2 * EPOCH]
    assert run_folder.result_in(folder)["accuracy"] is not None


@pytest.mark.slow
def test_a_signal_in_the_last_validation_of_the_mac_is_no_beginning_of_the_next(
    program, tmp_path, capsys
):
    typed = ("model=dact", "trainer.max_epochs=2", *DROPOUT)
    whole = program(*typed)
    shutil.rmtree(tmp_path / "cache" / "warm_start")
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patched:
        in_the_last_validation(patched, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            program(*typed, folder=folder)
    assert not (folder / "checkpoints").exists()
    resumed = program(*typed, "ckpt_path=last", folder=folder)
    assert_same(resumed.checkpoint["state_dict"], whole.checkpoint["state_dict"])


def test_a_second_run_in_a_folder_is_refused(program, trained, tmp_path):
    """Its checkpoints would mix with those of the first."""
    folder = tmp_path / "run"
    first = program("model=mac", folder=folder)
    before = first.last.resolve().read_bytes()
    with pytest.raises(UserError, match=r"holds a run already: go on with it by ckpt_path=last"):
        program("model=mac", "seed=1", folder=folder)
    assert first.last.resolve().read_bytes() == before
