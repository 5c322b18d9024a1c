"""Which examples, in which order, and a loader that can go on in the middle of an epoch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, DistributedSampler

from dact.batch import VQABatch
from dact.errors import UserError

from .collate import VQADataset
from .orders import Order, by_image, share_of, training_order
from .worker_errors import send_errors, shortage_in_one_line, what_is_short
from .worker_signals import held_back, ignored_in_worker

_OPTION = "data.num_workers"
#: Among what the order of an epoch depends on.
PROCESSES = "number of processes (trainer.devices times trainer.num_nodes)"


class ShardSampler(DistributedSampler):
    """The examples of one process, in an order that depends on seed and epoch alone.

    Shuffled, as in training, all processes get the same number: the first examples of the epoch
    fill up the last ones. In a fixed order, as in evaluation, every example belongs to exactly
    one process. Being a `DistributedSampler`, it is not replaced by Lightning, whose own one
    repeats examples in evaluation.

    Args:
        size: number of examples.
        shuffle: a new order each epoch (`set_epoch`), else the one in which the questions of an
            image meet, which is dataset order if they do so there.
        seed: of the orders.
        rank: this process, in 0..world_size-1.
        world_size: number of processes.
        batch_size: examples of a batch of one process.
        image_rows: (size,) image of each example; None: nothing is known of them.
        lengths: (size,) to shuffle batches of examples of similar lengths; None: not.
        questions_per_image: shuffled: questions about an image that stay together.
        same_epochs: shuffled: every epoch has the order of the first.
    """

    def __init__(
        self,
        size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        *,
        batch_size: int = 1,
        image_rows: NDArray[np.integer] | None = None,
        lengths: NDArray[np.integer] | None = None,
        questions_per_image: int = 1,
        same_epochs: bool = False,
    ) -> None:
        super().__init__(range(size), world_size, rank, shuffle, seed)
        self._batch_size = batch_size
        self._grouping: dict[str, Any] = {
            "image_rows": image_rows,
            "lengths": lengths,
            "questions_per_image": questions_per_image,
        }
        self._in_order = None if shuffle or image_rows is None else by_image(image_rows)
        self._same_epochs = same_epochs
        self._skip = 0

    @classmethod
    def of(
        cls, dataset: VQADataset, shuffle: bool, *args: Any, group_by_length: bool, **kwargs: Any
    ) -> "ShardSampler":
        """The sampler of a dataset; the other arguments are those of the class.

        Args:
            dataset: what is sampled from.
            shuffle: see the class.
            *args: see the class.
            group_by_length: shuffled: batches of questions of similar lengths.
            **kwargs: see the class.
        """
        questions = dataset.questions
        grouped = shuffle and group_by_length
        kwargs["image_rows"] = dataset.of_examples(questions.image_rows)
        kwargs["lengths"] = dataset.of_examples(questions.lengths) if grouped else None
        return cls(len(dataset), shuffle, *args, **kwargs)

    @property
    def order_options(self) -> dict[str, Any]:
        """All that the order of an epoch depends on, but its number; names as for the user."""
        return {
            PROCESSES: self.num_replicas,
            "seed": self.seed,
            "data.batch_size": self._batch_size,
            "data.group_by_length": self._grouping["lengths"] is not None,
            "data.questions_per_image": self._grouping["questions_per_image"],
            "trainer.overfit_batches": self._same_epochs,
            "number of questions": len(self.dataset),
        }

    def skip_once(self, count: int) -> None:
        """Leave out the first `count` examples of this process the next time."""
        self._skip = count

    def __iter__(self) -> Iterator[int]:
        order = share_of(self._order(), self._batch_size, self.rank, self.num_replicas)
        skip, self._skip = self._skip, 0
        return map(int, order[skip:])  # a list of Python's integers would take eight times as much

    def __len__(self) -> int:
        size = len(self.dataset)
        if self.shuffle:
            return -(-size // self.num_replicas)
        together = self._batch_size * self.num_replicas
        rest = size % together
        own = rest // self.num_replicas + (self.rank < rest % self.num_replicas)
        return size // together * self._batch_size + own

    def _order(self) -> Order:
        size = len(self.dataset)
        if not self.shuffle:
            return np.arange(size) if self._in_order is None else self._in_order
        rng = np.random.default_rng([self.seed, 0 if self._same_epochs else self.epoch])
        together = self._batch_size * self.num_replicas
        order = training_order(size, together, rng, **self._grouping)
        return np.resize(order, len(self) * self.num_replicas)


class VQALoader(DataLoader):
    """A `DataLoader` over a `ShardSampler` whose place in the epoch can be saved and restored.

    A mistake found in a worker process is raised as the same one-line `UserError` as without. A
    process without examples, where there are fewer than processes, gets one batch of none: it has
    to be there when the others put their results together.
    """

    _batches_done = 0
    _batches_to_skip = 0
    _batches_per_epoch: int | None = None

    def __len__(self) -> int:
        return max(super().__len__(), 1)

    def __iter__(self) -> Iterator[VQABatch]:  # type: ignore[override]
        if len(self.sampler) == 0:
            yield VQABatch(*(part[:0] for part in self.dataset[0]))
            return
        # A generator starts at the first batch: by then Lightning has set the sampler's epoch.
        self._batches_done, self._batches_to_skip = self._batches_to_skip, 0
        if self._batches_done:
            self.sampler.skip_once(self._batches_done * self.batch_size)
        try:
            with shortage_in_one_line(_OPTION, self.num_workers):
                with held_back():  # a first epoch starts the workers
                    batches = super().__iter__()
                for batch in batches:
                    self._batches_done += 1
                    yield batch
        except UserError as error:
            self._end_workers()
            raise UserError(_innermost(error)) from error

    def _end_workers(self) -> None:
        """Shut the workers down at once; garbage collection would wait for them for seconds."""
        if self.num_workers and self._iterator is not None:
            self._iterator._shutdown_workers()
            self._iterator = None

    def end_epochs_early(self, limit: int | float) -> None:
        """An epoch is finished after `limit` batches, or after this share of them in 0..1."""
        batches = limit if isinstance(limit, int) else int(limit * len(self))
        self._batches_per_epoch = min(batches, len(self))

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches given out in it, and what their order depends on."""
        order = self.sampler.order_options
        return {"epoch": self.sampler.epoch, "batches": self._batches_done, "order": order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches that `state` counts, or with the epoch that follows them."""
        finished = state["batches"] >= (self._batches_per_epoch or len(self))
        self.sampler.set_epoch(state["epoch"] + finished)
        self._batches_to_skip = 0 if finished else state["batches"]


@contextmanager
def dead_workers_in_one_line(
    option: str = _OPTION, go_on: str = "a training goes on with ckpt_path=last"
) -> Iterator[None]:
    """Around all that uses workers of a loader.

    PyTorch learns of a worker's death by a signal, and raises wherever the program is just then:
    also in the middle of a step, or while a checkpoint is written.

    Args:
        option: of the number of workers, for the message.
        go_on: how to go on afterwards, for the message.

    Raises:
        UserError: instead of PyTorch's `RuntimeError`.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        said = what_is_short(error, option) or (
            f"a process that makes batches died ({' '.join(str(error).split())}): if memory ran "
            f"out, take fewer {option}"
        )
        raise UserError(f"{said}; {go_on}") from error


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
        worker_init_fn=_begin_worker,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own generator: making an iterator must not move the random numbers of the model.
        generator=torch.Generator().manual_seed(sampler.seed),
    )


def _begin_worker(worker: int) -> None:
    ignored_in_worker(worker)
    send_errors()


def _keep(batch: VQABatch) -> VQABatch:
    """The collate function: the dataset has made the batch already."""
    return batch


def _innermost(error: UserError) -> str:
    """The message proper: PyTorch puts the traceback of a worker process before it."""
    return str(error).rstrip().rpartition(f"{UserError.__name__}: ")[2]
