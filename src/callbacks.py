"""What happens around training and prediction."""

import errno
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from rich.console import Console

from dact import checkpoint as checkpoints
from dact.errors import UserError


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


class PredictionWriter(Callback):
    """Write one JSON line per question, in dataset order; the file appears when it is whole.

    Several processes, to which the questions are dealt out in turn, write a part each.

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
        self._part = path
        self._file: Any = None

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the temporary file of this process.

        Raises:
            UserError: the place cannot be written to.
        """
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part = self._part_of(trainer.global_rank)
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"predictions={self.path} cannot be written: {error.strerror}"
            ) from error

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
        """Join the parts, and give the file its name."""
        self._file.close()
        trainer.strategy.barrier("predictions are written")
        if trainer.is_global_zero:
            parts = [self._part_of(rank) for rank in range(trainer.world_size)]
            if len(parts) > 1:
                _deal_back(parts)
            os.replace(self._part, self.path)

    def _part_of(self, rank: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{rank}.tmp")

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leave nothing half-written."""
        if self._file is not None:
            self._file.close()
            self._part.unlink(missing_ok=True)


def _deal_back(parts: Sequence[Path]) -> None:
    """Join files whose lines were dealt out in turn, into the first of them; remove the others."""
    joined = parts[0].with_suffix(".joined.tmp")
    with ExitStack() as stack, joined.open("w", encoding="utf-8") as file:
        opened = [stack.enter_context(part.open(encoding="utf-8")) for part in parts]
        for lines in zip_longest(*opened, fillvalue=""):
            file.writelines(lines)
    os.replace(joined, parts[0])
    for part in parts[1:]:
        part.unlink()
