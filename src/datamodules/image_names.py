"""What the images of a feature store are called, and which names are of the same image."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from .hdf5_rows import HDF5Rows

#: How datasets are called that may say which image each row is.
_LIKE_IDS = re.compile(r"(^|_)ids?$|image|file|name|path|index")


class ImageNames(NamedTuple):
    """What a store says of its images, row by row."""

    names: Sequence[str] | None = None
    """File names or ids, "" for a row without one; None: the store names no image."""
    numbers: NDArray[np.int64] | None = None
    """Their `image_index`; None: without names, the rows themselves."""
    skipped: NDArray[np.bool_] | None = None
    """Rows whose image could not be read when the features were made."""


def read_names(rows: HDF5Rows) -> ImageNames:
    """Of the datasets `images`, names or numbers, and `skipped`, flags, if they are there.

    Without `images`, the only dataset of file names says which image each row is; so do several
    with the same names in perhaps other folders.

    Raises:
        UserError: one of them has another length than the features, or `images` holds fractions.
    """
    skipped = rows.beside("skipped")
    flags = None if skipped is None or skipped.dtype.kind not in "biuf" else skipped != 0
    named = rows.beside("images")
    if named is None:
        texts = [_texts(rows.beside(name)) for name in _columns(rows, "OS")]
        found = [names for names in texts if names and _are_file_names(names)]
        different = {tuple(_stem(_as_path(name)) for name in names) for names in found}
        return ImageNames(found[0] if len(different) == 1 else None, None, flags)
    if named.dtype.kind == "f":  # as MATLAB writes whole numbers
        fractions = named[named != np.rint(named)]
        if len(fractions):
            raise UserError(
                f"{rows.path}: 'images' holds {fractions[0]}, neither a name nor a whole number: "
                "make the file anew"
            )
        named = named.astype(np.int64)
    if named.dtype.kind in "iu":
        return ImageNames(None, named.astype(np.int64), flags)
    return ImageNames(_texts(named), None, flags)


def may_name_images(rows: HDF5Rows) -> list[str]:
    """Datasets that may say which image each row is, but are not taken to do so."""
    known = read_names(rows)
    if known.names is not None or known.numbers is not None:
        return []
    others = set(_columns(rows, "OSiu")) - {"images", "skipped"}
    return sorted(name for name in others if _LIKE_IDS.search(name.lower()))


def _columns(rows: HDF5Rows, kinds: str) -> list[str]:
    """Datasets of these kinds of values that have one entry per row."""
    return [name for name, dtype in rows.columns().items() if dtype.kind in kinds]


def _texts(values: NDArray) -> list[str] | None:
    """Texts of an HDF5 dataset; None if they are none."""
    texts = [value.decode(errors="replace") for value in values if isinstance(value, bytes)]
    return texts if len(texts) == len(values) else None


def _are_file_names(names: Sequence[str]) -> bool:
    suffixes = [_as_path(name).suffix for name in names if name]
    return bool(suffixes) and all(suffix[1:2].isalpha() for suffix in suffixes)


def rows_by_name(wanted: Sequence[str], names: Sequence[str], where: Path) -> NDArray[np.int64]:
    """Row of each wanted name, -1 where there is none.

    Raises:
        UserError: a wanted name is that of two rows.
    """
    row_of = {name: row for row, name in enumerate(names) if name}
    rows = [row_of.get(name, -1) for name in wanted]
    if len(row_of) < sum(map(bool, names)):
        counts = Counter(names)
        if twice := next((name for name in wanted if name and counts[name] > 1), None):
            raise UserError(f"{where} names the image {twice} twice: make it anew")
    lacking = [place for place, row in enumerate(rows) if row < 0 and wanted[place]]
    if lacking:  # of another extension, as after a conversion to JPEG
        used = set(rows)
        free = _unique_stems((row, name) for row, name in enumerate(names) if row not in used)
        asked = _unique_stems((place, wanted[place]) for place in lacking)
        for stem, place in asked.items():
            row = free.get(stem, -1)
            rows[place] = row if _may_be_one_folder(wanted[place], names[row]) else -1
    return np.array(rows, np.int64)


def _unique_stems(named: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Places by name without folder and extension, of those that differ in it."""
    places: dict[str, list[int]] = {}
    for place, name in named:
        if name:
            places.setdefault(_stem(_as_path(name)), []).append(place)
    return {stem: found[0] for stem, found in places.items() if len(found) == 1}


def _as_path(name: str) -> PurePosixPath:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/"))


def _stem(path: PurePosixPath) -> str:
    """The name without its extension; the 5 of `photo.5` is none."""
    return path.stem if path.suffix[1:2].isalpha() else path.name


def _may_be_one_folder(one: str, other: str) -> bool:
    """Whether the last folders of two names are the same, as far as both have one."""
    folders = {_as_path(name).parent.name for name in (one, other)} - {""}
    return len(folders) < 2
