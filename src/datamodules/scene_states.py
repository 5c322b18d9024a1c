"""CLEVR scenes as knowledge: one vector of attributes and coordinates per object.

A scene may have one more row, the *background*, which is the same in every scene. Attention sums
to 1, so over objects alone it cannot express "none"; what it leaves to the background can.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

from . import packed_file
from .json_stream import SEE, field, stream_json
from .packed_file import ArrayWriter

#: Raised whenever the meaning of a column changes; files of another version are rebuilt.
FORMAT = 2
COLUMNS = {
    "objects": np.float32,
    "objects_offsets": np.int64,
    "numbers": np.int64,
    "names": np.uint8,
    "names_offsets": np.int64,
}
#: What the rows of a scene are, without a background row and with one; networks work with the kind
#: that they were trained on.
KINDS = ("objects", "objects, then the background")
#: Attribute → values, in the order of their one-hot columns.
ATTRIBUTES = {
    "shape": ("cube", "sphere", "cylinder"),
    "size": ("large", "small"),
    "color": ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"),
    "material": ("rubber", "metal"),
}
#: Columns of an object: all attribute values, then its place to the right, to the front, and up.
FEATURE_DIM = sum(map(len, ATTRIBUTES.values())) + 3
#: Blender units per unit of a coordinate: objects lie within about 3 units on either axis, on a
#: diagonal within 4.2, so coordinates lie in about -1.4..1.4.
COORDINATE_UNIT = 3.0
#: Of a coordinate, and of a number in a direction.
LARGEST = 1e9
_COLUMN = {
    (attribute, value): column
    for column, (attribute, value) in enumerate(
        (attribute, value) for attribute, values in ATTRIBUTES.items() for value in values
    )
}


def pack_scene_states(
    scenes: Path,
    path: Path,
    source: str = "",
    *,
    background: bool = False,
    progress: bool = False,
) -> None:
    """Write one row of objects per scene of a CLEVR scenes file, in order of `image_index`.

    Args:
        scenes: `CLEVR_{split}_scenes.json`.
        path: file to write or replace, for `ObjectStates`.
        source: stamp of `scenes`, for `is_current`.
        background: whether every scene gets the background row; the file says so.
        progress: show a bar while a long file is read.

    Raises:
        UserError: naming the scene: an unknown attribute, a missing field, no objects, or an
            `image_index` that is missing or occurs twice.
    """
    states: dict[int, NDArray[np.float32]] = {}
    names: dict[int, str] = {}
    for position, scene in enumerate(stream_json(scenes, "scenes.item", progress)):
        where = f"{scenes}: scene at position {position}"
        purpose = "the image_index of the questions about it"
        index = field(scene, "image_index", int, where, purpose)
        if index in states:
            raise UserError(f"{scenes}: image_index {index} occurs twice")
        states[index] = scene_state(scene, f"{scenes}: scene {index}", background)
        known = scene.get("image_filename") is not None
        names[index] = field(scene, "image_filename", str, where) if known else ""
    if not states:
        raise UserError(
            f'{scenes} has no scenes: it should be an object {{"scenes": [{{…}}, …]}}; {SEE}'
        )
    with ArrayWriter(path, COLUMNS) as writer:
        numbers = sorted(states)
        rows = [states[index] for index in numbers]
        writer.append("objects", np.concatenate(rows))
        writer.append("objects_offsets", np.cumsum([0, *map(len, rows)]))
        writer.append("numbers", numbers)
        writer.append_texts("names", [names[index] for index in numbers])
        writer.attributes.update(format=FORMAT, source=source, feature_dim=FEATURE_DIM)
        writer.attributes["kind"] = KINDS[background]


def is_current(path: Path, source: str, background: bool = False) -> bool:
    """Whether `path` is a whole file of this version and kind, packed from `source`."""
    kind = KINDS[background]
    return packed_file.is_current(path, COLUMNS, format=FORMAT, source=source, kind=kind)


def scene_state(scene: dict[str, Any], where: str, background: bool = False) -> NDArray[np.float32]:
    """Objects (K, FEATURE_DIM) of one scene; with a background (K + 1, FEATURE_DIM).

    Columns: one-hot shape, size, colour and material in the order of `ATTRIBUTES`; then the
    position along the scene's own "right" and "front" directions, by which CLEVR's questions go,
    and the height of the centre, each divided by `COORDINATE_UNIT`. The background row comes last
    and is zero in every column, which no object is.

    Args:
        scene: entry of a CLEVR scenes file.
        where: file and scene, for messages.
        background: whether to add the background row.
    """
    objects = field(scene, "objects", list, where)
    if not objects:
        raise UserError(f"{where} has no objects")
    directions = field(scene, "directions", dict, where)
    axes = np.array(
        [*(_vector(directions, name, where) for name in ("right", "front")), [0.0, 0.0, 1.0]]
    )
    state = np.zeros((len(objects) + background, FEATURE_DIM), np.float32)
    for row, entry in enumerate(objects):
        label = f"{where}, object {row}"
        for attribute in ATTRIBUTES:
            value = field(entry, attribute, str, label)
            if (attribute, value) not in _COLUMN:
                known = ", ".join(ATTRIBUTES[attribute])
                raise UserError(f"{label}: unknown {attribute} '{value}': choose one of {known}")
            state[row, _COLUMN[attribute, value]] = 1
        state[row, -3:] = axes @ _vector(entry, "3d_coords", label) / COORDINATE_UNIT
    return state


def _vector(entry: Any, name: str, where: str) -> NDArray[np.float64]:
    """Three numbers that stay finite as products in float32."""
    values = field(entry, name, list, where)
    try:
        vector = np.array(values, np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (3,) or not (np.abs(vector) <= LARGEST).all():
        raise UserError(
            f"{where}: field '{name}' is {values!r:.80}, not three numbers up to {LARGEST:g}"
        )
    return vector
