"""Image features on disk: grids of a convolutional network, or the objects of a scene."""

import json
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .hdf5_rows import HDF5Rows
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
        self._rows = HDF5Rows(self.path, dataset, "images, C, H, W")

    @property
    def feature_dim(self) -> int:
        """C, channels."""
        return self._rows.shape[1]

    @property
    def grid_size(self) -> tuple[int, int]:
        """H and W."""
        return self._rows.shape[2:]

    @property
    def backbone(self) -> dict[str, Any] | None:
        """What made the features, if `scripts/extract_features.py` did."""
        known = self._rows.attributes.get("backbone")
        return None if known is None else json.loads(known)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """See `FeatureStore.read`; all H·W cells are real. HDF5 writes into the result itself."""
        check_rows(self, rows)
        features = np.empty((len(rows), *self._rows.shape[1:]), self._rows.dtype)
        self._rows.read(rows, features)
        return features, np.full(len(rows), np.prod(self.grid_size))


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
            self.background = bool(attributes.get("background", 0))
            self._objects = arrays["objects"].reshape(-1, self.feature_dim)
            self._offsets = arrays["objects_offsets"]
        except (OSError, LookupError, ValueError) as error:
            raise UserError(f"{self.path} holds no scene states ({error}): delete it") from error

    def __reduce__(self) -> tuple[type["ObjectStates"], tuple[Path]]:
        return ObjectStates, (self.path,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `FeatureStore.read`; K is the largest number of objects among `rows`, plus 1 if the
        file has a background row per scene (`self.background`).
        """
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
