"""Predictions of a split, written as they are made and put into dataset order."""

import errno
import json
import os
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from dact.errors import UserError


class PredictionWriter(Callback):
    """Write one JSON line per question, in dataset order; the file appears when it is whole.

    Each process writes the questions that it gets, in whatever order, into a part of its own.

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
        self._positions = array("q")
        self._sizes = array("q")

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
            self._file = self._part.open("wb")
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
            text = json.dumps(line, ensure_ascii=False) + "\n"
            self._sizes.append(self._file.write(text.encode()))
        self._positions.extend(positions)

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
        """Join the parts in dataset order, and give the file its name."""
        self._file.close()
        index = np.array([self._positions, self._sizes])
        np.save(_index_of(self._part), index)
        trainer.strategy.barrier("predictions are written")
        if trainer.is_global_zero:
            parts = [self._part_of(rank) for rank in range(trainer.world_size)]
            _join(parts)
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
            _index_of(self._part).unlink(missing_ok=True)


def _index_of(part: Path) -> Path:
    """Positions and sizes in bytes of the lines of a part, (2, n)."""
    return part.with_suffix(".npy")


def _join(parts: Sequence[Path]) -> None:
    """Put the lines of all parts into the order of their positions, into the first of them."""
    indices = [np.load(_index_of(part)) for part in parts]
    positions = np.concatenate([index[0] for index in indices])
    if len(parts) > 1 or (np.diff(positions) < 0).any():
        sizes = np.concatenate([index[1] for index in indices])
        starts = np.concatenate([index[1].cumsum() - index[1] for index in indices])
        owner = np.repeat(np.arange(len(parts)), [index.shape[1] for index in indices])
        joined = parts[0].with_suffix(".joined")
        with ExitStack() as stack, joined.open("wb") as file:
            opened = [stack.enter_context(part.open("rb")) for part in parts]
            for line in np.argsort(positions, kind="stable"):
                source = opened[owner[line]]
                source.seek(starts[line])
                file.write(source.read(sizes[line]))
        os.replace(joined, parts[0])
    for part in parts:
        _index_of(part).unlink()
    for part in parts[1:]:
        part.unlink()
