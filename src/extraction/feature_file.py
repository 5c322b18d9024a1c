"""A file of features that is written in order, in as many runs as it takes."""

import json
import os
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dact.datamodules.cache import check_room, unfinished
from dact.errors import UserError
from dact.locks import Lock, hdf5_lock_problem

#: Name of the dataset with the features.
DATASET = "data"


class FeatureFile:
    """`{split}_features.hdf5`: features `data`, names `images` and flags `skipped`, row by row.

    It has another name until the last row is in it. Everything in it is laid out at the start, so
    that later only numbers are written into their places: to be killed at any moment leaves a file
    that can be gone on with. How far it is filled stands in a text file beside it.

    Use as a context manager; leaving it closes the file and lets go of its lock.

    Args:
        path: file to be written.
        images: names of the images, row by row.
        shape: (C, H, W) or (T, C) of a row.
        dtype: float16 or float32.
        settings: what the features depend on, kept as attributes of `data`.
        overwrite: replace features of other settings instead of refusing.

    Raises:
        UserError: it is there already or was begun with other settings, another process writes
            it, or there is no room for it.
    """

    def __init__(
        self,
        path: Path,
        images: Sequence[str],
        shape: Sequence[int],
        dtype: np.dtype,
        settings: Mapping[str, Any],
        *,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.rows = len(images)
        self.rows_done = 0
        self._names = np.array([os.fsencode(name) for name in images])
        self._shape = (self.rows, *shape)
        self._dtype = np.dtype(dtype)
        self._settings = dict(settings)
        self._overwrite = overwrite
        self._partial = unfinished(self.path)
        self._journal = self._partial.with_name(self._partial.name + ".rows")
        self._lock = Lock(self.path.with_name(f".{self.path.name}.lock"), "output_dir=PATH")

    @property
    def names(self) -> list[str]:
        """Names of the images, row by row, in the order that the file was begun with."""
        return [os.fsdecode(name) for name in self._names]

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return self.rows_done == self.rows

    def __enter__(self) -> "FeatureFile":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._lock.acquire():
                raise UserError(
                    f"{self.path} is being written by another process ({self._lock.path} is "
                    f"{self._lock.holder() or 'locked'})"
                )
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written: {error.strerror}; give another place with "
                "output_dir=PATH"
            ) from error
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        self._lock.release(remove=self.path.exists())  # then nobody needs it any more

    def append(self, features: NDArray[np.floating], skipped: Sequence[bool]) -> None:
        """Write the next rows, and note that they are there once they are on the disk.

        Args:
            features: (n, C, H, W) or (n, T, C), finite in the file's type.
            skipped: (n,) which of the images could not be read.

        Raises:
            UserError: a value that the type cannot hold, or a disk that is full or fails.
        """
        with np.errstate(over="ignore"):
            rows = features.astype(self._dtype)
        finite = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
        if not finite.all():
            name = os.fsdecode(self._names[self.rows_done + int(np.argmin(finite))])
            raise UserError(
                f"{name}: its features hold NaN or are too large for {self._dtype}: use "
                "dtype=float32, or other weights"
            )
        end = self.rows_done + len(rows)
        try:
            for part, start in zip(
                (rows, np.asarray(skipped, np.uint8)), self._starts, strict=True
            ):
                self._write(part.tobytes(), start + self.rows_done * part[0].nbytes)
            os.fsync(self._file.fileno())
            with self._journal.open("a") as journal:
                journal.write(f"{end}\n")
        except OSError as error:
            raise UserError(
                f"{self._partial} cannot be written: {error.strerror}; mend that and run the same "
                f"command again, which goes on after {self.rows_done} of {self.rows} images"
            ) from error
        self.rows_done = end

    def _write(self, content: bytes, place: int) -> None:
        """Not by HDF5, which may crash when it closes a file that it could not write."""
        left = memoryview(content)
        while left:
            done = os.pwrite(self._file.fileno(), left, place)
            left, place = left[done:], place + done

    def finish(self) -> list[str]:
        """Give the file its name, unless it has it; returns the images that were skipped.

        Raises:
            RuntimeError: there are rows to come.
        """
        if not self.complete:
            raise RuntimeError(f"{self.path} has {self.rows_done} of {self.rows} rows")
        if self._file is not None:
            self._file.close()
            self._file = None
            os.replace(self._partial, self.path)
            self._journal.unlink(missing_ok=True)
        with h5py.File(self.path, "r") as file:
            skipped = self._names[file["skipped"][:].astype(bool)]
        return [os.fsdecode(name) for name in skipped]

    def _begin(self) -> None:
        self._file: FileIO | None = None
        if self.path.exists() and self._is_ours(self.path):
            self.rows_done = self.rows
            return
        noted = self._rows_noted()
        if noted and self._partial.exists() and self._is_ours(self._partial):  # 0: nothing to lose
            self.rows_done = noted
            self._journal.write_text(f"{noted}\n")  # without the torn line of a killed process
            check_room(self._partial, self._bytes_of(self.rows - self.rows_done))
        else:
            self._create()
        with h5py.File(self._partial, "r") as file:
            self._starts = [file[name].id.get_offset() for name in (DATASET, "skipped")]
        self._file = self._partial.open("r+b", buffering=0)

    def _rows_noted(self) -> int | None:
        """The last whole line of the journal; None if there is none that can be."""
        try:
            whole = self._journal.read_text().rpartition("\n")[0]
            noted = int(whole.rpartition("\n")[2])
        except (OSError, ValueError):
            return None
        return noted if 0 <= noted <= self.rows else None

    def _bytes_of(self, rows: int) -> int:
        return rows * int(np.prod(self._shape[1:])) * self._dtype.itemsize

    def _create(self) -> None:
        self._journal.unlink(missing_ok=True)
        self._partial.unlink(missing_ok=True)
        check_room(self._partial, self._bytes_of(self.rows))
        with h5py.File(self._partial, "w") as file:
            place = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            place.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            place.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # rows are zero until they are written
            data = file.create_dataset(DATASET, self._shape, self._dtype, dcpl=place)
            data.attrs.update(self._settings)
            file["images"] = self._names
            file["skipped"] = np.zeros(self.rows, np.uint8)
        with self._journal.open("w") as journal:
            journal.write("0\n")

    def _is_ours(self, path: Path) -> bool:
        """Whether a file has these images and settings; False if it is to be replaced.

        Raises:
            UserError: it has others, and is not to be replaced.
        """
        try:
            with h5py.File(path, "r") as file:
                difference, names = self._difference(file), file["images"][:]
        except (OSError, KeyError) as error:
            if problem := hdf5_lock_problem(error):
                raise UserError(f"{path} is {problem}") from error
            if number := getattr(error, "errno", None):  # the file may be as it should
                raise UserError(f"{path} cannot be read: {os.strerror(number)}") from error
            difference = "is damaged, or was not made by this program"
        if difference is None:
            self._names = names  # the same in perhaps another order, that of the rows there
        if difference is None or self._overwrite:
            return difference is None
        raise UserError(
            f"{path} {difference}: delete it, give another output_dir, or replace it with "
            "overwrite=true"
        )

    def _difference(self, file: h5py.File) -> str | None:
        data, names = file[DATASET], file["images"][:]
        for name, value in self._settings.items():
            if not np.array_equal(had := data.attrs.get(name), value):
                return f"was made with {_differing(had, value)}"
        if not self._has_names(names):
            other = sorted({*names.tolist()} ^ {*self._names.tolist()})
            example = f", such as {os.fsdecode(other[0])}" if other else ""
            return f"is of other images ({len(names)}, now {self.rows}{example})"
        if data.shape != self._shape or data.dtype != self._dtype:
            return f"has {data.dtype} rows of {data.shape[1:]}, not {self._dtype} {self._shape[1:]}"
        return None

    def _has_names(self, names: NDArray[np.bytes_]) -> bool:
        """Whether these are our images, in any order if no two have the same name."""
        if len(names) != self.rows:
            return False
        ours = np.sort(self._names)
        distinct = (ours[1:] != ours[:-1]).all()
        return bool((names == self._names).all() or (distinct and (np.sort(names) == ours).all()))


def _differing(had: Any, wanted: Any) -> str:
    """What of a setting in JSON is another: `layer=layer2, not layer3`."""
    try:
        before, now = json.loads(had or "null"), json.loads(wanted)
        names = [name for name in now if before.get(name) != now[name]]
        return ", ".join(f"{name}={before.get(name)}, not {now[name]}" for name in names)
    except (ValueError, AttributeError, TypeError):
        return f"{had}, not {wanted}"
