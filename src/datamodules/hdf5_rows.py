"""The rows of an HDF5 dataset of numbers: checked, and read straight into the caller's array."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError
from dact.locks import hdf5_lock_problem


def open_hdf5(path: Path) -> h5py.File:
    """An HDF5 file, opened for reading.

    Raises:
        UserError: it is missing, damaged or locked.
    """
    try:
        return h5py.File(path, "r")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except OSError as error:
        if problem := hdf5_lock_problem(error):
            raise UserError(f"{path} is {problem}") from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # nothing is wrong with the file
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no whole HDF5 file: {reason}") from error


def contents(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All datasets of a file by their paths, those in groups too."""
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, member: object) -> None:
        if isinstance(member, h5py.Dataset):
            found[name] = member

    file.visititems(note)
    return found


def described(datasets: Mapping[str, h5py.Dataset], most: int = 6) -> str:
    """Names, shapes and types of datasets, in one line."""
    parts = [f"'{name}' {rows.shape} {rows.dtype}" for name, rows in datasets.items()]
    more = [f"{len(parts) - most} more"] if len(parts) > most else []
    return ", ".join([*parts[:most], *more]) or "no dataset"


class HDF5Rows:
    """Rows of a float16 or float32 dataset.

    Each process opens the file for itself on its first read: an HDF5 handle must not be shared
    by forked processes. Pickling leaves the open file out.

    Args:
        path: HDF5 file.
        dataset: name of the dataset in it.
        axes: names of its axes, rows first, as in "images, C, H, W": so many it must have.
        any_number: take integers and other floats, too, and read them as float32.
        advice: what to do about a dataset of another type, for the message.

    Raises:
        UserError: missing, truncated, or a dataset of another rank or type.
    """

    def __init__(
        self, path: Path, dataset: str, axes: str, *, any_number: bool = False, advice: str = ""
    ) -> None:
        self.path = Path(path)
        self.dataset = dataset
        self.axes = axes
        self._any_number = any_number
        self._advice = advice
        with open_hdf5(self.path) as file:
            rows = self._checked(file)
            self.shape: tuple[int, ...] = rows.shape
            kept = _is_usual(rows.dtype)
            # HDF5 swaps bytes and converts numbers where it must.
            self.dtype = rows.dtype.newbyteorder("=") if kept else np.dtype(np.float32)
            self.attributes = dict(rows.attrs)
        self._opened: h5py.Dataset | None = None  # it keeps its file open
        self._pid = -1

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None, "_pid": -1}

    def beside(self, name: str) -> NDArray | None:
        """A dataset with one entry per row, of the rows' group or of the file; None: there is none.

        Raises:
            UserError: it has another number of entries.
        """
        with open_hdf5(self.path) as file:
            known = (group.get(name) for group in (file[self.dataset].parent, file))
            found = next((one for one in known if _is_column(one)), None)
            if found is None:
                return None
            if len(found) != len(self):
                raise UserError(
                    f"{self.path}: '{name}' has {len(found)} entries, but '{self.dataset}' has "
                    f"{len(self)} rows: make the file anew"
                )
            return found[:].reshape(len(self))

    def columns(self) -> dict[str, np.dtype]:
        """Types by name of all datasets in the rows' group with one entry per row."""
        with open_hdf5(self.path) as file:
            group = file[self.dataset].parent
            found = {name: group[name] for name in group if _is_column(group.get(name))}
            return {name: one.dtype for name, one in found.items() if len(one) == len(self)}

    def read(
        self,
        rows: NDArray[np.int64],
        into: NDArray[np.floating],
        places: NDArray[np.int64] | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> None:
        """Read rows; those that follow each other, there and in the result, in one piece.

        Args:
            rows: (R,) distinct rows in increasing order, each in 0..n-1.
            into: (P, ...) C-contiguous result; HDF5 writes into it itself. With `counts` its
                second axis may be shorter than the dataset's, and what is not read is left alone.
            places: (R,) where in `into` each row goes, 0..R-1 by default.
            counts: (R,) how many entries of the second axis to read of each row, all by default.

        Raises:
            UserError: a row that cannot be read, or holds NaN or infinity.
        """
        places = np.arange(len(rows)) if places is None else places
        if counts is not None:
            for row, place, count in zip(rows, places, counts, strict=True):
                self._read_run(row, into[place : place + 1, :count], np.s_[:count])
            return
        follows = (np.diff(rows) == 1) & (np.diff(places) == 1)
        begins = np.flatnonzero(np.concatenate([[True], ~follows])) if len(rows) else []
        for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
            first = places[begin]
            self._read_run(rows[begin], into[first : first + end - begin])

    def _read_run(self, first: int, into: NDArray[np.floating], part: slice = np.s_[:]) -> None:
        """Rows from `first` on, of each the `part` of the second axis, in one piece."""
        try:
            self._rows().read_direct(into, np.s_[first : first + len(into), part])
        except OSError as error:
            if len(into) == 1:
                raise UserError(f"{self.path}: row {first} cannot be read: {error}") from error
            for number in range(len(into)):  # to name the one
                self._read_run(first + number, into[number : number + 1], part)
        for number in np.flatnonzero(~_seem_finite(into.reshape(len(into), -1))):
            if not np.isfinite(into[number]).all():
                raise UserError(f"{self.path}: row {first + number} holds NaN or infinity")

    def _rows(self) -> h5py.Dataset:
        if self._opened is None or self._pid != os.getpid():
            self._opened = None  # let go of the parent's first, or HDF5 would share it
            self._opened, self._pid = open_hdf5(self.path)[self.dataset], os.getpid()
        return self._opened

    def _checked(self, file: h5py.File) -> h5py.Dataset:
        rows = file.get(self.dataset)
        if not isinstance(rows, h5py.Dataset):
            raise UserError(
                f"{self.path} has no dataset '{self.dataset}'; it holds {described(contents(file))}"
            )
        if rows.ndim != len(self.axes.split(",")) or 0 in rows.shape[1:]:
            raise UserError(
                f"{self.path}: '{self.dataset}' has shape {rows.shape}, not ({self.axes})"
            )
        if not _is_usual(rows.dtype) and not (self._any_number and rows.dtype.kind in "fiu"):
            advice = f": {self._advice}" if self._advice and rows.dtype.kind in "fiu" else ""
            raise UserError(
                f"{self.path}: '{self.dataset}' is {rows.dtype}, not float16 or float32{advice}"
            )
        return rows


def _is_column(found: object) -> bool:
    shape = found.shape if isinstance(found, h5py.Dataset) else ()
    return len(shape) == 1 or shape[1:] == (1,)


def _is_usual(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype.itemsize in (2, 4)


def _seem_finite(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each row is finite; far cheaper than a look at each value, and at times denied."""
    if rows.dtype == np.float16:  # slow to add up: look at the bits without the sign
        return (rows.view(np.uint16) << 1).max(axis=1) < 0x7C00 << 1
    with np.errstate(invalid="ignore", over="ignore"):
        return np.isfinite(rows.sum(axis=1))
