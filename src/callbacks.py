"""What happens around training and prediction."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from rich.console import Console

from dact import checkpoint as checkpoints


class SelfDescribing(Callback):
    """Put the configuration, the vocabulary and the latest results into every checkpoint."""

    def __init__(self, description: checkpoints.Description) -> None:
        self.description = description

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """See Lightning."""
        checkpoint[checkpoints.ENTRY] = checkpoints.entry(self.description, pl_module.results)


class _AtEpochs(ModelCheckpoint):
    """Saves when an epoch ends, and only then."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: by now the raw weights are overwritten by the averaged ones."""


class _BetweenEpochs(_AtEpochs):
    """Saves every so many steps."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing: Lightning would point `last.ckpt` back to the latest of these."""


def checkpoint_callbacks(
    folder: Path, *, keep: int, every_n_steps: int | None
) -> list[ModelCheckpoint]:
    """One checkpoint at the end of each epoch, and one every so many steps if asked for.

    Args:
        folder: `checkpoints/` of the run.
        keep: how many of the newest stay; -1: all.
        every_n_steps: training steps between periodic checkpoints; None: none besides.
    """
    common = {
        "dirpath": folder,
        "filename": "epoch{epoch:02d}-step{step:06d}",
        "auto_insert_metric_name": False,
        "monitor": "step",
        "mode": "max",
        "save_top_k": keep,
        "save_last": "link",
        "enable_version_counter": False,
        "save_on_train_epoch_end": True,
    }
    epochs = _AtEpochs(**common, every_n_epochs=1)
    if every_n_steps is None:
        return [epochs]
    return [epochs, _BetweenEpochs(**common, every_n_train_steps=every_n_steps)]


class EpochSummary(Callback):
    """One line per epoch, which stays where a progress bar does not: in a file, or scrolled by."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print accuracy and steps of the validation that just ran."""
        if trainer.is_global_zero and "all" in pl_module.results:
            means = pl_module.results["all"]
            Console().print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: validation accuracy "
                f"{100 * means.accuracy:.1f} %, mean steps {means.steps:.2f}",
                highlight=False,
            )


def progress_bar(enabled: bool | None) -> list[Callback]:
    """A rich progress bar, unless switched off or written to a file."""
    if enabled is False or not Console().is_terminal:
        return []
    return [RichProgressBar(refresh_rate=10, leave=False)]
