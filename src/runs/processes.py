"""The processes of a run on several devices: all are there before anything is decided."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning_fabric import Fabric
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dact import run_folder
from dact.errors import UserError
from dact.schema import TrainerConfig

from .observer import lost_processes_in_one_line, observed

#: What Lightning raises about its arguments.
REFUSALS = (
    MisconfigurationException,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
    ImportError,
    LookupError,
)
_LIGHTNING = ("pytorch_lightning", "lightning_fabric")


@contextmanager
def started(config: TrainerConfig, folder: Path) -> Iterator[Path]:
    """Start the other processes of a run, or meet those that a cluster has started.

    Lightning's trainer would start them only when it begins to fit, when the first of them has
    decided much already. Should this process fail, it takes those that it started along.

    Args:
        config: of the trainer.
        folder: of the run, as this process knows it.

    Yields:
        The folder of the first process, for all.

    Raises:
        UserError: devices that are not there, or another process of the run ended.
    """
    fabric = _fabric(config)
    if fabric is None:
        yield folder
        return
    fabric.launch()
    with observed(getattr(fabric.strategy.launcher, "procs", [])), lost_processes_in_one_line():
        shared = agreed(folder)
        if shared != folder:
            run_folder.remove_if_unused(folder)
        yield shared


def starts_others(config: TrainerConfig) -> bool:
    """Whether a run with this trainer begins by starting its own program again, on other devices.

    Raises:
        UserError: devices that are not there.
    """
    fabric = _fabric(config)
    if fabric is None:
        return False
    return not fabric.strategy.cluster_environment.creates_processes_externally


def _fabric(config: TrainerConfig) -> Fabric | None:
    """What starts the processes; None if there is but one."""
    try:
        fabric = Fabric(
            accelerator=config.accelerator, devices=config.devices, num_nodes=config.num_nodes
        )
    except REFUSALS as error:
        raise refused_options(error) from error
    return fabric if fabric.world_size > 1 else None


def refused_options(error: Exception) -> UserError:
    """What to say of options that Lightning refuses."""
    reason = " ".join(str(error).split())
    return UserError(f"these trainer options do not work here: {reason}")


@contextmanager
def refused_in_one_line() -> Iterator[None]:
    """Around all that Lightning does: some options it refuses only there.

    Raises:
        UserError: instead of an error that Lightning itself raises about its arguments.
    """
    try:
        yield
    except REFUSALS as error:
        if str(error).startswith("could not create a primitive"):  # of PyTorch, for processors
            raise UserError(
                f"this processor cannot compute in the chosen trainer.precision ({error}): leave "
                "trainer.precision out"
            ) from error
        if not (isinstance(error, MisconfigurationException) or _raised_by_lightning(error)):
            raise
        raise refused_options(error) from error


def _raised_by_lightning(error: BaseException) -> bool:
    """Whether it was raised in a file of Lightning, and not below."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    name = "" if place is None else place.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in _LIGHTNING


def number_of_processes() -> int:
    """Processes of the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def agreed(value: Any) -> Any:
    """The value that the first process has, on all processes of the run."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    shared = [value]
    dist.broadcast_object_list(shared, src=0)
    return shared[0]
