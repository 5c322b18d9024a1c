"""The network under Lightning: loss, metrics, optimizer and schedule."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dact.batch import VQABatch
from dact.losses import answer_loss, total_loss
from dact.metrics import Agreement, AnswerMetrics, GroupMeans, LossMeans
from dact.models.network import MACNetwork, VQAOutput
from dact.optimizers import make_adam
from dact.schedules import StepLambdaLR, trapezoid


class Prediction(NamedTuple):
    """What is known of the questions of a batch once they are answered."""

    positions: Tensor
    """(B,) int64, in the split."""
    answers: Tensor
    """(B,) int64, the likeliest answer."""
    confidences: Tensor
    """(B,) in 0..1, its probability."""
    steps: Tensor
    """(B,) int64 in 1..N."""
    attention: Tensor | None = None
    """(B, K) knowledge attention of the step that answered, where it is asked for."""


class VQALitModule(pl.LightningModule):
    """Trains and evaluates a network; knows neither Hydra nor any dataset.

    Every training step seeds its own randomness from `seed`, the epoch, the batch and the process,
    so that a resumed run draws the same dropout masks as one that was never stopped.

    Args:
        network: answers a `VQABatch`.
        ponder_cost: τ, weight of the ponder cost in the loss; may change while training.
        type_names: names of the question types, by id.
        learning_rate: of Adam.
        gate_learning_rate: own rate of the memory gate or halting unit; None: the same.
        schedule: plateau (halve when validation accuracy stalls), trapezoid (warm up, hold, decay
            linearly to zero) or constant.
        warmup: trapezoid: share of all steps.
        decay: trapezoid: share of all steps.
        max_steps: trapezoid: all steps, of a training without a number of epochs; -1: it has no
            end, and the rate stays where it is.
        seed: of the dropout masks.
    """

    def __init__(
        self,
        network: MACNetwork,
        *,
        ponder_cost: float,
        type_names: Sequence[str],
        learning_rate: float = 1e-4,
        gate_learning_rate: float | None = None,
        schedule: str = "plateau",
        warmup: float = 0.05,
        decay: float = 0.5,
        max_steps: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.ponder_cost = ponder_cost
        self.learning_rate = learning_rate
        self.gate_learning_rate = gate_learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.decay = decay
        self.max_steps = max_steps
        self.seed = seed
        self.val_metrics = AnswerMetrics(type_names, network.max_steps)
        self.test_metrics = AnswerMetrics(type_names, network.max_steps)
        self.losses = LossMeans()
        self.agreement: Agreement | None = None
        """If given, evaluation also takes all steps, and counts where that changes the answer."""
        self.agreed: float | None = None
        """Share of questions with the same answer, where it was asked for."""
        self.results: dict[str, GroupMeans] = {}
        self.plateau: ReduceLROnPlateau | None = None
        self._total_steps: float | None = None
        self.attentive = False
        """Whether evaluation hands out attention; nobody leaves a batch then, so it is slower."""

    def forward(self, batch: VQABatch) -> VQAOutput:
        """Answer a batch."""
        return self.network(batch)

    def on_train_epoch_start(self) -> None:
        """Results are those of the epoch's own validation, if it has one."""
        self.results = {}

    def on_train_batch_start(self, batch: VQABatch, batch_idx: int) -> None:
        """Make the step's randomness a function of seed, epoch, batch and process."""
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        # Not torch.manual_seed, which takes a stack trace for each kind of device there might be.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: VQABatch, batch_idx: int) -> dict[str, Tensor]:
        """Answer loss plus weighted ponder cost, and the mean steps."""
        output = self.network(batch)
        nll = answer_loss(output.log_probs, batch.answers)
        loss = total_loss(nll, output.ponder_cost, self.ponder_cost)
        steps = output.steps.float().mean()
        every = self.trainer.log_every_n_steps  # 0: never
        if every and (self.global_step + 1) % every == 0:  # as Lightning counts
            right = (output.log_probs.argmax(-1) == batch.answers).float().mean()
            size = len(batch.answers)
            self.log("train/loss", loss, batch_size=size)
            self.log("train/accuracy", right, prog_bar=True, batch_size=size)
            self.log("train/steps", steps, prog_bar=True, batch_size=size)
            self.log("train/ponder_cost", output.ponder_cost.mean(), batch_size=size)
            self.log("train/ponder_weight", self.ponder_cost, batch_size=size)
        return {"loss": loss, "steps": steps}

    def validation_step(self, batch: VQABatch, batch_idx: int) -> Prediction:
        """Answer a batch and count it."""
        return self._evaluate(batch, self.val_metrics)

    def test_step(self, batch: VQABatch, batch_idx: int) -> Prediction:
        """As in validation."""
        return self._evaluate(batch, self.test_metrics)

    def predict_step(self, batch: VQABatch, batch_idx: int) -> Prediction:
        """Answer a batch."""
        return self._prediction(batch, self._answer(batch))

    def _prediction(self, batch: VQABatch, output: VQAOutput) -> Prediction:
        best, attention = output.log_probs.max(-1), None
        if output.trace is not None:
            rows = torch.arange(len(output.steps), device=output.steps.device)
            attention = output.trace.knowledge_attention[rows, output.steps - 1]
        return Prediction(batch.positions, best.indices, best.values.exp(), output.steps, attention)

    def _evaluate(self, batch: VQABatch, metrics: AnswerMetrics) -> Prediction:
        output = self._answer(batch)
        for metric in (metrics, self.losses):
            metric.update(batch, output)
        if self.agreement is not None and len(batch.answers):
            self.agreement.update(output, self.network.answer_in_full(batch))
        return self._prediction(batch, output)

    def _answer(self, batch: VQABatch) -> VQAOutput:
        """What the network says, also about the empty batch of a process without questions."""
        if len(batch.answers):
            return self.network(batch, trace=self.attentive)
        nothing = batch.answers
        return VQAOutput(nothing.new_empty(0, 1, dtype=torch.float32), nothing.float(), nothing)

    def _finish(self, metrics: AnswerMetrics, stage: str) -> None:
        self.results, steps_taken = metrics.compute()
        metrics.reset()
        for name, mean in self.losses.compute().items():
            self.log(f"{stage}/{name}", mean)
        self.losses.reset()
        if self.agreement is not None:
            self.agreed = self.agreement.compute()
            self.agreement.reset()
            self.log(f"{stage}/agreement", self.agreed)
        for name, means in self.results.items():
            suffix = "" if name == "all" else f"/{name}"
            overall = name == "all"
            self.log(f"{stage}/accuracy{suffix}", means.accuracy, prog_bar=overall)
            self.log(f"{stage}/steps{suffix}", means.steps, prog_bar=overall)
        step = max(self.global_step - 1, 0)  # where Lightning puts what is logged above
        for logger in [] if self.trainer.sanity_checking else self.loggers:
            if hasattr(logger, "log_histogram"):
                logger.log_histogram(f"{stage}/steps_taken", steps_taken, step)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; in a fit, let the plateau schedule see the accuracy.

        The schedule is stepped here rather than by Lightning, which steps it after the epoch's
        checkpoint is written and not at all when that checkpoint is resumed from.
        """
        self._finish(self.val_metrics, "val")
        if self.plateau is not None and not self.trainer.sanity_checking:
            self.plateau.step(self.results["all"].accuracy)

    def on_test_epoch_end(self) -> None:
        """Log the metrics."""
        self._finish(self.test_metrics, "test")

    def configure_optimizers(self) -> Any:
        """Adam over what is trained, with an own group for the gate if it has an own rate."""
        gate = self.network.gate
        trained = [p for p in self.network.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained}]
        if gate is not None and self.gate_learning_rate is not None:
            own = set(gate.parameters())
            groups = [
                {"params": [p for p in trained if p not in own]},
                {"params": list(gate.parameters()), "lr": self.gate_learning_rate},
            ]
        mixed = self.trainer.precision in ("16-mixed", "bf16-mixed")
        fused = self.device.type == "cpu" and not mixed
        optimizer = make_adam(groups, learning_rate=self.learning_rate, fused=fused)
        if self.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(
                optimizer, mode="max", factor=0.5, patience=0, threshold=1e-3
            )
        if self.schedule != "trapezoid":
            return optimizer
        self._total_steps = None
        scheduler = StepLambdaLR(optimizer, self._trapezoid)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _trapezoid(self, step: int) -> float:
        """Factor of the rate; 0 until `on_train_start`, when the number of steps is known."""
        if self._total_steps is None:
            return 0.0
        if self._total_steps == math.inf:
            return 1.0
        return trapezoid(step, self._total_steps, warmup=self.warmup, decay=self.decay)

    def all_steps(self) -> float:
        """Steps that are done and those that follow, to the end of the last epoch.

        Of a run that was resumed with epochs of another length, as on another number of processes,
        the schedule still ends with the training.
        """
        trainer = self.trainer
        if trainer.max_epochs == -1:
            return math.inf if self.max_steps == -1 else self.max_steps
        every = trainer.accumulate_grad_batches
        per_epoch = math.ceil(trainer.num_training_batches / every)
        epochs = trainer.fit_loop.epoch_progress.current
        in_epoch = 0
        if epochs.ready > epochs.processed:  # resumed within one
            in_epoch = math.ceil((trainer.fit_loop.batch_idx + 1) / every)
        left = per_epoch * (trainer.max_epochs - epochs.processed) - in_epoch
        return trainer.global_step + left

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the plateau schedule."""
        if self.plateau is not None:
            checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the plateau schedule once the optimizer is there."""
        self._plateau_state = checkpoint.get("plateau")

    def on_train_start(self) -> None:
        """Restore the plateau schedule of a resumed run; begin or go on with the trapezoid.

        Asked for the number of steps any earlier, Lightning would open the training data before it
        restores the place in them of a resumed run, and begin the epoch anew.
        """
        state = getattr(self, "_plateau_state", None)
        if self.plateau is not None and state is not None:
            self.plateau.load_state_dict(state)
        if self.schedule == "trapezoid":
            self._total_steps = self.all_steps()
            schedule = self.lr_schedulers()
            factor = self._trapezoid(schedule.last_epoch)
            for group, rate in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
                group["lr"] = rate * factor
