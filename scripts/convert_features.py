"""Rewrite a feature file as float16, half the size on disk and on the way to the GPU.

`python scripts/convert_features.py --input features.hdf5 --output small.hdf5`

float16 keeps 11 bits of each value; a value past its range, 65504, is an error.
"""

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np
from rich.progress import track

from dact.datamodules.cache import check_room
from dact.datamodules.features import GridFeatures
from dact.errors import UserError
from dact.one_line import one_line_errors

#: Rows that are in memory at a time.
BLOCK = 64


def convert(source: Path, target: Path, dtype: np.dtype, *, progress: bool = True) -> None:
    """Write all rows of `source` as `dtype`; `target` appears when it is whole.

    Raises:
        UserError: the source cannot be used, the target exists or does not fit on its disk, or a
            value is out of range, NaN or infinity.
    """
    store = GridFeatures(source)
    if target.exists():
        raise UserError(f"{target} exists already: give another name or delete it")
    shape = (len(store), store.feature_dim, *store.grid_size)
    check_room(target, int(np.prod(shape)) * dtype.itemsize)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            rows = file.create_dataset(store.dataset, shape, dtype)
            starts = range(0, len(store), BLOCK)
            for start in track(starts, f"writing {target.name}", disable=not progress):
                rows[start : start + BLOCK] = _block(store, start, dtype)
            _copy_notes(store, file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_notes(store: GridFeatures, target: h5py.File) -> None:
    """Copy what the source says of its rows: names, skipped images, and the backbone."""
    with h5py.File(store.path, "r") as source:
        for name in {"images", "skipped"} & source.keys():
            source.copy(name, target)
        target[store.dataset].attrs.update(source[store.dataset].attrs)


def _block(store: GridFeatures, start: int, dtype: np.dtype) -> np.ndarray:
    rows = np.arange(start, min(start + BLOCK, len(store)))
    features, _ = store.read(rows)
    largest = np.abs(features).reshape(len(rows), -1).max(axis=1)
    if (largest > np.finfo(dtype).max).any():
        row = rows[largest.argmax()]
        raise UserError(f"{store.path}: row {row} holds {largest.max():g}, too much for {dtype}")
    return features.astype(dtype)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, required=True, help="HDF5, dataset data (n, C, H, W)")
    parser.add_argument("--output", type=Path, required=True, help="HDF5 to be written")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    arguments = parser.parse_args()
    convert(arguments.input, arguments.output, np.dtype(arguments.dtype))
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
