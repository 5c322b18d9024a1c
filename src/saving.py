"""When checkpoints of a training are written, and which of them stay."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dact import run_folder
from dact.limits import Clock
from dact.loggers import ContinuedCSVLogger
from dact.stopping import StopSignals

#: Steps between two times that the processes of a run ask each other whether a signal came, for
#: which each has to wait for its device.
_ASK_EVERY = 8
#: Among the reasons to stop, which are otherwise numbers of signals: smaller than any of them, so
#: that a signal that comes at the same moment is obeyed.
_TIME = 1


class RunCheckpoints(Checkpoint):
    """Saves at the end of each epoch, every so many steps, and when the run is asked to stop.

    A run is asked to stop by a signal, by a number of steps or by the clock. Lightning's own
    `max_steps` and `max_time` would end the epoch, whose other batches were then lost.

    Always where the run can be resumed exactly: between optimizer steps, and after the last batch
    of an epoch only once the validation is over.

    Args:
        folder: `checkpoints/` of the run.
        keep: how many of the newest stay; -1: all.
        every_n_steps: training steps between checkpoints within an epoch; None: none there.
        max_steps: training stops after so many optimizer steps; -1: not.
        clock: training stops when its time is over.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        every_n_steps: int | None,
        max_steps: int = -1,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.every_n_steps = every_n_steps
        self.max_steps = max_steps
        self.clock = clock or Clock(None)
        self.stopped_by: str | None = None
        """The option that stopped the training before it was over, such as `trainer.max_steps=20`;
        None: nothing did."""
        self._all_steps: float = float("nan")
        self._signals = StopSignals()
        self._saved_at = -1
        self._stop = 0
        self._due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals, in place of Lightning, and count the time."""
        self._saved_at = trainer.global_step
        self._signals.watch()
        self.clock.start()
        self._all_steps = pl_module.all_steps()
        for logger in trainer.loggers:
            if isinstance(logger, ContinuedCSVLogger):
                logger.go_on_at(trainer.global_step)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop: only now has Lightning logged the last batch."""
        if self._stop > _TIME:
            name = signal.Signals(self._stop).name
            rank_zero_info(
                f"{name} after step {trainer.global_step}: saved in {self.folder}; "
                "the same command with ckpt_path=last goes on from there"
            )
            self.obey(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time, or if the run shall stop."""
        self._due = False
        done = batch_idx + 1
        if done == trainer.num_training_batches or done % trainer.accumulate_grad_batches:
            return
        step, every = trainer.global_step, self.every_n_steps
        if trainer.world_size == 1 or step % _ASK_EVERY == 0:
            self._stop = self._asked_to_stop(trainer)
        limited = self._stop_at_limit(trainer)
        periodic = every and step % every == 0 and step != self._saved_at
        self._due = bool(self._stop > _TIME or limited or periodic)
        if self._due and not self._validates_now(trainer, batch_idx):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what was due before a validation within the epoch, which may change the rate."""
        if self._due and trainer.state.fn == "fit":
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save; by the end of the training the averaged weights have replaced the raw ones."""
        if not epoch_is_whole(trainer):  # stopped within it, and saved there
            return
        self._save(trainer)
        self._stop = self._asked_to_stop(trainer)
        if trainer.current_epoch + 1 != trainer.max_epochs:
            self._stop_at_limit(trainer)

    def obey(self, trainer: pl.Trainer) -> None:
        """Stop, if the signal came in the last validation of a training that is over.

        Raises:
            SystemExit: it did.
        """
        if self._stop > _TIME:
            number, self._stop = self._stop, 0
            self._signals.obey(number, first=trainer.is_global_zero)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen no more."""
        self._signals.release()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Listen no more."""
        self._signals.release()

    def _validates_now(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        """Whether a validation comes between this batch and the next one of its epoch."""
        if not trainer.enable_validation or trainer.val_check_batch in (None, float("inf")):
            return False
        every_n_epoch = trainer.check_val_every_n_epoch
        if every_n_epoch is None:  # batches are counted over epochs
            batch_idx = trainer.fit_loop.epoch_loop.total_batch_idx
        elif (trainer.current_epoch + 1) % every_n_epoch:
            return False
        return (batch_idx + 1) % trainer.val_check_batch == 0

    @property
    def stopped(self) -> dict[str, Any] | None:
        """By which option, after which step and of how many (None: there is no end) the training
        was stopped; None if it is over.
        """
        if self.stopped_by is None or self._saved_at >= self._all_steps:
            return None
        endless = self._all_steps == float("inf")
        steps = None if endless else int(self._all_steps)
        return {"by": self.stopped_by, "step": self._saved_at, "steps": steps}

    def _stop_at_limit(self, trainer: pl.Trainer) -> bool:
        """Let Lightning stop after this batch, as it does after its own `max_steps`, if a limit is
        reached; returns whether one is.
        """
        if trainer.fast_dev_run:  # which has limits of its own
            return False
        if 0 <= self.max_steps <= trainer.global_step:
            self.stopped_by = f"trainer.max_steps={self.max_steps}"
        elif self._stop == _TIME and _may_stop(trainer):
            self.stopped_by = f"trainer.max_time={self.clock.max_time}"
        else:
            return False
        trainer.fit_loop.epoch_loop.max_steps = trainer.global_step
        return True

    def _asked_to_stop(self, trainer: pl.Trainer) -> int:
        """The signal that came to any process of the run, else _TIME if it is over for one, or 0;
        the same on all.
        """
        reason = self._signals.received or (_TIME if self.clock.is_over else 0)
        if trainer.world_size == 1:
            return reason
        number = torch.tensor(reason, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(number, reduce_op="max"))

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:
            return
        self._saved_at = trainer.global_step
        path = self.folder / run_folder.checkpoint_name(trainer.current_epoch, self._saved_at)
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            _point_to(path, self.folder / run_folder.LAST)
            self._remove_old()

    def _remove_old(self) -> None:
        """Keep the newest; those of later steps are of a run that was given up, and stay."""
        for unfinished in self.folder.glob(".*.tmp"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)
        steps = {path: run_folder.step_of(path) for path in self.folder.glob("epoch*.ckpt")}
        own = sorted((path for path in steps if steps[path] <= self._saved_at), key=steps.get)
        for path in own[: -self.keep] if self.keep > 0 else ():
            path.unlink(missing_ok=True)


def epoch_is_whole(trainer: pl.Trainer) -> bool:
    """Whether the epoch that just ends has had all its batches."""
    return trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches


def _may_stop(trainer: pl.Trainer) -> bool:
    """Whether the numbers of steps and epochs are reached that the time must not cut short."""
    progress = trainer.fit_loop.epoch_progress.current
    enough_steps = trainer.global_step >= (trainer.min_steps or 0)
    return enough_steps and progress.processed >= (trainer.min_epochs or 0)


def _point_to(path: Path, link: Path) -> None:
    """Make `link` a symbolic link to its neighbour `path`, or a copy where there are none."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(path.name)
    except OSError:
        shutil.copyfile(path, temporary)
    os.replace(temporary, link)
