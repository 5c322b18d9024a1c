"""Which examples, in which order, and a loader that can go on in the middle of an epoch."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, DistributedSampler

from dact.batch import VQABatch
from dact.errors import UserError

from .collate import VQADataset


def choose_images(
    image_rows: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.int64] | None:
    """Positions of all questions about a random part of the images; None for all of them.

    Args:
        image_rows: (Q,) image of each question.
        fraction: part of the images, in (0, 1]; at least one image is chosen.
        seed: of the choice. With one seed, a smaller fraction is part of a larger one.
    """
    if fraction == 1:
        return None
    images = np.random.default_rng(seed).permutation(np.unique(image_rows))
    chosen = images[: max(1, round(fraction * len(images)))]
    return np.flatnonzero(np.isin(image_rows, chosen))


#: Batches that are sorted by length together.
WINDOW = 50


def group_by_length(
    order: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_size: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Reorder examples so that those of a batch have similar lengths, which saves padding.

    Windows of `WINDOW` batches are sorted by length and cut into batches, whose order is then
    shuffled over the whole epoch; an incomplete batch stays the last.

    Args:
        order: (n,) a random order of examples.
        lengths: length of each example.
        batch_size: examples of a batch, over all processes.
        rng: shuffles the batches.
    """
    window = WINDOW * batch_size
    starts = range(0, len(order), window)
    parts = [order[start : start + window] for start in starts]
    ordered = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    whole = len(order) // batch_size * batch_size
    batches = rng.permutation(ordered[:whole].reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), ordered[whole:]])


class ShardSampler(DistributedSampler):
    """The examples of one process, in an order that depends on seed and epoch alone.

    Shuffled, as in training, all processes get the same number: the first examples of the epoch
    fill up the last ones. In dataset order, as in evaluation, every example belongs to exactly
    one process. Being a `DistributedSampler`, it is not replaced by Lightning, whose own one
    repeats examples in evaluation.

    Args:
        size: number of examples.
        shuffle: a new order each epoch (`set_epoch`), else dataset order.
        seed: of the orders.
        rank: this process, in 0..world_size-1.
        world_size: number of processes.
        lengths: lengths of the examples, to shuffle batches of similar lengths; None: not.
        batch_size: with `lengths`: examples of a batch of one process.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        lengths: NDArray[np.int64] | None = None,
        batch_size: int = 1,
    ) -> None:
        super().__init__(range(size), world_size, rank, shuffle, seed)
        self._lengths = lengths
        self._batch_size = batch_size * world_size
        self._skip = 0

    def skip_once(self, count: int) -> None:
        """Leave out the first `count` examples of this process the next time."""
        self._skip = count

    def __iter__(self) -> Iterator[int]:
        order = self._order()[self.rank :: self.num_replicas]
        skip, self._skip = self._skip, 0
        return iter(order[skip:].tolist())

    def __len__(self) -> int:
        size = len(self.dataset)
        surplus = size % self.num_replicas
        return size // self.num_replicas + (surplus > 0 if self.shuffle else self.rank < surplus)

    def _order(self) -> np.ndarray:
        size = len(self.dataset)
        if not self.shuffle:
            return np.arange(size)
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(size)
        if self._lengths is not None:
            order = group_by_length(order, self._lengths, self._batch_size, rng)
        return np.resize(order, len(self) * self.num_replicas)


class VQALoader(DataLoader):
    """A `DataLoader` over a `ShardSampler` whose place in the epoch can be saved and restored.

    A mistake found in a worker process is raised as the same one-line `UserError` as without.
    """

    _batches_done = 0
    _batches_to_skip = 0

    def __iter__(self) -> Iterator[VQABatch]:  # type: ignore[override]
        # A generator starts at the first batch: by then Lightning has set the sampler's epoch.
        self._batches_done, self._batches_to_skip = self._batches_to_skip, 0
        if self._batches_done:
            self.sampler.skip_once(self._batches_done * self.batch_size)
        try:
            for batch in super().__iter__():
                self._batches_done += 1
                yield batch
        except UserError as error:
            raise UserError(_innermost(error)) from error

    def state_dict(self) -> dict[str, Any]:
        """Epoch, and batches given out in it."""
        return {"epoch": self.sampler.epoch, "batches": self._batches_done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches that `state` counts, or with the epoch that follows them."""
        finished = state["batches"] >= len(self)
        self.sampler.set_epoch(state["epoch"] + finished)
        self._batches_to_skip = 0 if finished else state["batches"]


def available_cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def make_loader(
    dataset: VQADataset, sampler: ShardSampler, batch_size: int, num_workers: int
) -> VQALoader:
    """A loader that asks the dataset once per batch and drops nothing.

    More workers than cores would only slow each other down: no more are started.
    """
    num_workers = min(num_workers, available_cores())
    return VQALoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=_keep,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own generator: making an iterator must not move the random numbers of the model.
        generator=torch.Generator().manual_seed(sampler.seed),
    )


def _keep(batch: VQABatch) -> VQABatch:
    """The collate function: the dataset has made the batch already."""
    return batch


def _innermost(error: UserError) -> str:
    """The message proper: PyTorch puts the traceback of a worker process before it."""
    return str(error).rstrip().rpartition(f"{UserError.__name__}: ")[2]
