"""GQA's objects in one file without padding, in float16: a fraction of the size of the shards."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from dact.errors import UserError

from .cache import UNFINISHED, check_room, content_fingerprint
from .features import Kind, check_rows
from .gqa_features import NO_BOXES, GQAObjects
from .gqa_index import Names, images_in_order, write_image_index
from .image_names import ImageNames
from .packed_file import ALIGNED, gather_ragged, map_arrays
from .provenance import read_backbone

#: Raised whenever the meaning of an array changes.
FORMAT = 2
#: What the attribute `source` begins with if the objects are from TSV files, whose names follow.
FROM_TSV = "tsv: "
#: Images that are in memory at a time.
_BLOCK = 64
_ARRAYS = {"features", "offsets", "widths", "heights", "names", "names_offsets"}


class RaggedObjects:
    """Objects of a file of `write_ragged_objects`, memory-mapped: the same batches as the shards.

    Args:
        path: the file.
        names: ids of images; row r of the store is `names[r]`, or the r-th of those in the file.
        may_lack: leave out images that the file lacks.

    Raises:
        UserError: the file is missing, damaged, or lacks an image.
    """

    kind: Kind = "objects"

    def __init__(self, path: Path, names: Sequence[str], *, may_lack: bool = False) -> None:
        self.path = Path(path)
        self._map()
        stored = Names(self._arrays["names"], self._arrays["names_offsets"])
        row_of = {name: row for row, name in enumerate(stored)}
        for row, name in enumerate(names):
            if name not in row_of and not may_lack:
                raise UserError(
                    f"{path} has no image {name}, row {row} of those asked about; "
                    "data.missing_images=skip leaves out the questions about such images"
                )
        self._rows = np.array([row_of[name] for name in names if name in row_of], np.int64)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_rows": self._rows}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._map()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def images(self) -> ImageNames:
        """Ids of the rows."""
        stored = Names(self._arrays["names"], self._arrays["names_offsets"])
        return ImageNames([stored[row] for row in self._rows])

    def read(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """See `FeatureStore.read`; K is the largest number of objects among `rows`."""
        return self._gather(self._arrays["features"].reshape(-1, self.feature_dim), rows)

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where in the images the objects are."""
        return "boxes" in self._arrays

    def boxes(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """See `GQAObjects.boxes`."""
        if not self.has_boxes:
            raise ValueError("there are no boxes")
        return self._gather(self._arrays["boxes"].reshape(-1, 4), rows)[0]

    def check_source(self, info: Path) -> None:
        """Refuse a file that was made from other features than those beside it, if there are any.

        Raises:
            UserError: `info`, their gqa_objects_info.json, is another one.
        """
        if info.is_file() and self._source.startswith(FROM_TSV):
            names = self._source.removeprefix(FROM_TSV)
            raise UserError(
                f"{self.path} was made from {names}, but there is {info}, too: move one of them "
                "away"
            )
        if info.is_file() and content_fingerprint([info]) != self._source:
            raise UserError(
                f"{self.path} was made before {info} changed: delete it, and convert again"
            )

    def _gather(self, values: NDArray, rows: NDArray[np.int64]) -> tuple[NDArray, NDArray]:
        check_rows(self, rows)
        return gather_ragged(values, self._arrays["offsets"], self._rows[rows], values.dtype)

    def _map(self) -> None:
        try:
            attributes, self._arrays = map_arrays(self.path)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error}") from error
        if attributes.get("format") != FORMAT or _ARRAYS - self._arrays.keys():
            raise UserError(f"{self.path} is no file of objects of this version: write it again")
        self.feature_dim = int(attributes["feature_dim"])
        self.made_by = read_backbone(attributes) or {}
        self._source = attributes["source"]


def write_ragged_objects(
    folder: Path,
    target: Path,
    *,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> None:
    """Copy the objects of all images of GQA's shards, rounded to float16, into one file.

    Arrays, in the order in which the images lie in the shards: `features` (objects · C) float16,
    `boxes` (objects · 4) float32 in shares of the image, if the shards have them, `offsets` (n + 1)
    where each image begins, `widths` and `heights` (n) in pixels, image ids in `names`. Memory
    holds a block of images; `target` appears when it is whole.

    Args:
        folder: where `gqa_objects_{i}.h5` and `gqa_objects_info.json` are.
        target: file to write, for `RaggedObjects`.
        progress: show a bar.
        say: gets a line about the disk that is needed, before the work begins.

    Raises:
        UserError: the target exists or does not fit on its disk, the shards cannot be used (see
            `write_image_index`), or a value is out of range, NaN or infinity.
    """
    if target.exists():
        raise UserError(f"{target} exists already: give another name or delete it")
    try:
        temporary = tempfile.TemporaryDirectory(UNFINISHED, f".{target.name}.", target.parent)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    with temporary as name:
        whole, index = Path(name, "whole.h5"), Path(name, "index.h5")
        info = folder / "gqa_objects_info.json"
        names = images_in_order(info, progress)
        write_image_index(index, names, info, "objects", "", progress)
        store = GQAObjects(folder, index, any_number=True)
        if not store.has_boxes:
            say(f"{folder}: {NO_BOXES}")
        _check_disk(store, target, say)
        with h5py.File(whole, "w", **ALIGNED) as file:
            file.attrs["source"] = content_fingerprint([info])
            if store.made_by:
                file.attrs["backbone"] = json.dumps(store.made_by)
            _write(store, file, progress)
        os.replace(whole, target)


def _check_disk(store: GQAObjects, target: Path, say: Callable[[str], object]) -> None:
    objects = int(store.index.places.counts.sum(dtype=np.int64))
    boxes = 4 * 4 if store.has_boxes else 0
    needed = objects * (2 * store.feature_dim + boxes) + store.index.path.stat().st_size
    free = check_room(target, needed)
    what = f"{objects:,} objects of {len(store):,} images"
    say(f"{target} needs {needed / 1e9:.1f} GB for {what}; {free / 1e9:.1f} GB are free")


def _write(store: GQAObjects, file: h5py.File, progress: bool) -> None:
    places, dim = store.index.places, store.feature_dim
    offsets = np.concatenate([[0], np.cumsum(places.counts, dtype=np.int64)])
    texts = [name.encode() for name in store.index.names]
    file.attrs.update(format=FORMAT, feature_dim=dim)
    file["offsets"], file["widths"], file["heights"] = offsets, places.widths, places.heights
    file["names"] = np.frombuffer(b"".join(texts), np.uint8)
    file["names_offsets"] = np.cumsum([0, *map(len, texts)])
    features = file.create_dataset("features", (offsets[-1] * dim,), np.float16)
    boxes = store.has_boxes and file.create_dataset("boxes", (offsets[-1] * 4,), np.float32)
    starts = range(0, len(store), _BLOCK)
    for start in track(starts, "writing objects", disable=not progress):
        rows = np.arange(start, min(start + _BLOCK, len(store)))
        begin, end = offsets[start], offsets[rows[-1] + 1]
        values, counts = store.read(rows)
        real = np.arange(values.shape[1]) < counts[:, None]
        features[begin * dim : end * dim] = _rounded(store, rows, values)[real].ravel()
        if store.has_boxes:
            boxes[begin * 4 : end * 4] = store.boxes(rows)[real].ravel()


def _rounded(
    store: GQAObjects, rows: NDArray[np.int64], values: NDArray[np.floating]
) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    for number in np.flatnonzero(np.isinf(rounded).reshape(len(rows), -1).any(axis=1)):
        row, largest = rows[number], np.abs(values[number]).max()
        shard = store.folder / f"gqa_objects_{store.index.places.files[row]}.h5"
        place = f"row {store.index.places.rows[row]}, image {store.index.names[row]},"
        raise UserError(f"{shard}: {place} holds {largest:g}, too much for float16")
    return rounded
