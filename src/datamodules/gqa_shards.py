"""The feature files of GQA: each image has a row in one of several shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .hdf5_rows import HDF5Rows, open_hdf5
from .provenance import check_alike, read_backbone

Kind = Literal["objects", "spatial"]

#: Axes of the dataset `features` of each kind.
AXES: dict[Kind, str] = {"objects": "images, objects, C", "spatial": "images, C, H, W"}
#: Axes that all shards have alike come last: C, or C, H and W.
_ALIKE: dict[Kind, int] = {"objects": 2, "spatial": 1}

_ADVICE = "convert them with scripts/convert_gqa_objects.py"


class Places(NamedTuple):
    """Where the features of images lie, one row per image."""

    files: NDArray[np.int32]
    """(n,) number of the shard."""
    rows: NDArray[np.int64]
    """(n,) row in it."""
    counts: NDArray[np.int32]
    """(n,) objects, at least 1; 0 for spatial features."""
    widths: NDArray[np.int32]
    """(n,) width of the image in pixels; 0 for spatial features, or where it is not known."""
    heights: NDArray[np.int32]
    """(n,) its height."""


class Shards:
    """A dataset of the files `gqa_{kind}_{i}.h5`, each opened by a process that reads from it.

    Args:
        folder: where the files are.
        kind: "objects" or "spatial".
        dataset: its name in the files.
        axes: of the dataset, as `HDF5Rows` has them.
        places: of all images that will be read.
        names: of the same images, for messages.
        any_number: see `HDF5Rows`.

    Raises:
        UserError: a shard that is missing, unusable or unlike the others, a row past its end, or
            more objects than it has room for.
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        dataset: str,
        axes: str,
        places: Places,
        names: Sequence[str],
        *,
        any_number: bool = False,
    ) -> None:
        self._shards: dict[int, HDF5Rows] = {}
        for number in np.unique(places.files).tolist():
            path = folder / f"gqa_{kind}_{number}.h5"
            images = np.flatnonzero(places.files == number)
            if not path.is_file():
                row, name = places.rows[images[0]], names[images[0]]
                raise UserError(f"{path} is missing, whose row {row} is image {name}: put it there")
            advice = _ADVICE if kind == "objects" else ""
            shard = HDF5Rows(path, dataset, axes, any_number=any_number, advice=advice)
            self._shards[number] = shard
            _check_fits(shard, places, images, names, objects=kind == "objects")
        if not self._shards:
            raise UserError(f"{folder}: features of no image are wanted")
        shards = list(self._shards.values())
        self.dtype = np.result_type(*[shard.dtype for shard in shards])
        self.row_shape: tuple[int, ...] = shards[0].shape[_ALIKE[kind] :]
        for shard in shards:
            if shard.shape[_ALIKE[kind] :] != self.row_shape:
                raise UserError(
                    f"{shard.path}: '{dataset}' has shape {shard.shape}, unlike "
                    f"{shards[0].shape} of {shards[0].path.name}"
                )
        self.made_by = read_backbone(shards[0].attributes) or {}
        check_alike({shard.path.name: read_backbone(shard.attributes) or {} for shard in shards})

    def has(self, dataset: str) -> bool:
        """Whether any of the files has a dataset of this name."""
        for shard in self._shards.values():
            with open_hdf5(shard.path) as file:
                if dataset in file:
                    return True
        return False

    def read(
        self,
        files: NDArray[np.int32],
        rows: NDArray[np.int64],
        into: NDArray[np.floating],
        counts: NDArray[np.int64] | None = None,
    ) -> None:
        """Read rows of several shards, shard by shard and in the order in which they lie there.

        Args:
            files: (I,) shard of each row, in any order.
            rows: (I,) rows in them.
            into: (I, ...) C-contiguous result, in the order of the arguments.
            counts: (I,) see `HDF5Rows.read`.

        Raises:
            UserError: a row that cannot be read, or holds NaN or infinity.
        """
        order = np.lexsort((rows, files))
        begins = np.flatnonzero(np.diff(files[order], prepend=-1))
        for places in np.split(order, begins[1:]) if len(order) else ():
            some = None if counts is None else counts[places]
            self._shards[int(files[places[0]])].read(rows[places], into, places, some)


def _check_fits(
    shard: HDF5Rows,
    places: Places,
    images: NDArray[np.int64],
    names: Sequence[str],
    objects: bool,
) -> None:
    """Raise UserError if the shard does not hold what `places` says of some `images`."""
    last = images[places.rows[images].argmax()]
    if places.rows[last] >= len(shard):
        raise UserError(
            f"{shard.path}: image {names[last]} is said to be row {places.rows[last]}, but "
            f"'{shard.dataset}' has {len(shard)} rows"
        )
    fullest = images[places.counts[images].argmax()]
    if objects and places.counts[fullest] > shard.shape[1]:
        raise UserError(
            f"{shard.path}: image {names[fullest]}, row {places.rows[fullest]}, is said to have "
            f"{places.counts[fullest]} objects, but '{shard.dataset}' has room for {shard.shape[1]}"
        )
