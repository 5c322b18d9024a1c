"""Image features on disk: grids of a network, tokens of a transformer, or objects of a scene."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .axes import TokenMap, spelled, undeclared_map
from .hdf5_rows import HDF5Rows
from .image_names import ImageNames, may_name_images, read_names
from .packed_file import gather_ragged, map_arrays, read_text
from .provenance import read_backbone

#: What a knowledge cell is: a place of a feature map, an object, or a token of a transformer.
Kind = Literal["grid", "objects", "tokens"]


class FeatureStore(Protocol):
    """Features of images, one row per image.

    Stores are picklable without open files, and usable after a fork.
    """

    path: Path
    kind: Kind
    feature_dim: int
    """C, channels of a grid, or features of an object or a token."""
    made_by: dict[str, Any]
    """What made the features, as far as it is known: see `provenance`."""

    @property
    def images(self) -> ImageNames:
        """Which image each row is."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """Features of images.

        Args:
            rows: (I,) distinct rows in increasing order.

        Returns:
            Features (I, C, H, W) or (I, K, C) in the type they are stored in, padded with zeros,
            and the number of real cells (I,), in 1..H·W or 1..K.

        Raises:
            UserError: naming the file and the row that cannot be used.
        """
        ...


class GridFeatures:
    """Rows of an HDF5 dataset (n, C, H, W), float16 or float32.

    Args:
        path: HDF5 file.
        dataset: name of the dataset in it.
        axes: their order in the file, `AXES` or another one of the same axes.
        any_number: see `HDF5Rows`.

    Raises:
        UserError: missing, truncated, or a dataset of another rank or type.
    """

    kind: Kind = "grid"
    AXES = "nchw"

    def __init__(
        self,
        path: Path,
        dataset: str = "data",
        axes: str | None = None,
        *,
        any_number: bool = False,
    ) -> None:
        self.path = Path(path)
        self.dataset = dataset
        stored = axes or self.AXES
        self._rows = HDF5Rows(
            self.path, dataset, spelled(stored), any_number=any_number, advice=self._advice()
        )
        self._order = [stored.index(axis) for axis in self.AXES]
        self.row_shape = tuple(self._rows.shape[axis] for axis in self._order[1:])
        """Of what `read` gives of an image."""

    @property
    def feature_dim(self) -> int:
        """C, channels."""
        return self.row_shape[self.AXES.index("c") - 1]

    @property
    def num_cells(self) -> int:
        """K, knowledge cells of each image."""
        return math.prod(self.row_shape) // self.feature_dim

    @property
    def grid_size(self) -> tuple[int, int]:
        """H and W."""
        return self.row_shape[1:]

    @property
    def attributes(self) -> dict[str, Any]:
        """Of the dataset."""
        return self._rows.attributes

    @property
    def backbone(self) -> dict[str, Any] | None:
        """What made the features, if their file says so."""
        return read_backbone(self._rows.attributes)

    @property
    def made_by(self) -> dict[str, Any]:
        """See `provenance`."""
        size = {"grid_size": list(self.grid_size)} if self.grid_size else {}
        return {**(self.backbone or {}), **size}

    @property
    def images(self) -> ImageNames:
        """See `read_names`."""
        return read_names(self._rows)

    def may_name_images(self) -> list[str]:
        """See `image_names.may_name_images`."""
        return may_name_images(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """See `FeatureStore.read`; all cells are real. HDF5 writes into the result itself."""
        check_rows(self, rows)
        features = np.empty((len(rows), *self._rows.shape[1:]), self._rows.dtype)
        self._rows.read(rows, features)
        features = np.ascontiguousarray(features.transpose(self._order))
        return features, np.full(len(rows), self.num_cells)

    def _advice(self) -> str:
        target = self.path.with_name(f"{self.path.stem}.float16.hdf5")
        return (
            f"convert it with python scripts/convert_features.py --input {self.path} "
            f"--dataset {self.dataset} --output {target}, and put that in its place"
        )


class TokenFeatures(GridFeatures):
    """Tokens of a vision transformer: rows of an HDF5 dataset (n, T, C), float16 or float32.

    Every token is a knowledge cell, the class token and registers too, which come first and have
    no place in the image. The attribute `grid` of the dataset says how many rows and columns the
    others have; without it `undeclared_map` does. Arguments: see `GridFeatures`.
    """

    kind: Kind = "tokens"
    AXES = "ntc"

    @property
    def grid_size(self) -> tuple[int, int] | None:
        """Rows and columns of the map; None if it is not known."""
        return self.map.grid if self.map else None

    @property
    def map(self) -> TokenMap | None:
        """Where in the image the tokens lie; None if that is not known.

        Raises:
            UserError: the file says something impossible.
        """
        declared = self.attributes.get("grid")
        if declared is None:
            return undeclared_map(self.num_cells)
        grid = tuple(np.atleast_1d(declared).tolist())
        if grid == (0, 0):
            return None
        if len(grid) != 2 or min(grid) < 1 or math.prod(grid) > self.num_cells:
            raise UserError(
                f"{self.path}: the attribute grid {grid} of '{self.dataset}' does not fit its "
                f"{self.num_cells} tokens"
            )
        return TokenMap(self.num_cells - math.prod(grid), grid)


class ObjectStates:
    """Objects of scenes as packed by `pack_scene_states`, memory-mapped.

    Args:
        path: the packed file.

    Raises:
        UserError: missing or damaged.
    """

    kind: Kind = "objects"

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            attributes, arrays = map_arrays(self.path)
            self.feature_dim = int(attributes["feature_dim"])
            self.made_by = {"name": "scene states", "kind": attributes["kind"]}
            self._objects = arrays["objects"].reshape(-1, self.feature_dim)
            self._offsets = arrays["objects_offsets"]
            self.numbers = arrays["numbers"]
            """(n,) `image_index` of each row."""
            self._names = arrays["names"], arrays["names_offsets"]
        except (OSError, LookupError, ValueError) as error:
            raise UserError(f"{self.path} holds no scene states ({error}): delete it") from error

    def __reduce__(self) -> tuple[type["ObjectStates"], tuple[Path]]:
        return ObjectStates, (self.path,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def images(self) -> ImageNames:
        """Of the scenes: `image_filename`, where they have one, and `image_index`."""
        return ImageNames([read_text(*self._names, row) for row in range(len(self))], self.numbers)

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `FeatureStore.read`; K is the largest number of rows of a scene among `rows`."""
        check_rows(self, rows)
        return gather_ragged(self._objects, self._offsets, rows, np.float32)


def check_same_kind(stores: Mapping[str, FeatureStore]) -> None:
    """Refuse splits whose features one network cannot take.

    Raises:
        UserError: names the splits, what their features are, and their files.
    """
    kinds = {split: _kind_of(store) for split, store in stores.items()}
    if len(set(kinds.values())) > 1:
        known = ", ".join(
            f"{split}: {kind} ({stores[split].path})" for split, kind in kinds.items()
        )
        raise UserError(f"the splits have features of different kinds: {known}")


def _kind_of(store: FeatureStore) -> str:
    if store.kind == "grid":
        return f"maps of {store.feature_dim} channels"
    number = f"{store.num_cells} " if store.kind == "tokens" else ""
    return f"{number}{store.kind} of {store.feature_dim} features"


def check_rows(store: FeatureStore, rows: NDArray[np.int64]) -> None:
    """Check that a store has `rows`.

    Raises:
        UserError: a row that is negative or past the end.
    """
    if len(rows) and (rows[0] < 0 or rows[-1] >= len(store)):
        row = rows[0] if rows[0] < 0 else rows[-1]
        raise UserError(f"{store.path}: row {row} is wanted, but it has {len(store)} rows")
