"""Objects of a bottom-up detector in TSV files, a line per image, into the file of `gqa_ragged`."""

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rich.progress
from numpy.typing import NDArray

from dact.errors import UserError

from .cache import check_room
from .gqa_ragged import FORMAT, FROM_TSV
from .packed_file import ArrayWriter

#: The fields that are read.
NEEDED = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
#: The usual files, told apart by their number of fields: those of the detector itself, and those
#: that LXMERT's copy of it writes, where the height comes first.
USUAL = {
    6: NEEDED,
    10: (
        *("image_id", "image_h", "image_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
        *("num_boxes", "boxes", "features"),
    ),
}
_OTHER_NAMES = {"img_id": "image_id", "img_w": "image_w", "img_h": "image_h"}
_COLUMNS = {
    **{"features": np.float16, "boxes": np.float32, "offsets": np.int64},
    **{"widths": np.int32, "heights": np.int32, "names": np.uint8, "names_offsets": np.int64},
}
#: How far a box may reach beyond its image, in pixels.
_BEYOND = 2.0


class _Line(NamedTuple):
    """The objects of an image."""

    image: str
    width: int
    height: int
    boxes: NDArray[np.float32]
    """(K, 4) x0, y0, x1, y1 in pixels."""
    features: NDArray[np.float32]
    """(K, C)."""


def write_objects_of_tsv(
    sources: Sequence[Path],
    target: Path,
    *,
    columns: Sequence[str] | None = None,
    skip_damaged: bool = False,
    progress: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> None:
    """Copy the objects of TSV files, rounded to float16, into one file for `RaggedObjects`.

    A line is an image, with as many boxes as it says. `boxes` (K · 4) and `features` (K · C) are
    float32 in base64. Memory holds a line; `target` appears when it is whole.

    Args:
        sources: the files. A first line with the names of the fields is understood.
        target: file to write.
        columns: names of the fields in order; None: see `USUAL`.
        skip_damaged: leave out lines that cannot be used, and say which.
        progress: show a bar.
        say: gets a line about the disk that is needed, and about each line that is left out.

    Raises:
        UserError: a file cannot be read, a line cannot be used, an image comes twice, or the
            target exists, cannot be written or does not fit on its disk.
    """
    if target.exists():
        raise UserError(f"{target} exists already: give another name or delete it")
    size = sum(_size(path) for path in sources)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        needed = size * 3 // 4  # base64 of float32 → float16, once as it comes and once in order
        free = check_room(target, needed)
        say(f"{target} needs up to {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free")
        with ArrayWriter(target, _COLUMNS) as writer:
            places, dim = _write(writer, sources, columns, skip_damaged, progress, say)
            names = ", ".join(path.name for path in sources)
            writer.attributes.update(format=FORMAT, feature_dim=dim, source=f"{FROM_TSV}{names}")
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    say(f"{len(places):,} images, whose objects have {dim:,} features each")


def _size(path: Path) -> int:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path.stat().st_size


def _write(
    writer: ArrayWriter,
    sources: Sequence[Path],
    columns: Sequence[str] | None,
    skip_damaged: bool,
    progress: bool,
    say: Callable[[str], object],
) -> tuple[dict[str, str], int]:
    """Where each image was found, and C."""
    places: dict[str, str] = {}
    dim, end = 0, 0
    writer.append("offsets", [0])
    for where, text, names in _lines(sources, columns, progress):
        try:
            line = _read(text, names, where, dim)
            if line.image in places:
                raise UserError(f"{where}: image {line.image} comes twice, as {places[line.image]}")
            rounded = _rounded(line, where)
        except UserError as error:
            if not skip_damaged:
                raise UserError(f"{error}; --skip-damaged leaves such lines out") from error
            say(f"left out: {error}")
            continue
        dim, end = line.features.shape[1], end + len(line.boxes)
        places[line.image] = where
        writer.append("features", rounded)
        shares = line.boxes / np.array([line.width, line.height] * 2, np.float32)
        writer.append("boxes", shares)
        writer.append("offsets", [end])
        writer.append("widths", [line.width])
        writer.append("heights", [line.height])
        writer.append_texts("names", [line.image])
    if not places:
        raise UserError(f"{', '.join(map(str, sources))}: no line with the objects of an image")
    return places, dim


def _lines(
    sources: Sequence[Path], columns: Sequence[str] | None, progress: bool
) -> Iterator[tuple[str, bytes, Sequence[str] | None]]:
    """(file and line for messages, line, names of its fields if they were said)."""
    for path in sources:
        names = columns
        what = {"description": f"reading {path.name}", "disable": not progress}
        try:
            with rich.progress.open(path, "rb", **what) as file:
                for number, text in enumerate(file, 1):
                    text = text.rstrip(b"\r\n")
                    if number == 1 and (header := _header(text)):
                        names = columns or header
                    elif text:
                        yield f"{path}: line {number}", text, names
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _header(text: bytes) -> Sequence[str] | None:
    names = [part.decode("latin-1").strip().lower() for part in text.split(b"\t", 20)]
    names = [_OTHER_NAMES.get(name, name) for name in names]
    return names if names[0] in NEEDED else None


def _read(text: bytes, names: Sequence[str] | None, where: str, dim: int) -> _Line:
    """One line; `dim` is C of those before, 0 of the first."""
    parts = text.split(b"\t")
    names = names or USUAL.get(len(parts))
    if names is None or len(parts) != len(names):
        wanted = len(names) if names else " or ".join(map(str, USUAL))
        raise UserError(
            f"{where} has {len(parts)} fields between tabs, not {wanted}: it is cut off, or "
            "--columns has to name them"
        )
    fields = {_OTHER_NAMES.get(name, name): part for name, part in zip(names, parts, strict=True)}
    if missing := [name for name in NEEDED if name not in fields]:
        raise UserError(f"{where} has no field {missing[0]}: its fields are {', '.join(names)}")
    image = fields["image_id"].decode("utf-8", "replace").strip()
    where = f"{where}, image {image}"
    count, width, height = (
        _number(fields, name, where) for name in ("num_boxes", "image_w", "image_h")
    )
    boxes = _floats(fields["boxes"], "boxes", count, where)
    if boxes.shape[1] != 4:
        raise UserError(f"{where}: each of its {count} boxes has {boxes.shape[1]} numbers, not 4")
    features = _floats(fields["features"], "features", count, where)
    if dim and features.shape[1] != dim:
        raise UserError(
            f"{where}: its objects have {features.shape[1]} features, those before have {dim}"
        )
    line = _Line(image, width, height, boxes, features)
    _check_size(line, where)
    return line


def _number(fields: dict[str, bytes], name: str, where: str) -> int:
    text = fields[name].decode("latin-1").strip()
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1 << 31 or value != int(value):
        raise UserError(f"{where}: {name} is {text!r:.40}, not a whole number of at least 1")
    return int(value)


def _floats(text: bytes, name: str, count: int, where: str) -> NDArray[np.float32]:
    """(count, ...) float32."""
    text = text.strip()
    if text.startswith((b"b'", b'b"')):  # a bytes literal, as Python 3 wrote it by mistake
        text = text[2:-1]
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{where}: {name} is no base64: {error}") from error
    if not content or len(content) % (4 * count):
        raise UserError(
            f"{where}: {name} has {len(content)} bytes, which are not float32 for {count} boxes"
        )
    values = np.frombuffer(content, "<f4").reshape(count, -1)
    if not np.isfinite(values).all():
        raise UserError(f"{where}: {name} holds NaN or infinity")
    return values


def _check_size(line: _Line, where: str) -> None:
    """Refuse boxes in other units or corners, and sizes of which width and height are exchanged."""
    right, low = float(line.boxes[:, [0, 2]].max()), float(line.boxes[:, [1, 3]].max())
    least, (width, height) = float(line.boxes.min()), (line.boxes[:, 2:] - line.boxes[:, :2]).T
    for wrong, what in (
        (0 < max(right, low) <= 1, f"none of its boxes reaches further than {max(right, low):g}"),
        (least < -_BEYOND, f"its boxes begin at {least:g}"),
        (min(width.min(), height.min()) < 0, "a box ends before it begins"),
    ):
        if wrong:
            raise UserError(f"{where}: {what}; a box should be x0, y0, x1, y1 in pixels")
    if right <= line.width + _BEYOND and low <= line.height + _BEYOND:
        return
    swapped = right <= line.height + _BEYOND and low <= line.width + _BEYOND
    advice = (
        "width and height seem to be exchanged: name the fields in order with --columns"
        if swapped
        else "a box should be x0, y0, x1, y1 in pixels"
    )
    raise UserError(
        f"{where}: boxes reach to ({right:g}, {low:g}), but the image is {line.width} wide and "
        f"{line.height} high; {advice}"
    )


def _rounded(line: _Line, where: str) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        rounded = line.features.astype(np.float16)
    if not np.isfinite(rounded).all():
        largest = np.abs(line.features).max()
        raise UserError(f"{where}: features hold {largest:g}, too much for float16")
    return rounded


def fields_of(text: str) -> list[str]:
    """Names of fields, separated by commas.

    Raises:
        UserError: one that is needed is not among them.
    """
    names = [name.strip().lower() for name in text.split(",")]
    names = [_OTHER_NAMES.get(name, name) for name in names]
    if missing := [name for name in NEEDED if name not in names]:
        raise UserError(f"--columns lacks {', '.join(missing)}: name all fields of a line in order")
    return names
