"""Image features of GQA as released: the objects of a detector, or grids."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .features import Kind, check_rows
from .gqa_index import ImageIndex, check_sizes
from .gqa_shards import AXES, Shards
from .gqa_shards import Kind as ShardKind
from .image_names import ImageNames

#: What cannot be done without them, for the user.
NO_BOXES = (
    "the objects have no boxes ('bboxes'), which grounding and pictures need; everything else works"
)


class GQAObjects:
    """Objects in the shards `gqa_objects_{i}.h5`.

    Rows are those of the index. Shards are opened by a process that reads from them, and of each
    image only its own objects are read: whatever pads them in the file is never seen. Shards
    without `bboxes` do for everything but grounding and pictures.

    Args:
        folder: where the shards are.
        index_path: the images' index, by `write_image_index`.
        any_number: see `HDF5Rows`.

    Raises:
        UserError: the index cannot be used, or a shard that it points into is missing, unlike
            the others, or lacks a row.
    """

    kind: Kind = "objects"

    def __init__(self, folder: Path, index_path: Path, *, any_number: bool = False) -> None:
        self.path = Path(index_path)
        self.folder = Path(folder)
        self.index = _open_index(self.path, "objects")
        where, of = (self.folder, "objects"), (self.index.places, self.index.names)
        self._features = Shards(*where, "features", AXES["objects"], *of, any_number=any_number)
        self._boxes: Shards | None = None
        if self._features.has("bboxes"):
            axes = "images, objects, 4"
            self._boxes = Shards(*where, "bboxes", axes, *of, any_number=True)
            if self._boxes.row_shape != (4,):
                number = self._boxes.row_shape[0]
                raise UserError(f"{folder}: a row of 'bboxes' has {number} numbers")
            check_sizes(*of, self.folder / "gqa_objects_info.json")

    @property
    def feature_dim(self) -> int:
        """C, features of an object."""
        return self._features.row_shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Type of the features, float16 or float32."""
        return self._features.dtype

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where in the images the objects are."""
        return self._boxes is not None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def images(self) -> ImageNames:
        """Ids of the rows."""
        return ImageNames(self.index.names)

    @property
    def made_by(self) -> dict[str, Any]:
        """See `provenance`."""
        return self._features.made_by

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """See `FeatureStore.read`; K is the largest number of objects among `rows`."""
        return self._read(self._features, rows, self.dtype)

    def boxes(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Boxes of the objects that `read` gives for the same rows.

        Args:
            rows: (I,) distinct rows in increasing order.

        Returns:
            (I, K, 4) x0, y0, x1, y1 as shares of the image's width and height, in 0..1 as far as
            the boxes lie in the image; zeros past an image's own objects.

        Raises:
            UserError: naming the file and the row that cannot be used.
            ValueError: there are no boxes.
        """
        if self._boxes is None:
            raise ValueError("there are no boxes")
        boxes, _ = self._read(self._boxes, rows, np.dtype(np.float32))
        places = self.index.places
        sizes = np.stack([places.widths[rows], places.heights[rows]] * 2, axis=-1)
        boxes /= sizes[:, None].astype(np.float32)
        return boxes

    def _read(
        self, shards: Shards, rows: NDArray[np.int64], dtype: np.dtype
    ) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        check_rows(self, rows)
        places = self.index.places
        counts = places.counts[rows].astype(np.int64)
        values = np.zeros((len(rows), counts.max(initial=0), *shards.row_shape), dtype)
        shards.read(places.files[rows], places.rows[rows], values, counts)
        return values, counts


class GQASpatial:
    """Grids in the shards `gqa_spatial_{i}.h5`.

    Rows are those of the index. Shards are opened by a process that reads from them.

    Args:
        folder: where the shards are.
        index_path: the images' index, by `write_image_index`.

    Raises:
        UserError: the index cannot be used, or a shard that it points into is missing, unlike
            the others, or lacks a row.
    """

    kind: Kind = "grid"

    def __init__(self, folder: Path, index_path: Path) -> None:
        self.path = Path(index_path)
        self.folder = Path(folder)
        self.index = _open_index(self.path, "spatial")
        of = self.index.places, self.index.names
        self._features = Shards(self.folder, "spatial", "features", AXES["spatial"], *of)

    @property
    def feature_dim(self) -> int:
        """C, channels."""
        return self._features.row_shape[0]

    @property
    def grid_size(self) -> tuple[int, int]:
        """H and W."""
        return self._features.row_shape[1:]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def images(self) -> ImageNames:
        """Ids of the rows."""
        return ImageNames(self.index.names)

    @property
    def made_by(self) -> dict[str, Any]:
        """See `provenance`."""
        return {**self._features.made_by, "grid_size": list(self.grid_size)}

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
        """See `FeatureStore.read`; all H·W cells are real."""
        check_rows(self, rows)
        places = self.index.places
        features = np.empty((len(rows), *self._features.row_shape), self._features.dtype)
        self._features.read(places.files[rows], places.rows[rows], features)
        return features, np.full(len(rows), np.prod(self.grid_size))


def _open_index(path: Path, kind: ShardKind) -> ImageIndex:
    index = ImageIndex(path)
    if index.kind != kind:
        raise UserError(f"{path} is an index of {index.kind} features, not of {kind}: delete it")
    return index
