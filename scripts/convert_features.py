"""Rewrite a feature file as training reads it: dataset `data`, float16, half the size of float32.

`python scripts/convert_features.py --input features.h5 [--dataset features] --output small.hdf5`

Takes (images, C, H, W) or (images, tokens, C) of any type of numbers, also with the channels
elsewhere (`--axes nhwc`, `--axes nct`). Names of images, skipped rows and what made the features go
along. float16 keeps 11 bits of each value; a value past its range, 65504, is an error.
"""

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np
from rich.progress import track

from dact.datamodules.axes import KNOWN_AXES
from dact.datamodules.cache import check_room
from dact.datamodules.feature_files import (
    FOUND_OUT,
    OURS,
    Choice,
    ImageFeatures,
    open_image_features,
)
from dact.errors import UserError
from dact.one_line import one_line_errors

#: Rows that are in memory at a time.
BLOCK = 64


def convert(
    source: Path,
    target: Path,
    dtype: np.dtype,
    *,
    choice: Choice = FOUND_OUT,
    grid: tuple[int, int] | None = None,
    progress: bool = True,
) -> None:
    """Write all rows of `source` as `dtype`; `target` appears when it is whole.

    Args:
        source: HDF5 file.
        target: HDF5 file to be written.
        dtype: float16 or float32.
        choice: which dataset of the source, and the order of its axes.
        grid: rows and columns that the last tokens of an image fill; (0, 0): they fill none.
        progress: show a bar.

    Raises:
        UserError: the source cannot be used, the target exists or does not fit on its disk, or a
            value is out of range, NaN or infinity.
    """
    store = open_image_features(source, choice, any_number=True)
    if target.exists():
        raise UserError(f"{target} exists already: give another name or delete it")
    attributes = _attributes(store, grid)
    shape = (len(store), *store.row_shape)
    check_room(target, int(np.prod(shape)) * dtype.itemsize)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            rows = file.create_dataset(OURS, shape, dtype)
            rows.attrs.update(attributes)
            _copy_about_rows(store, file)
            starts = range(0, len(store), BLOCK)
            for start in track(starts, f"writing {target.name}", disable=not progress):
                rows[start : start + BLOCK] = _block(store, start, dtype)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _attributes(store: ImageFeatures, grid: tuple[int, int] | None) -> dict[str, object]:
    """What the new dataset says of itself: all that the old one did, and its axes."""
    kept = {
        name: value
        for name, value in store.attributes.items()
        if isinstance(value, (str, bytes, np.ndarray, np.generic)) and not name.isupper()
    }
    if grid is not None and store.kind != "tokens":
        raise UserError("--grid is for tokens, (images, tokens, C)")
    if grid is not None and np.prod(grid) > store.num_cells:
        raise UserError(f"--grid {grid[0]} {grid[1]}: there are only {store.num_cells} tokens")
    return {**kept, "axes": store.AXES} | ({} if grid is None else {"grid": grid})


def _copy_about_rows(store: ImageFeatures, target: h5py.File) -> None:
    names, numbers, skipped = store.images
    if names is not None or numbers is not None:
        target["images"] = numbers if names is None else names
    if skipped is not None:
        target["skipped"] = skipped.astype(np.uint8)


def _block(store: ImageFeatures, start: int, dtype: np.dtype) -> np.ndarray:
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
    parser.add_argument("--input", type=Path, required=True, help="HDF5 file with the features")
    parser.add_argument("--output", type=Path, required=True, help="HDF5 to be written")
    parser.add_argument(
        "--dataset", help=f"name in the input; by default {OURS}, or the only one that can be"
    )
    parser.add_argument(
        "--axes", choices=KNOWN_AXES, help="order in the input; by default nchw or ntc"
    )
    parser.add_argument(
        "--grid",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="how the last tokens of an image fill it; 0 0: they do not",
    )
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    arguments = parser.parse_args()
    convert(
        arguments.input,
        arguments.output,
        np.dtype(arguments.dtype),
        choice=Choice(arguments.dataset, arguments.axes),
        grid=arguments.grid and tuple(arguments.grid),
    )
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
