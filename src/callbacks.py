"""What happens around training and prediction."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar
from rich.console import Console
from torch import Tensor

from dact import checkpoint as checkpoints
from dact.errors import UserError

_NEVER = 2**62


class SelfDescribing(Callback):
    """Put the configuration, the vocabulary and the latest results into every checkpoint."""

    def __init__(self, description: checkpoints.Description) -> None:
        self.description = description

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """See Lightning."""
        checkpoint[checkpoints.ENTRY] = checkpoints.entry(self.description, pl_module.results)


class FiniteLoss(Callback):
    """Ends a training whose loss is no number any more, before anything bad is saved.

    The first bad batch is noted on the device, and looked up only where the program waits for the
    device anyway, or on the CPU, where that costs nothing.
    """

    def __init__(self) -> None:
        self._first_bad: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing bad so far."""
        self._first_bad = torch.tensor(_NEVER, device=pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss.

        Raises:
            UserError: it was NaN or infinite.
        """
        place = trainer.current_epoch * trainer.num_training_batches + batch_idx
        bad = ~torch.isfinite(outputs["loss"].detach())
        torch.minimum(self._first_bad, torch.where(bad, place, _NEVER), out=self._first_bad)
        logs = trainer.global_step % trainer.log_every_n_steps == 0
        if logs or (pl_module.device.type == "cpu" and trainer.world_size == 1):
            self._check(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save nothing bad.

        Raises:
            UserError: the loss was NaN or infinite.
        """
        if self._first_bad is not None:
            self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        place = int(trainer.strategy.reduce(self._first_bad.clone(), reduce_op="min"))
        if place == _NEVER:
            return
        epoch, batch = divmod(place, trainer.num_training_batches)
        raise UserError(
            f"the loss of batch {batch} in epoch {epoch} (both counted from 0) is NaN or infinite: "
            f"the checkpoints of before are good; go on from one of them with ckpt_path=PATH and a "
            "lower optimizer.learning_rate or trainer.gradient_clip_val, or look for the cause "
            "with trainer.detect_anomaly=true"
        )


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
