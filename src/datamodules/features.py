"""Image features on disk: grids of a convolutional network, or the objects of a scene."""

import os
from pathlib import Path
from typing import Literal, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .packed_file import gather_ragged, map_arrays


class FeatureStore(Protocol):
    """Features of images, one row per image.

    Stores are picklable without open files, and usable after a fork.
    """

    path: Path
    kind: Literal["grid", "objects"]
    feature_dim: int
    """C, channels of a grid or features of an object."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Features of images.

        Args:
            rows: (I,) distinct rows in increasing order.

        Returns:
            Features (I, C, H, W) or (I, K, C) as they are stored, padded with zeros, and the
            number of real cells (I,), in 1..H·W or 1..K.

        Raises:
            UserError: naming the file and the row that cannot be used.
        """
        ...


class GridFeatures:
    """Rows of an HDF5 dataset (n, C, H, W), float16 or float32.

    Each process opens the file for itself on its first read: an HDF5 handle must not be shared
    by forked processes.

    Args:
        path: HDF5 file.
        dataset: name of the dataset in it.

    Raises:
        UserError: missing, truncated, or a dataset of another rank or type.
    """

    kind: Literal["grid", "objects"] = "grid"

    def __init__(self, path: Path, dataset: str = "data") -> None:
        self.path = Path(path)
        self.dataset = dataset
        with self._open() as file:
            rows = self._checked(file)
            self._shape: tuple[int, int, int, int] = rows.shape
            self._dtype = rows.dtype.newbyteorder("=")  # HDF5 swaps bytes where it must
        self._file: h5py.File | None = None
        self._pid = -1

    @property
    def feature_dim(self) -> int:
        """C, channels."""
        return self._shape[1]

    @property
    def grid_size(self) -> tuple[int, int]:
        """H and W."""
        return self._shape[2:]

    def __len__(self) -> int:
        return self._shape[0]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_pid": -1}

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """See `FeatureStore.read`; all H·W cells are real. HDF5 writes into the result itself."""
        check_rows(self, rows)
        features = np.empty((len(rows), *self._shape[1:]), self._dtype)
        begin = 0
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            self._read_run(run, features[begin : begin + len(run)])
            begin += len(run)
        self._check_finite(features, rows)
        return features, np.full(len(rows), self._shape[2] * self._shape[3])

    def _read_run(self, run: NDArray[np.int64], into: NDArray[np.floating]) -> None:
        """Rows that follow each other, in one piece."""
        try:
            self._rows().read_direct(into, np.s_[run[0] : run[-1] + 1])
        except OSError as error:
            if len(run) == 1:
                raise UserError(f"{self.path}: row {run[0]} cannot be read: {error}") from error
            for number in range(len(run)):  # to name the one
                self._read_run(run[number : number + 1], into[number : number + 1])

    def _check_finite(self, features: NDArray[np.floating], rows: NDArray[np.int64]) -> None:
        for position in np.flatnonzero(~_seem_finite(features.reshape(len(rows), -1))):
            if not np.isfinite(features[position]).all():
                raise UserError(f"{self.path}: row {rows[position]} holds NaN or infinity")

    def _rows(self) -> h5py.Dataset:
        if self._file is None or self._pid != os.getpid():
            self._file, self._pid = self._open(), os.getpid()
        return self._file[self.dataset]

    def _open(self) -> h5py.File:
        try:
            return h5py.File(self.path, "r")
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is missing") from error
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path} is no whole HDF5 file: {reason}") from error

    def _checked(self, file: h5py.File) -> h5py.Dataset:
        rows = file.get(self.dataset)
        if not isinstance(rows, h5py.Dataset):
            raise UserError(f"{self.path} has no dataset '{self.dataset}'")
        if rows.ndim != 4 or 0 in rows.shape[1:]:
            raise UserError(
                f"{self.path}: '{self.dataset}' has shape {rows.shape}, not (images, C, H, W)"
            )
        if rows.dtype.kind != "f" or rows.dtype.itemsize not in (2, 4):
            raise UserError(
                f"{self.path}: '{self.dataset}' is {rows.dtype}, not float16 or float32"
            )
        return rows


def _seem_finite(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each row is finite; far cheaper than a look at each value, and at times denied."""
    if rows.dtype == np.float16:  # slow to add up: look at the bits without the sign
        return (rows.view(np.uint16) << 1).max(axis=1) < 0x7C00 << 1
    with np.errstate(invalid="ignore", over="ignore"):
        return np.isfinite(rows.sum(axis=1))


class ObjectStates:
    """Objects of scenes as packed by `pack_scene_states`, memory-mapped.

    Args:
        path: the packed file.

    Raises:
        UserError: missing or damaged.
    """

    kind: Literal["grid", "objects"] = "objects"

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            attributes, arrays = map_arrays(self.path)
            self.feature_dim = int(attributes["feature_dim"])
            self._objects = arrays["objects"].reshape(-1, self.feature_dim)
            self._offsets = arrays["objects_offsets"]
        except (OSError, LookupError, ValueError) as error:
            raise UserError(f"{self.path} holds no scene states ({error}): delete it") from error

    def __reduce__(self) -> tuple[type["ObjectStates"], tuple[Path]]:
        return ObjectStates, (self.path,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `FeatureStore.read`; K is the largest number of objects among `rows`."""
        check_rows(self, rows)
        return gather_ragged(self._objects, self._offsets, rows, np.float32)


def check_rows(store: FeatureStore, rows: NDArray[np.int64]) -> None:
    """Check that a store has `rows`.

    Raises:
        UserError: a row that is negative or past the end.
    """
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(store)):
        row = rows[0] if rows[0] < 0 else rows[-1]
        raise UserError(f"{store.path}: row {row} is wanted, but it has {len(store)} rows")
