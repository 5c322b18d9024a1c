"""What a detector and a network for images would see of a scene.

An object is seen as the sum of vectors for its name, its attributes and its box, plus noise. The
vectors are drawn once per seed and known to nobody, so they have to be learned.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dact.datamodules.gqa_mini.world import BACKDROPS, NAMES, VALUES, WEATHERS

GRID = 7
NOISE = 0.1
_WORDS = (*NAMES, *BACKDROPS.values(), *sum(VALUES.values(), ()), *WEATHERS)
_COLUMN = {word: column for column, word in enumerate(_WORDS)}
_BOX = 4  # further vectors: for the centre's place and for width and height
_BOX_WEIGHT = (2.0, 2.0, 1.0, 1.0)

Floats = NDArray[np.float32]


class Seen(NamedTuple):
    """Features of some images."""

    features: Floats
    """(images, rows, F); past the objects, rows that belong to no object of the image."""
    boxes: Floats
    """(images, rows, 4) x0, y0, x1, y1 in pixels."""
    grid: Floats
    """(images, F, 7, 7), row before column."""


class Eye:
    """Vectors of the words and of places, fixed by the seed."""

    def __init__(self, seed: int, feature_dim: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.words = rng.standard_normal((len(_WORDS), feature_dim)) / 2
        self.places = rng.standard_normal((_BOX, feature_dim)) / 2

    def look(self, scenes: list[dict], rows: int, rng: np.random.Generator) -> Seen:
        """Features of scenes, objects in random order."""
        dim = self.words.shape[1]
        seen = Seen(
            np.empty((len(scenes), rows, dim), np.float32),
            np.empty((len(scenes), rows, 4), np.float32),
            np.empty((len(scenes), dim, GRID, GRID), np.float32),
        )
        for number, scene in enumerate(scenes):
            objects = list(scene["objects"].values())
            order = rng.permutation(len(objects))
            boxes = np.array([_corners(objects[i]) for i in order], float)
            size = np.array([scene["width"], scene["height"]] * 2, float)
            vectors = self._vectors([objects[i] for i in order], boxes / size)
            seen.grid[number] = np.einsum("kyx,kf->fyx", cover(boxes / size), vectors)
            seen.features[number, : len(order)] = vectors
            seen.boxes[number, : len(order)] = boxes
            leftover = rng.integers(len(order), size=rows - len(order))
            # Nothing may be learned from padding, yet it looks like objects: a missing mask shows.
            words = rng.integers(len(_WORDS), size=(len(leftover), 3))
            seen.features[number, len(order) :] = self.words[words].sum(axis=1)
            seen.boxes[number, len(order) :] = boxes[leftover]
        for array in (seen.features, seen.grid):
            array += NOISE * rng.standard_normal(array.shape, np.float32)
        return seen

    def _vectors(self, objects: list[dict], boxes: NDArray) -> NDArray:
        """(objects, F), free of noise; `boxes` in parts of the picture."""
        centres = boxes[:, :2] + boxes[:, 2:] - 1
        places = np.concatenate([centres, boxes[:, 2:] - boxes[:, :2]], axis=1) * _BOX_WEIGHT
        vectors = (places[:, :, None] * self.places).sum(axis=1)
        for vector, thing in zip(vectors, objects, strict=True):
            for word in (thing["name"], *thing["attributes"]):
                vector += self.words[_COLUMN[word]]
        return vectors


def _corners(thing: dict) -> tuple[int, int, int, int]:
    x, y = thing["x"], thing["y"]
    return x, y, x + thing["w"], y + thing["h"]


def cover(boxes: NDArray) -> NDArray:
    """(objects, 7, 7): the part of each cell, row before column, that a box covers."""
    edges = np.arange(GRID) / GRID

    def along(begin: NDArray, end: NDArray) -> NDArray:
        upper = np.minimum(end[:, None], edges + 1 / GRID)
        return (upper - np.maximum(begin[:, None], edges)).clip(0) * GRID

    across, down = along(boxes[:, 0], boxes[:, 2]), along(boxes[:, 1], boxes[:, 3])
    return down[:, :, None] * across[:, None, :]
