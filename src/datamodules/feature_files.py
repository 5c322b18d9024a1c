"""Which file holds the image features of a split, and which of its datasets they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from dact.errors import UserError

from .axes import GRID_AXES, KNOWN_AXES, TOKEN_AXES, doubt, spelled
from .features import GridFeatures, TokenFeatures
from .hdf5_rows import contents, described, open_hdf5

#: Suffixes of HDF5 files, and names of the files that usual programs write, the first ones ours.
SUFFIXES = (".hdf5", ".h5", ".hdf")
STEMS = ("{}_features", "features_{}", "{}")
#: The dataset that `scripts/extract_features.py` writes.
OURS = "data"
#: Two files are of the same features if so many rows agree as far as float16 can tell.
_COMPARED_ROWS = 9
_ROUNDING = {"rtol": 1e-3, "atol": 1e-6}

ImageFeatures = GridFeatures | TokenFeatures


class Choice(NamedTuple):
    """What a user said of a feature file; None: it is found out."""

    dataset: str | None = None
    axes: str | None = None

    def options(self, dataset: str, axes: str | None = None) -> str:
        """These words on the command line of run.py."""
        given = {"feature_dataset": dataset, "feature_axes": axes}
        return " ".join(f"data.{name}={value}" for name, value in given.items() if value)


FOUND_OUT = Choice()


def open_image_features(
    path: Path, choice: Choice = FOUND_OUT, *, any_number: bool = False
) -> ImageFeatures:
    """The features in an HDF5 file.

    The dataset is the chosen one, else `data`, else the only one that can be image features: of
    rank 4, (images, C, H, W), or of rank 3, (images, tokens, C). The attribute `axes` of a dataset
    may declare another order of its axes, and so may the choice.

    Args:
        path: of the file.
        choice: of the user.
        any_number: take integers and other floats, too, and read them as float32.

    Raises:
        UserError: no file, no such dataset, several that it could be, or axes that are in doubt.
    """
    with open_hdf5(path) as file:
        dataset = _dataset(path, file, choice)
        rows = file.get(dataset)
        if not isinstance(rows, h5py.Dataset):  # refused there, in the usual words
            return GridFeatures(path, dataset)
        axes = _axes(path, rows, dataset, choice)
    kind = TokenFeatures if axes in TOKEN_AXES else GridFeatures
    return kind(path, dataset, axes, any_number=any_number)


def _dataset(path: Path, file: h5py.File, choice: Choice) -> str:
    datasets = contents(file)
    if choice.dataset is not None:
        return choice.dataset.strip("/")
    can_be = {name: rows for name, rows in datasets.items() if _can_be_features(rows, "fiu")}
    if OURS in can_be or not can_be:
        return OURS
    floats = {name: rows for name, rows in can_be.items() if _can_be_features(rows, "f")}
    found = list(floats or can_be)
    if len(found) > 1:
        raise UserError(
            f"{path} has no dataset '{OURS}', but several that may be features: "
            f"{described(floats or can_be)}; choose one with {choice.options(found[0])} (run.py) "
            f"or --dataset {found[0]} (scripts/convert_features.py)"
        )
    return found[0]


def _can_be_features(rows: h5py.Dataset, kinds: str) -> bool:
    return rows.ndim in (3, 4) and rows.dtype.kind in kinds and 0 not in rows.shape


def _axes(path: Path, rows: h5py.Dataset, dataset: str, choice: Choice) -> str | None:
    """Chosen or declared axes; None of a rank that can be neither."""
    if rows.ndim not in (3, 4) and choice.axes is None:
        return None
    declared = rows.attrs.get("axes")
    declared = declared.decode() if isinstance(declared, bytes) else declared
    if declared is not None and choice.axes not in (None, declared):
        raise UserError(
            f"{path}: '{dataset}' says that its axes are {declared}, not {choice.axes}: leave out "
            "data.feature_axes"
        )
    axes = choice.axes or declared
    if axes is not None and (axes not in KNOWN_AXES or len(axes) != rows.ndim):
        fitting = [known for known in KNOWN_AXES if len(known) == rows.ndim]
        raise UserError(
            f"{path}: '{dataset}' has shape {rows.shape}, which axes {axes!r} do not fit; "
            f"possible: {', '.join(fitting) or 'none'}"
        )
    found = doubt(rows.shape) if axes is None else None
    if found is not None:
        usual, other = found
        raise UserError(
            f"{path}: '{dataset}' has shape {rows.shape}, expected as ({spelled(usual)}), but that "
            f"looks like ({spelled(other)}): say which it is with data.feature_axes={other} or "
            f"data.feature_axes={usual}"
        )
    return axes or (GRID_AXES if rows.ndim == 4 else TOKEN_AXES)[0]


def files_of(folder: Path, split: str) -> list[Path]:
    """Files that may hold the features of a split, ours first; there may be none."""
    names = [f"{stem.format(split)}{suffix}" for stem in STEMS for suffix in SUFFIXES]
    return [path for name in names if (path := folder / name).is_file()]


def expected(folder: Path, split: str) -> Path:
    """Where `scripts/extract_features.py` puts the features of a split."""
    return folder / f"{split}_features{SUFFIXES[0]}"


def find_features(folder: Path, split: str, choice: Choice = FOUND_OUT) -> ImageFeatures:
    """The features of a split: those in the first of `files_of` that can be used.

    Raises:
        UserError: there is none, naming what there is instead.
    """
    paths = files_of(folder, split)
    if not paths:
        raise UserError(_missing(folder, split))
    first_error = None
    for path in paths:
        try:
            return open_image_features(path, choice)
        except UserError as error:
            first_error = first_error or error
    raise first_error


def check_alone(folder: Path, split: str, choice: Choice = FOUND_OUT) -> Iterator[str]:
    """Notes on what is taken as the features of a split, for the user.

    Yields:
        Lines.

    Raises:
        UserError: there are none, or other files hold other features of the split.
    """
    taken = find_features(folder, split, choice)
    if taken.path != expected(folder, split) or taken.dataset != OURS or taken.kind == "tokens":
        yield f"{taken.path}: '{taken.dataset}' is read as {_in_words(taken)}"
    if unread := taken.may_name_images():
        yield (
            f"{taken.path}: without a dataset 'images', rows are taken as image_index; rename "
            f"'{unread[0]}' to 'images' if it says which image each row is"
        )
    for path in files_of(folder, split):
        if path == taken.path:
            continue
        try:
            other = open_image_features(path, choice)
        except UserError as error:
            yield f"{taken.path} is used; the file beside it cannot be: {error}"
            continue
        if difference := _difference(taken, other):
            raise UserError(
                f"{taken.path} and {path} both hold features of {split}, and {difference}: move or "
                "delete one of them"
            )


def _in_words(features: ImageFeatures) -> str:
    count, channels = len(features), features.feature_dim
    if features.kind == "grid":
        rows, columns = features.grid_size
        return f"{count} images of {channels} channels in {rows}×{columns} cells"
    place = features.map
    where = "which have no place in the image"
    if place is not None:
        rows, columns = place.grid
        before = f"{place.first} before a map of " if place.first else "a map of "
        where = f"{before}{rows}×{columns}"
    return f"{count} images of {features.num_cells} tokens ({where}) of {channels} features"


def _difference(one: ImageFeatures, other: ImageFeatures) -> str | None:
    """How two files of features differ, as far as shapes and some rows say."""
    shapes = [(len(store), *store.row_shape) for store in (one, other)]
    if one.kind != other.kind or shapes[0] != shapes[1]:
        return f"differ in shape, {shapes[0]} and {shapes[1]}"
    for row in np.unique(np.linspace(0, len(one) - 1, _COMPARED_ROWS).astype(np.int64)):
        values = [store.read(np.array([row]))[0].astype(np.float64) for store in (one, other)]
        if not np.allclose(*values, **_ROUNDING):
            return f"differ in row {row}"
    return None


def _missing(folder: Path, split: str) -> str:
    text = (
        f"{expected(folder, split)} is missing: it should hold a dataset '{OURS}' of (images, "
        "channels, height, width) or (images, tokens, channels), row = image_index; "
        "scripts/extract_features.py makes it from images; or use data.features=state"
    )
    there = _listed(sorted(folder.glob("*"))) if folder.is_dir() else ""
    command = f"python scripts/convert_features.py --input FILE --output {expected(folder, split)}"
    return f"{text}; {folder} holds {there}, which {command} takes" if there else text


def _listed(paths: Sequence[Path], most: int = 4) -> str:
    """HDF5 files with their datasets."""
    parts = []
    for path in [path for path in paths if path.suffix in SUFFIXES and path.is_file()]:
        try:
            with open_hdf5(path) as file:
                parts.append(f"{path.name} ({described(contents(file))})")
        except UserError:
            parts.append(f"{path.name} (no whole HDF5 file)")
    more = [f"{len(parts) - most} more"] if len(parts) > most else []
    return ", ".join([*parts[:most], *more])
