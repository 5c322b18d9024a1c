"""The images of a split, in the order of their rows, and how one is read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from dact.errors import UserError

from .decoding import read_image

#: What a file has to end in, in small letters, to be taken for an image.
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jp2", ".bmp", ".dib", ".gif"),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".avif"),
)

_DIGITS = re.compile("([0-9]+)")


class Decoded(NamedTuple):
    """An image that was read, or not."""

    row: int
    image: Tensor
    """(3, H, W) uint8, zeros if it could not be read."""
    problem: str | None
    """Why it could not be read."""


def find_images(folder: Path) -> list[Path]:
    """Images of a folder, in the order of their rows.

    Names are in alphabetical order, numbers in them by value: `img2.png` comes before `img10.png`.
    Hidden files do not count.

    Raises:
        UserError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; images lie in <data.root>/images/<split>")
    files = [path for path in _visible(folder) if _is_image(path)]
    if not files:
        raise UserError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    return files


def find_others(folder: Path) -> list[Path]:
    """What lies in a folder of images and is none by its name."""
    return [path for path in _visible(folder) if not _is_image(path)]


def _visible(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.name[0] != ".")
    return sorted(paths, key=lambda path: (natural_key(path.name), path.name))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def natural_key(name: str) -> list[str | int]:
    """Orders names with numbers by the numbers' values: texts and numbers take turns."""
    return [int(part) if place % 2 else part for place, part in enumerate(_DIGITS.split(name))]


def to_tensor(image: Image.Image, size: Sequence[int]) -> Tensor:
    """A picture scaled bilinearly to `size` (H, W): (3, H, W) uint8."""
    scaled = v2.functional.resize(image, list(size), v2.InterpolationMode.BILINEAR)
    return v2.functional.pil_to_tensor(scaled)


class ImageFiles(Dataset[Decoded]):
    """Images on disk, read one by one.

    Args:
        paths: of the images, in order.
        size: (H, W) that they are scaled to.
        white: see `read_image`.
    """

    def __init__(
        self, paths: Sequence[Path], size: Sequence[int], white: float | None = None
    ) -> None:
        self.paths = paths
        self.size = size
        self.white = white

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Decoded:
        try:
            return Decoded(row, to_tensor(read_image(self.paths[row], self.white), self.size), None)
        except UserError as error:
            return Decoded(row, torch.zeros(3, *self.size, dtype=torch.uint8), str(error))
