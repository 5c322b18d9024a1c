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
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_CLEVR_NAME = re.compile(r"CLEVR_\w+_(\d{6,})")


class Decoded(NamedTuple):
    """An image that was read, or not."""

    row: int
    image: Tensor
    """(3, H, W) uint8, zeros if it could not be read."""
    problem: str | None
    """Why it could not be read."""


def find_images(folder: Path) -> list[Path]:
    """Images of a folder; place i is row i of the features.

    Files named as in CLEVR are put in the order of their numbers, which must be 0, 1, 2, …;
    others in alphabetical order. Hidden files do not count.

    Raises:
        UserError: no such folder, no image in it, a number that is missing or occurs twice, or
            images with and without one.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; images lie in <data.root>/images/<split>")
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."
    )
    if not files:
        raise UserError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    names = [_CLEVR_NAME.fullmatch(path.stem) for path in files]
    if not any(names):
        return files
    if not all(names):
        other = files[names.index(None)].name
        raise UserError(
            f"{folder}: {other} has no number as the other images have: rows would not be those "
            "of image_index"
        )
    numbers = {int(name[1]): path for name, path in zip(names, files, strict=True)}
    if len(numbers) < len(files):
        raise UserError(f"{folder}: two images have the same number")
    if missing := sorted(set(range(len(files))) - set(numbers)):
        raise UserError(
            f"{folder}: there is no image number {missing[0]}, but {len(files)} images: rows would "
            "not be those of image_index"
        )
    return [numbers[number] for number in range(len(files))]


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
