"""What happens around training and prediction."""

import json
import os
from collections.abc import Callable, Sequence
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
    }
    epochs = ModelCheckpoint(**common, every_n_epochs=1, save_on_train_epoch_end=True)
    if every_n_steps is None:
        return [epochs]
    return [epochs, ModelCheckpoint(**common, every_n_train_steps=every_n_steps)]


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


class PredictionWriter(Callback):
    """Write one JSON line per question, in dataset order; the file appears when it is whole.

    Args:
        path: the file.
        records: positions in the split → records with question_id, image, question and answer.
        answer_names: answers by id.
    """

    def __init__(
        self,
        path: Path,
        records: Callable[[Sequence[int]], Sequence[Any]],
        answer_names: Sequence[str],
    ) -> None:
        self.path = path
        self.records = records
        self.answer_names = answer_names
        self._temporary = path.with_name(path.name + ".tmp")
        self._file: Any = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the temporary file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._temporary.open("w", encoding="utf-8")

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch."""
        positions, answers, confidences, steps = (part.tolist() for part in outputs)
        for record, answer, confidence, taken in zip(
            self.records(positions), answers, confidences, steps, strict=True
        ):
            line = self._line(record, answer, confidence, taken)
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _line(self, record: Any, answer: int, confidence: float, steps: int) -> dict[str, Any]:
        line = {
            "question_id": record.question_id,
            "image": record.image,
            "question": record.question,
            "prediction": self.answer_names[answer],
            "confidence": round(confidence, 6),
            "steps": steps,
        }
        return line if record.answer is None else {**line, "answer": record.answer}

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the file its name."""
        self._file.close()
        os.replace(self._temporary, self.path)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing half-written."""
        if self._file is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
