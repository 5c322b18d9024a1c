"""Images → features, on as many devices as there are, going on where a killed run stopped."""

import copy
import functools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch.utils.data import DataLoader

from dact.datamodules.axes import token_map
from dact.datamodules.loaders import available_cores, dead_workers_in_one_line
from dact.datamodules.worker_errors import send_errors, shortage_in_one_line
from dact.errors import UserError
from dact.options import BackboneOptions

from .backbones import Backbone
from .feature_file import FeatureFile
from .images import Decoded, ImageFiles


def extract(
    images: Sequence[Path],
    path: Path,
    backbone: Backbone,
    options: BackboneOptions,
    *,
    dtype: str = "float16",
    overwrite: bool = False,
    **how: Any,
) -> list[str]:
    """Write the features of `images`, a row each, going on with what is there.

    Args:
        images: their files, in the order of their rows. A file that was begun in another order
            keeps that order.
        path: HDF5 file to be written; it appears when it is whole.
        backbone: computes the features.
        options: of the backbone, kept in the file.
        dtype: of the file, float16 or float32.
        overwrite: replace a file of other settings.
        **how: of `fill`.

    Returns:
        Names of the images that were skipped.

    Raises:
        UserError: an image cannot be read, or see `FeatureFile`.
    """
    names = [image.name for image in images]
    shape = _feature_shape(backbone, options.size)
    settings = {"backbone": json.dumps(describe_backbone(options, backbone))}
    settings |= _of_tokens(shape, options.size)
    with FeatureFile(path, names, shape, np.dtype(dtype), settings, overwrite=overwrite) as file:
        if not file.complete:
            rows = _in_order_of(images, file.names)
            fill(file, ImageFiles(rows, options.size, options.white), backbone, **how)
        return file.finish()


def _in_order_of(images: Sequence[Path], names: Sequence[str]) -> Sequence[Path]:
    if [image.name for image in images] == list(names):
        return images
    by_name = {image.name: image for image in images}
    return [by_name[name] for name in names]


def fill(
    file: FeatureFile,
    images: ImageFiles,
    backbone: Backbone,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
    devices: Sequence[torch.device] = (torch.device("cpu"),),
    skip_unreadable: bool = False,
    progress: bool = True,
) -> None:
    """Write the rows that a feature file still lacks.

    Args:
        file: open.
        images: of all rows.
        backbone: computes the features.
        batch_size: images computed at once.
        num_workers: processes that decode, no more than there are cores; 0: this one.
        devices: they take turns.
        skip_unreadable: leave the row of an image that cannot be read at zero.
        progress: show a bar.

    Raises:
        UserError: an image cannot be read, or a worker process died or cannot send its images.
    """
    loader = DataLoader(
        images,
        batch_size,
        sampler=range(file.rows_done, len(images)),
        num_workers=min(num_workers, available_cores()),
        collate_fn=list,
        worker_init_fn=_begin_worker,
    )
    with (
        _bar(file, progress) as advance,
        dead_workers_in_one_line("num_workers", "the same command goes on where this one stopped"),
        shortage_in_one_line("num_workers", loader.num_workers),
    ):
        for features, decoded in _compute(loader, backbone, devices, skip_unreadable):
            file.append(features, [one.problem is not None for one in decoded])
            advance(len(decoded))


def _begin_worker(worker: int) -> None:
    send_errors()


def describe_backbone(options: BackboneOptions, backbone: Backbone) -> dict[str, Any]:
    """What features depend on, in plain containers: options and a fingerprint of the weights."""
    known = asdict(options)
    if known["white"] is None:  # as in the files of before there was this option
        del known["white"]
    return {**known, "fingerprint": backbone.fingerprint()}


def choose_devices(wanted: Any) -> list[torch.device]:
    """Devices by name; `auto`: every GPU, else Apple's, else the CPU; a number: so many GPUs.

    Raises:
        UserError: one that is not here.
    """
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if wanted == "auto":
        apple = torch.backends.mps.is_available()
        return gpus or [torch.device("mps" if apple else "cpu")]
    if isinstance(wanted, int):
        if not 0 < wanted <= len(gpus):
            raise UserError(f"devices={wanted}, but there are {len(gpus)} GPUs here")
        return gpus[:wanted]
    try:
        devices = [torch.device(name) for name in ([wanted] if isinstance(wanted, str) else wanted)]
        for device in devices:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"devices={wanted} cannot be used here: {reason}") from error
    if not devices:
        raise UserError("devices is empty: give auto, a number, or names such as [cuda:0]")
    return devices


def _feature_shape(backbone: Backbone, size: Sequence[int]) -> tuple[int, ...]:
    with torch.inference_mode():
        try:
            return tuple(backbone(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape[1:])
        except UserError:
            raise
        except Exception as error:  # of the network's own code: vision transformers assert
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise UserError(
                f"the backbone does not take images of backbone.size={list(size)}: {reason:.200}"
            ) from error


def _of_tokens(shape: Sequence[int], size: Sequence[int]) -> dict[str, Any]:
    """What a file of tokens says of itself: (0, 0) if they are not known to fill the image."""
    if len(shape) != 2:
        return {}
    found = token_map(shape[0], size)
    return {"axes": "ntc", "grid": found.grid if found else (0, 0)}


def _compute(
    batches: DataLoader,
    backbone: Backbone,
    devices: Sequence[torch.device],
    skip_unreadable: bool,
) -> Iterator[tuple[NDArray[np.floating], list[Decoded]]]:
    """Features of batches, in order; each device has its thread."""
    # A copy of a network that was cut forgets that it is in evaluation mode.
    replicas = [copy.deepcopy(backbone).to(device).eval() for device in devices]
    # A GPU computes the next batch while the last one is written; a CPU is busy with either.
    ahead = len(devices) + any(device.type != "cpu" for device in devices) - 1
    waiting: deque[tuple[Future, list[Decoded]]] = deque()
    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in devices]
        for number, decoded in enumerate(batches):
            while len(waiting) > ahead:
                yield _result(*waiting.popleft(), skip_unreadable)
            which = number % len(devices)
            waiting.append((threads[which].submit(_run, replicas[which], decoded), decoded))
        while waiting:
            yield _result(*waiting.popleft(), skip_unreadable)


def _run(backbone: Backbone, decoded: Sequence[Decoded]) -> NDArray[np.floating]:
    with torch.inference_mode():
        images = torch.stack([one.image for one in decoded])
        return backbone(images.to(backbone.mean.device)).cpu().numpy()


def _result(
    computed: Future, decoded: list[Decoded], skip_unreadable: bool
) -> tuple[NDArray[np.floating], list[Decoded]]:
    features = computed.result()
    for row, one in zip(features, decoded, strict=True):
        if one.problem is None:
            continue
        if not skip_unreadable:
            raise UserError(f"{one.problem}; skip_unreadable=true leaves its row at zero")
        row[:] = 0
    return features, decoded


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """See rich."""
        return Text("" if task.speed is None else f"{task.speed:.1f} images/s")


@contextmanager
def _bar(file: FeatureFile, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar with rate and time left; what earlier runs have done counts as done."""
    name = file.path.name
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, disable=not show) as bar:
        task = bar.add_task(name, total=file.rows, completed=file.rows_done)
        yield functools.partial(bar.advance, task)
