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
from dact.stopping import StopSignals

#: Steps between two times that the processes of a run ask each other whether a signal came, for
#: which each has to wait for its device.
_ASK_EVERY = 8


class RunCheckpoints(Checkpoint):
    """Saves at the end of each epoch, every so many steps, and when the run is asked to stop.

    Always where the run can be resumed exactly: between optimizer steps, and after the last batch
    of an epoch only once the validation is over.

    Args:
        folder: `checkpoints/` of the run.
        keep: how many of the newest stay; -1: all.
        every_n_steps: training steps between checkpoints within an epoch; None: none there.
    """

    def __init__(self, folder: Path, *, keep: int, every_n_steps: int | None) -> None:
        self.folder = folder
        self.keep = keep
        self.every_n_steps = every_n_steps
        self._signals = StopSignals()
        self._saved_at = -1
        self._stop = 0
        self._due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals, in place of Lightning."""
        self._saved_at = trainer.global_step
        self._signals.watch()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop: only now has Lightning logged the last batch."""
        if self._stop:
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
        self._due = bool(self._stop or (every and step % every == 0 and step != self._saved_at))
        if self._due and not self._validates_now(trainer, batch_idx):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save what was due before a validation within the epoch, which may change the rate."""
        if self._due and trainer.state.fn == "fit":
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save; by the end of the training the averaged weights have replaced the raw ones."""
        self._save(trainer)
        self._stop = self._asked_to_stop(trainer)

    def obey(self, trainer: pl.Trainer) -> None:
        """Stop, if the signal came in the last validation of a training that is over.

        Raises:
            SystemExit: it did.
        """
        if self._stop:
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

    def _asked_to_stop(self, trainer: pl.Trainer) -> int:
        """The signal that came to any process of the run, or 0; the same on all."""
        if trainer.world_size == 1:
            return self._signals.received
        number = torch.tensor(self._signals.received, device=trainer.strategy.root_device)
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


def _point_to(path: Path, link: Path) -> None:
    """Make `link` a symbolic link to its neighbour `path`, or a copy where there are none."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(path.name)
    except OSError:
        shutil.copyfile(path, temporary)
    os.replace(temporary, link)
