"""Where in its training a checkpoint was written, and whether a run can go on from there."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dact.datamodules import VQADataModule
from dact.datamodules.loaders import PROCESSES
from dact.errors import UserError
from dact.schema import TrainerConfig


class Place(NamedTuple):
    """A place between two optimizer steps of a training."""

    step: int
    """Optimizer steps done."""
    epochs: int
    """Epochs done."""
    batches: int
    """Batches done of the epoch that follows; 0 at its begin."""
    order: Mapping[str, Any] | None
    """What the order of the examples in this epoch depends on; None: the checkpoint is older."""


def place_of(saved: Mapping[str, Any]) -> Place:
    """The place of a loaded checkpoint of a training."""
    loop = saved["loops"]["fit_loop"]
    epochs = loop["epoch_progress"]["current"]
    within = epochs["ready"] > epochs["processed"]
    batches = loop["epoch_loop.batch_progress"]["current"]["processed"] if within else 0
    (loader,) = loop["state_dict"].get("combined_loader") or [{}]
    return Place(saved["global_step"], epochs["processed"], batches, loader.get("order"))


def training_order(
    data: VQADataModule, processes: int, limit: int | float | None
) -> tuple[dict[str, Any], int]:
    """What the order of the training examples depends on, and the batches of an epoch.

    Args:
        data: set up, and of no trainer yet.
        processes: of the training.
        limit: batches of an epoch, or share of them; None: all.
    """
    order = data.train_dataloader().sampler.order_options | {PROCESSES: processes}
    batches = math.ceil(math.ceil(order["number of questions"] / processes) / data.batch_size)
    share = 1.0 if limit is None else limit
    return order, min(share if isinstance(share, int) else int(share * batches), batches)


def check_place(
    place: Place, trainer: TrainerConfig, data: VQADataModule, processes: int, *, source: Path
) -> None:
    """Refuse to go on where examples of the epoch would be left out or met twice.

    Args:
        place: of the checkpoint.
        trainer: of this run.
        data: of this run, set up.
        processes: of this run.
        source: the checkpoint, for the message.

    Raises:
        UserError: the number of epochs is exceeded, or the rest of the epoch would be another one.
    """
    most = trainer.max_epochs
    if most is not None and most >= 0 and place.epochs + (place.batches > 0) > most:
        begun = f" and {place.batches} batches of the next" if place.batches else ""
        raise UserError(
            f"{source} has done {place.epochs} epochs{begun}, more than trainer.max_epochs={most}: "
            "give more epochs, or evaluate the checkpoint with mode=validate"
        )
    if not place.batches:
        return
    where = f"{source} was written within epoch {place.epochs + 1}, after {place.batches} batches"
    way = "; or go on from a checkpoint at the end of an epoch, if there is one (ckpt_path=PATH)"
    limit = trainer.overfit_batches or trainer.limit_train_batches
    order, number = training_order(data, processes, limit)
    for name, was in (place.order or {}).items():
        if order[name] != was:
            raise UserError(
                f"{where}, with {name} {was}, not {order[name]}: the rest of the epoch would be "
                f"other questions; use {was} again{way}"
            )
    if place.batches >= number:
        raise UserError(
            f"{where}, but with trainer.limit_train_batches={limit} an epoch has only "
            f"{number}: give more{way}"
        )
