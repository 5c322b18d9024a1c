"""Which row of which feature file of GQA each image of a split is."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from . import packed_file
from .gqa_shards import AXES, Kind, Places, Shards
from .json_stream import field, stream_pairs
from .packed_file import ArrayWriter, map_arrays, read_text

#: Raised whenever the meaning of a column changes; files of another version are rebuilt.
FORMAT = 1
COLUMNS = {
    "files": np.int32,
    "rows": np.int64,
    "counts": np.int32,
    "widths": np.int32,
    "heights": np.int32,
    "names": np.uint8,
    "names_offsets": np.int64,
}
#: Fields of an entry of the info file in the order of `Places`, and the least value of each.
_FIELDS: dict[Kind, dict[str, int]] = {
    "objects": {"file": 0, "idx": 0, "objectsNum": 1, "width": 1, "height": 1},
    "spatial": {"file": 0, "idx": 0},
}
#: Fields that only boxes need.
_SIZES = ("width", "height")
_LARGEST = np.iinfo(np.int32).max


class Names(Sequence[str]):
    """Texts of a column written by `append_texts`, decoded when asked for."""

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._blob = blob
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        return read_text(self._blob, self._offsets, row)


class ImageIndex:
    """Where the images of a split lie in GQA's feature files; memory-mapped, one row per image.

    Args:
        path: file of `write_image_index`.

    Raises:
        UserError: missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            attributes, arrays = map_arrays(self.path)
            self.kind: Kind = attributes["kind"]  # type: ignore[assignment]
            self.places = Places(*[arrays[name] for name in Places._fields])
            self.names: Sequence[str] = Names(arrays["names"], arrays["names_offsets"])
        except (OSError, LookupError) as error:
            raise UserError(f"{self.path} is no index of images ({error}): delete it") from error

    def __reduce__(self) -> tuple[type["ImageIndex"], tuple[Path]]:
        return ImageIndex, (self.path,)

    def __len__(self) -> int:
        return len(self.places.rows)

    @classmethod
    def is_current(cls, path: Path, source: str) -> bool:
        """Whether `path` is a whole file of this version, made from `source`."""
        return packed_file.is_current(path, COLUMNS, format=FORMAT, source=source)


def write_image_index(
    path: Path,
    names: Sequence[str],
    info: Path,
    kind: Kind,
    source: str,
    progress: bool = False,
    may_lack: bool = False,
) -> None:
    """Look up images in `gqa_{kind}_info.json`, and check that the shards beside it hold them.

    Args:
        path: file to write or replace, for `ImageIndex`.
        names: ids of the images; row r of the index is `names[r]`, or the r-th of those that are
            there. Each comes once.
        info: the info file. Entries about other images are passed over.
        kind: "objects" or "spatial".
        source: stamp of `info` and of whatever `names` come from, for `is_current`.
        progress: show a bar while a long file is read.
        may_lack: leave out images that `info` lacks; it must have one at least.

    Raises:
        UserError: naming image, file and row: an image that `info` lacks or has twice, a field
            that is missing or out of range, a shard that is missing or lacks the row, or more
            objects than it has room for.
    """
    names, places = _look_up(names, info, kind, progress, may_lack)
    # Checks them; the type of their numbers is for those who read them.
    shards = Shards(info.parent, kind, "features", AXES[kind], places, names, any_number=True)
    if kind == "objects" and shards.has("bboxes"):
        check_sizes(places, names, info)
    with ArrayWriter(path, COLUMNS) as writer:
        for name, values in places._asdict().items():
            writer.append(name, values)
        writer.append_texts("names", names)
        writer.attributes.update(format=FORMAT, source=source, kind=kind)


def check_sizes(places: Places, names: Sequence[str], info: Path) -> None:
    """Refuse boxes in images whose sizes are not known.

    Args:
        places: of images.
        names: their ids.
        info: where the sizes should have been, for the message.

    Raises:
        UserError: names the first such image.
    """
    for field_name, sizes in zip(_SIZES, (places.widths, places.heights), strict=True):
        for row in np.flatnonzero(sizes == 0)[:1]:
            raise UserError(
                f"{info}: image {names[row]} has no field '{field_name}', which its boxes need"
            )


def images_in_order(info: Path, progress: bool = False) -> list[str]:
    """Ids of all images of an info file, in the order in which they lie in the shards.

    Raises:
        UserError: the file cannot be read, or an entry does not say where its image lies.
    """
    found = []
    for name, entry in stream_pairs(info, progress):
        where = f"{info}: image {name}"
        found.append((field(entry, "file", int, where), field(entry, "idx", int, where), name))
    return list(dict.fromkeys(name for _, _, name in sorted(found)))


def _look_up(
    names: Sequence[str], info: Path, kind: Kind, progress: bool, may_lack: bool
) -> tuple[Sequence[str], Places]:
    """Names that were found, and where their images lie."""
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) != len(names):
        raise ValueError("an image occurs twice in names")
    table = np.zeros((len(names), len(Places._fields)), np.int64)
    found = np.zeros(len(names), np.bool_)
    for name, entry in stream_pairs(info, progress):
        row = row_of.get(name)
        if row is None:
            continue
        if found[row]:
            raise UserError(f"{info}: image {name} occurs twice: leave one out")
        found[row] = True
        numbers = _numbers(entry, kind, f"{info}: image {name}")
        table[row, : len(numbers)] = numbers
    if not found.all() and not (may_lack and found.any()):
        row = int(np.flatnonzero(~found)[0])
        raise UserError(
            f"{info} has no image {names[row]}, row {row} of those asked about; it lacks "
            f"{np.count_nonzero(~found)} of {len(names)}; data.missing_images=skip leaves out the "
            "questions about them"
        )
    names, table = [names[row] for row in np.flatnonzero(found)], table[found]
    columns = (table[:, column] for column in range(table.shape[1]))
    fields = zip(Places._fields, columns, strict=True)
    return names, Places(*[values.astype(COLUMNS[name]) for name, values in fields])


def _numbers(entry: object, kind: Kind, where: str) -> list[int]:
    """Fields of an entry in the order of `Places`; 0 for a size that is not there."""
    lacks = {name for name in _SIZES if isinstance(entry, dict) and entry.get(name) is None}
    fields = _FIELDS[kind]
    numbers = [0 if name in lacks else field(entry, name, int, where) for name in fields]
    for (name, least), number in zip(fields.items(), numbers, strict=True):
        if name not in lacks and not least <= number <= _LARGEST:
            place = f", row {numbers[1]} of gqa_{kind}_{numbers[0]}.h5," if name != "idx" else ""
            raise UserError(f"{where}{place} has {name} {number}, not one in {least}..{_LARGEST}")
    return numbers
