"""Flat arrays in one HDF5 file: written as a stream, renamed when whole, read by memory map."""

import functools
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from dact.errors import UserError
from dact.locks import hdf5_lock_problem

from .cache import check_room, unfinished

#: Elements copied at a time when the columns are put together.
_BLOCK = 1 << 22
_CHECKSUM_BYTES = 4
#: How h5py has to open a file for writing so that views of its arrays are aligned ones.
ALIGNED = {"alignment_threshold": 1, "alignment_interval": 64}


class ArrayWriter:
    """Append to named columns in bounded memory; `path` appears only if the block ends well.

    HDF5 grows only chunked datasets, which cannot be memory-mapped: so each column is spooled into
    a plain file, and all are copied into contiguous datasets at the end.

        with ArrayWriter(path, {"answers": np.int32}) as writer:
            writer.append("answers", [3, 1, 4])
            writer.attributes["format"] = 1
    """

    def __init__(self, path: Path, columns: Mapping[str, DTypeLike]) -> None:
        self.path = path
        self.attributes: dict[str, str | int] = {}
        self.dtypes = {name: np.dtype(dtype) for name, dtype in columns.items()}
        self._folder = unfinished(path)
        self._spools: dict[str, BinaryIO] = {}
        self._ends: dict[str, int] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        for name in self.dtypes:
            self._spools[name] = (self._folder / name).open("w+b")
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        try:
            if exc_type is None:
                whole = self._folder / "whole.h5"
                self._put_together(whole)
                _add_checksum(whole)
                os.replace(whole, self.path)
        finally:
            for spool in self._spools.values():
                with suppress(OSError):  # a full disk, told already
                    spool.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, name: str, values: Sequence[int] | NDArray) -> None:
        """Append `values` (n,) to column `name`."""
        self._spools[name].write(np.ascontiguousarray(values, self.dtypes[name]).tobytes())

    def append_ragged(self, name: str, pieces: Sequence[Sequence[int] | NDArray]) -> None:
        """Append one row per piece: values go to `name`, row ends to `<name>_offsets`."""
        end = self._ends.get(name)
        if end is None:
            self.append(f"{name}_offsets", [0])
            end = 0
        ends = end + np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self.append(f"{name}_offsets", ends)
        self._ends[name] = int(ends[-1]) if len(ends) else end
        if len(pieces):
            self.append(name, np.concatenate(pieces))

    def append_rows(self, name: str, values: NDArray, offsets: NDArray[np.int64]) -> None:
        """Append the rows of another ragged column, whose first offset is 0."""
        end = self._ends.get(name)
        if end is None:
            self.append(f"{name}_offsets", [0])
            end = 0
        self.append(f"{name}_offsets", end + offsets[1:])
        self.append(name, values)
        self._ends[name] = end + len(values)

    def written(self, name: str) -> NDArray:
        """What was appended to column `name` so far, memory-mapped."""
        spool = self._spools[name]
        spool.flush()
        path = self._folder / name
        dtype = self.dtypes[name]
        return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)

    def append_texts(self, name: str, texts: Sequence[str]) -> None:
        """Append one UTF-8 row per text to the ragged column `name`."""
        self.append_ragged(name, [np.frombuffer(text.encode(), np.uint8) for text in texts])

    def _put_together(self, path: Path) -> None:
        check_room(self.path, sum(spool.tell() for spool in self._spools.values()))
        with h5py.File(path, "w", **ALIGNED) as file:
            file.attrs.update(self.attributes)
            for name, spool in self._spools.items():
                dtype = self.dtypes[name]
                count = spool.tell() // dtype.itemsize
                spool.seek(0)
                dataset = file.create_dataset(name, (count,), dtype)
                for start in range(0, count, _BLOCK):
                    block = spool.read(_BLOCK * dtype.itemsize)
                    dataset[start : start + _BLOCK] = np.frombuffer(block, dtype)


def map_arrays(path: Path) -> tuple[dict[str, str | int], dict[str, NDArray]]:
    """Attributes, and read-only memory-mapped arrays by name, of a file of `ArrayWriter`.

    The system shares the mapped pages between all processes that read the file.

    Raises:
        OSError: not HDF5, truncated, or with datasets that are not contiguous.
        UserError: HDF5 cannot lock it.
    """
    try:
        with h5py.File(path, "r") as file:
            attributes = {
                name: value if isinstance(value, str) else int(value)
                for name, value in file.attrs.items()
            }
            layout = {
                name: (dataset.id.get_offset(), dataset.shape[0], dataset.dtype)
                for name, dataset in file.items()
            }
    except OSError as error:
        if problem := hdf5_lock_problem(error):
            raise UserError(f"{path} is {problem}") from error
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise OSError(f"not a packed file: {error}") from error  # damaged, or something else
    raw = np.asarray(np.memmap(path, np.uint8, "r"))
    arrays = {}
    for name, (offset, count, dtype) in layout.items():
        size = count * dtype.itemsize
        if size and (offset is None or offset + size > len(raw)):
            raise OSError(f"dataset {name!r} is not one whole block")
        arrays[name] = raw[offset : offset + size].view(dtype) if size else np.empty(0, dtype)
    return attributes, arrays


def is_current(path: Path, columns: Iterable[str], **attributes: str | int) -> bool:
    """Whether `path` is an undamaged file of `ArrayWriter` with these columns and attributes."""
    try:
        stat = path.stat()
        if not _is_undamaged(path, stat.st_mtime_ns, stat.st_size):
            return False
        found, arrays = map_arrays(path)
    except OSError:
        return False
    return set(columns) <= arrays.keys() and attributes.items() <= found.items()


def _add_checksum(path: Path) -> None:
    """Write a checksum of a whole file behind it, where HDF5 does not look."""
    checksum = _checksum(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(checksum)


@functools.lru_cache
def _is_undamaged(path: Path, changed: int, size: int) -> bool:
    """Whether the checksum holds, which is compared once for each state of the file.

    Before HDF5 sees the file: a single bit may keep it busy for ever.
    """
    end = size - _CHECKSUM_BYTES
    with path.open("rb") as file:
        file.seek(max(end, 0))
        return end > 0 and file.read() == _checksum(path, end)


def _checksum(path: Path, size: int) -> bytes:
    """Of the first `size` bytes of a file."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(min(_BLOCK, size)):
            checksum, size = zlib.crc32(block, checksum), size - len(block)
    return checksum.to_bytes(_CHECKSUM_BYTES)


def read_text(blob: NDArray[np.uint8], offsets: NDArray[np.int64], row: int) -> str:
    """One row of a column written by `append_texts`."""
    return blob[offsets[row] : offsets[row + 1]].tobytes().decode()


def gather_ragged(
    values: NDArray, offsets: NDArray[np.int64], rows: NDArray[np.int64], dtype: DTypeLike
) -> tuple[NDArray, NDArray[np.int64]]:
    """Rows of a ragged array, padded with zeros to the longest of them.

    Args:
        values: (total, ...) values of all rows, one row after the other.
        offsets: (n + 1,) where each row starts in `values`, and the end.
        rows: (R,) rows wanted, in any order.
        dtype: of the result.

    Returns:
        Padded values (R, longest, ...) and lengths (R,).
    """
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    longest = int(lengths.max(initial=0))
    columns = np.arange(longest)
    real = columns < lengths[:, None]
    padded = np.zeros((len(rows), longest, *values.shape[1:]), dtype)
    padded[real] = values[(starts[:, None] + columns)[real]]
    return padded, lengths
