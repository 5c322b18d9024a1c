"""What a network looks at: a picture, and where in it its knowledge cells are."""

import copy
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dact.datamodules import CLEVRDataModule, GQADataModule, VQADataModule
from dact.datamodules.axes import TokenMap
from dact.datamodules.clevr_mini import draw
from dact.datamodules.clevr_mini.attributes import RADIUS
from dact.datamodules.clevr_mini.camera import FOCAL, HEIGHT, WIDTH
from dact.datamodules.json_stream import stream_json
from dact.errors import UserError
from dact.extraction import read_image

#: Largest side of a picture in a report, in pixels.
LARGEST = 320
#: Width and height of the pictures of CLEVR v1.0, where a scene has no picture that says so.
CLEVR_SIZE = (480, 320)
_BLANK = (128, 128, 128)
#: How far an object reaches in the picture, in its radii; a cube shows its corners.
_REACH = {"sphere": 1.1, "cylinder": 1.3, "cube": 1.55}


class View(NamedTuple):
    """An image and its knowledge cells; without grid and boxes nobody knows where they are."""

    picture: Image.Image
    """RGB."""
    grid: tuple[int, int] | None
    """Rows and columns of a feature map, whose cells divide the picture evenly."""
    boxes: NDArray[np.float32] | None = None
    """(K, 4) x0, y0, x1, y1 of objects in shares of width and height."""
    first: int = 0
    """Cells before those of the grid, without a place in the picture: class token, registers."""
    background: bool = False
    """Whether one more cell comes after the objects: the background, which has no box."""

    def on_picture(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of attention over the K cells what lies on the grid (rows, columns), if there is one."""
        rows, columns = self.grid
        return cells[self.first : self.first + rows * columns].reshape(self.grid)

    def elsewhere(self, cells: NDArray[np.float32]) -> float:
        """The share of attention that has no place in the picture."""
        known = self.grid is not None or self.boxes is not None
        return float(cells[: self.first].sum()) if known else 1.0


def views_of(data: VQADataModule, split: str, positions: Sequence[int]) -> list[View]:
    """What there is to see for questions of a split.

    Args:
        data: set up with `split`.
        split: its name.
        positions: of the questions in the split.

    Raises:
        UserError: a picture or scene that cannot be read.
    """
    questions, features = data.dataset(split).questions, data.dataset(split).features
    images = [record.image for record in data.records(split, positions)]
    rows = [int(questions.image_rows[position]) for position in positions]
    pictures = {name: _picture(_image_path(data, split, name)) for name in set(images)}
    if isinstance(data, CLEVRDataModule) and data.features == "state":
        numbers = [int(features.numbers[row]) for row in rows]
        scenes = find_scenes(data.scenes_path(split), set(numbers))
        return [
            view_of_scene(scenes[number], pictures[name], background=data.background)
            for number, name in zip(numbers, images, strict=True)
        ]
    return [
        View(
            pictures[name] or Image.new("RGB", (LARGEST, LARGEST), _BLANK), **_places(features, row)
        )
        for name, row in zip(images, rows, strict=True)
    ]


def places_of_tokens(found: TokenMap | None) -> dict[str, Any]:
    """Fields of a view of tokens."""
    return {"grid": found.grid, "first": found.first} if found else {"grid": None}


def _places(features: Any, row: int) -> dict[str, Any]:
    """Fields of a view that say where the cells of an image are."""
    if features.kind == "tokens":
        return places_of_tokens(features.map)
    if features.kind == "grid":
        return {"grid": features.grid_size}
    boxes = features.boxes(np.array([row])) if features.has_boxes else None
    return {"grid": None, "boxes": None if boxes is None else boxes[0]}


def view_of_scene(
    scene: dict[str, Any], picture: Image.Image | None = None, *, background: bool = False
) -> View:
    """A CLEVR scene, drawn if there is no picture of it.

    Args:
        scene: entry of a scenes file, with `pixel_coords`.
        picture: of the scene, of any size.
        background: whether the network also sees the background row.
    """
    places = np.array([thing["pixel_coords"] for thing in scene["objects"]], np.float32)
    width, height = CLEVR_SIZE
    if (places[:, 0] < WIDTH).all() and (places[:, 1] < HEIGHT).all():
        width, height = WIDTH, HEIGHT
    # A lens of fixed angle: the nearer, and the wider the picture, the larger.
    radii = [RADIUS[thing["size"]] * _REACH[thing["shape"]] for thing in scene["objects"]]
    reach = np.array(radii) / places[:, 2] * FOCAL / WIDTH
    boxes = np.stack(
        [
            places[:, 0] / width - reach,
            places[:, 1] / height - reach * width / height,
            places[:, 0] / width + reach,
            places[:, 1] / height + reach * width / height,
        ],
        axis=1,
    )
    drawn = picture if picture is not None else _drawn(scene, width, height)
    return View(drawn, None, boxes.clip(0, 1).astype(np.float32), background=background)


def find_scenes(path: Path, wanted: Collection[int]) -> dict[int, dict[str, Any]]:
    """Scenes of a CLEVR scenes file by `image_index`.

    Raises:
        UserError: one is not there.
    """
    found: dict[int, dict[str, Any]] = {}
    for scene in stream_json(path, "scenes.item"):
        if scene.get("image_index") in wanted:
            found[scene["image_index"]] = scene
            if len(found) == len(wanted):
                return found
    raise UserError(f"{path} has no scene {min(set(wanted) - set(found))}")


def _drawn(scene: dict[str, Any], width: int, height: int) -> Image.Image:
    """A drawing, by way of the size that the drawing knows."""
    scale = width / WIDTH
    scene = copy.deepcopy(scene)
    for thing in scene["objects"]:
        x, y, depth = thing["pixel_coords"]
        x, y = (x - width / 2) / scale + WIDTH / 2, (y - height / 2) / scale + HEIGHT / 2
        thing["pixel_coords"] = [x, y, depth]
    margin = round((HEIGHT - height / scale) / 2)
    return draw(scene).crop((0, margin, WIDTH, HEIGHT - margin))


def _image_path(data: VQADataModule, split: str, name: str) -> Path:
    if isinstance(data, GQADataModule):
        return data.root / "images" / f"{name}.jpg"
    return data.root / "images" / split / name


def _picture(path: Path) -> Image.Image | None:
    if not path.is_file():
        return None
    picture = read_image(path, lenient=True)
    picture.thumbnail((LARGEST, LARGEST))
    return picture
