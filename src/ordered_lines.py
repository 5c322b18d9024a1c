"""One line per question of a split, written as they are made and put into dataset order."""

import errno
import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from dact.errors import UserError
from dact.lit_module import Prediction
from dact.locks import Lock


class OrderedLines(Callback, ABC):
    """Write lines while a trainer predicts or validates; the file appears when it is whole.

    Each process writes the questions that it gets, in whatever order, into a part of its own.

    Args:
        path: the file.
    """

    #: Option of the command line that gives the path, for messages.
    option: str
    #: What stands before, between and behind the lines.
    frame = ("", "\n", "\n")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path
        self._file: BinaryIO | None = None
        self._lock = Lock(path.with_name(f".{path.name}.lock"), f"{self.option}=PATH")
        self._positions = array("q")
        self._sizes = array("q")

    @abstractmethod
    def lines(self, outputs: Prediction) -> Sequence[str]:
        """The line of each question of a batch."""

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the temporary file of this process.

        Raises:
            UserError: the place cannot be written to, or another run is writing there.
        """
        try:
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if trainer.is_global_zero and not self._lock.acquire():
                raise UserError(
                    f"{self.option}={self.path} is being written by another run: give another path "
                    f"({self._lock.path} is {self._lock.holder() or 'locked'})"
                )
            trainer.strategy.barrier("the file is ours")  # else the parts are those of another run
            self._part = self._part_of(trainer.global_rank)
            self._file = self._part.open("wb")
        except OSError as error:
            raise UserError(
                f"{self.option}={self.path} cannot be written: {error.strerror}"
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
        """Write a batch; that of a process without questions is empty."""
        for line in self.lines(outputs) if len(outputs.positions) else ():
            self._sizes.append(self._file.write(line.encode()))
        self._positions.extend(outputs.positions.tolist())

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Join the parts in dataset order, and give the file its name."""
        self._file.close()
        np.save(_index_of(self._part), np.array([self._positions, self._sizes], np.int64))
        trainer.strategy.barrier("all lines are written")
        if trainer.is_global_zero:
            _join([self._part_of(rank) for rank in range(trainer.world_size)], self.frame)
            os.replace(self._part, self.path)
        self._let_go()

    # Validation hands out the same as prediction.

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See `on_predict_start`."""
        self.on_predict_start(trainer, pl_module)

    def on_validation_batch_end(self, *arguments: Any) -> None:
        """See `on_predict_batch_end`."""
        self.on_predict_batch_end(*arguments)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See `on_predict_end`."""
        self.on_predict_end(trainer, pl_module)

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
        self._let_go()

    def _let_go(self) -> None:
        self._lock.release(remove=True)


def _index_of(part: Path) -> Path:
    """Positions and sizes in bytes of the lines of a part, (2, n)."""
    return part.with_suffix(".npy")


def _join(parts: Sequence[Path], frame: tuple[str, str, str]) -> None:
    """Put the lines of all parts into the order of their positions, into the first of them."""
    indices = [np.load(_index_of(part)) for part in parts]
    positions, sizes = np.concatenate(indices, axis=1)
    starts = np.concatenate([index[1].cumsum() - index[1] for index in indices])
    owner = np.repeat(np.arange(len(parts)), [index.shape[1] for index in indices])
    before, between, behind = (text.encode() for text in frame)
    joined = parts[0].with_suffix(".joined")
    with ExitStack() as stack, joined.open("wb") as file:
        opened = [stack.enter_context(part.open("rb")) for part in parts]
        file.write(before)
        for count, line in enumerate(np.argsort(positions, kind="stable")):
            source = opened[owner[line]]
            source.seek(starts[line])
            file.write(between if count else b"")
            file.write(source.read(sizes[line]))
        file.write(behind if len(positions) or before else b"")
    os.replace(joined, parts[0])
    for part in parts:
        _index_of(part).unlink()
    for part in parts[1:]:
        part.unlink()
