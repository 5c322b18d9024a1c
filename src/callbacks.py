"""What happens around training and prediction."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar
from rich.console import Console
from torch import Tensor
from torch.nn.utils import get_total_norm

from dact import checkpoint as checkpoints
from dact.errors import UserError
from dact.options import LARGEST_ADAPTED_COST
from dact.saving import epoch_is_whole

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


class FiniteTraining(Callback):
    """Ends a training whose loss or weights are no numbers any more, before they do any harm.

    Weights may go bad under a good loss: of an infinite gradient Adam makes NaN, and the embedding
    of a rare word is not met again for long. Nothing bad is validated, saved or kept for others.

    The first bad batch is noted on the device, and looked up only where the program waits for the
    device anyway, or on the CPU, where that costs nothing.
    """

    def __init__(self) -> None:
        self._first_bad: Tensor | None = None
        """Twice the number of the batch; plus one if its loss was good, but not what it made."""

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
        """Look at the loss, and at the weights after the step.

        Raises:
            UserError: something is NaN or infinite.
        """
        place = 2 * (trainer.current_epoch * trainer.num_training_batches + batch_idx)
        good = torch.isfinite(get_total_norm(list(pl_module.parameters())))
        bad = torch.where(good, _NEVER, place + 1)
        bad = torch.where(torch.isfinite(outputs["loss"].detach()), bad, place)
        torch.minimum(self._first_bad, bad, out=self._first_bad)
        every = trainer.log_every_n_steps  # 0: never
        logs = every and trainer.global_step % every == 0
        if logs or self._costs_nothing(trainer):
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate nothing bad.

        Raises:
            UserError: something is NaN or infinite.
        """
        self._check(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save nothing bad.

        Raises:
            UserError: something is NaN or infinite.
        """
        self._check(trainer)

    @staticmethod
    def _costs_nothing(trainer: pl.Trainer) -> bool:
        return trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1

    def _check(self, trainer: pl.Trainer) -> None:
        if self._first_bad is None:  # before training
            return
        found = int(trainer.strategy.reduce(self._first_bad.clone(), reduce_op="min"))
        if found == _NEVER:
            return
        place, only_weights = divmod(found, 2)
        epoch, batch = divmod(place, trainer.num_training_batches)
        what = "weights after" if only_weights else "loss of"
        raise UserError(
            f"the {what} batch {batch} in epoch {epoch} (both counted from 0) "
            f"{'are' if only_weights else 'is'} NaN or infinite: the checkpoints of before are "
            "good; go on from one of them with ckpt_path=PATH and a lower optimizer.learning_rate "
            "or trainer.gradient_clip_val, or look for the cause with trainer.detect_anomaly=true"
        )


class PonderBudget(Callback):
    """Adapts the weight τ of the ponder cost until questions take a given number of steps.

    Dual ascent on the constraint E[steps] = target, whose multiplier is τ, with a proportional term
    against swinging (Stooke et al. 2020, arXiv 2007.03964): after each batch, with e = mean steps -
    target and the optimizer's learning rate η,

        I += rate · η · e, within ±`LARGEST_ADAPTED_COST`,    τ = I + gain · e.

    Steps are those that evaluation would take (`Halted.steps`), but of the present weights and with
    dropout, while evaluation has averaged weights and none. τ may become negative, a reward: where
    a network has learned to halt early, a price of zero alone does not make it think longer again.

    Args:
        target_steps: in 1..N.
        rate: of I, relative to the learning rate.
        gain: of the proportional term.
    """

    def __init__(self, target_steps: float, rate: float, gain: float) -> None:
        self.target_steps = target_steps
        self.rate = rate
        self.gain = gain
        self.cost: float | None = None
        """The present τ; None before training."""
        self._integral: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """I and τ, which a resumed run goes on with."""
        return {"integral": self._integral, "ponder_cost": self.cost}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self._integral, self.cost = state_dict["integral"], state_dict["ponder_cost"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the module's τ, or go on with that of the checkpoint."""
        if self._integral is None:
            self._integral = self.cost = pl_module.ponder_cost
        pl_module.ponder_cost = self.cost

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Adapt τ, alike on all processes."""
        steps = outputs["steps"]
        if trainer.world_size > 1:
            steps = trainer.strategy.reduce(steps, reduce_op="mean")
        excess = float(steps) - self.target_steps
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        moved = self._integral + self.rate * learning_rate * excess
        self._integral = min(max(moved, -LARGEST_ADAPTED_COST), LARGEST_ADAPTED_COST)
        self.cost = pl_module.ponder_cost = self._integral + self.gain * excess


class EpochSummary(Callback):
    """One line per epoch, which stays where a progress bar does not: in a file, or scrolled by."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print accuracy and steps of the validation that just ran."""
        if trainer.is_global_zero and "all" in pl_module.results and epoch_is_whole(trainer):
            means = pl_module.results["all"]
            of = "" if trainer.max_epochs == -1 else f"/{trainer.max_epochs}"
            Console().print(
                f"epoch {trainer.current_epoch + 1}{of}: validation accuracy "
                f"{100 * means.accuracy:.1f} %, mean steps {means.steps:.2f}",
                highlight=False,
            )


def progress_bar(enabled: bool | None) -> list[Callback]:
    """A rich progress bar, unless switched off or written to a file."""
    if enabled is False or not Console().is_terminal:
        return []
    return [RichProgressBar(refresh_rate=10, leave=False)]
