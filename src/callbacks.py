"""What happens around training and prediction."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar
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
