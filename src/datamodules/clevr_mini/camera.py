"""CLEVR's camera: a pinhole looking at the origin, and the ground directions taken from it.

Checked against scenes of the official generator: its cameras stand within ±0.5 per coordinate of
`HOME`, always look at the origin, and its `directions` are those of `HOME` whatever the jitter.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Vector = tuple[float, float, float]

HOME: Vector = (7.48113, -6.50764, 5.34367)  # scene units
JITTER = 0.5  # greatest change of each coordinate of the position
WIDTH, HEIGHT = 320, 240  # pixels
FOCAL = 35 / 32 * WIDTH  # pixels: a 35 mm lens before a sensor 32 mm wide


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Scalar product of two vectors of length 3."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(a: Vector) -> Vector:
    length = math.sqrt(dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length)


def _cross(a: Vector, b: Vector) -> Vector:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


class Camera(NamedTuple):
    """A position and an orthonormal frame: `right` and `up` in the picture, `forward` into it."""

    position: Vector
    right: Vector
    up: Vector
    forward: Vector

    def project(self, point: Sequence[float]) -> tuple[float, float, float]:
        """Pixel column (0..320, rightwards), row (0..240, downwards) and depth along the view."""
        eye = self.position
        ray = (point[0] - eye[0], point[1] - eye[1], point[2] - eye[2])
        depth = dot(ray, self.forward)
        scale = FOCAL / depth
        return (
            WIDTH / 2 + scale * dot(ray, self.right),
            HEIGHT / 2 - scale * dot(ray, self.up),
            depth,
        )


def look_at_origin(position: Sequence[float]) -> Camera:
    """The camera at `position` that looks at the origin with its horizon level."""
    x, y, z = position
    forward = _unit((-x, -y, -z))
    right = _unit(_cross(forward, (0.0, 0.0, 1.0)))
    return Camera((x, y, z), right, _cross(right, forward), forward)


def jittered(rng: random.Random) -> Camera:
    """A camera near `HOME`."""
    return look_at_origin([value + JITTER * (2 * rng.random() - 1) for value in HOME])


def ground_directions(camera: Camera) -> dict[str, list[float]]:
    """Unit vectors: `behind` is the view direction laid on the ground, `above` is the z axis."""
    ahead = _unit((camera.forward[0], camera.forward[1], 0.0))
    right = camera.right
    return {
        "behind": list(ahead),
        "front": [-ahead[0], -ahead[1], 0.0],
        "left": [-right[0], -right[1], 0.0],
        "right": [right[0], right[1], 0.0],
        "above": [0.0, 0.0, 1.0],
        "below": [0.0, 0.0, -1.0],
    }


# A scene file does not say where its camera stood, but every object gives three equations for the
# three unknowns. Depths are far more exact than rounded pixels; the pull towards `HOME` only
# decides what a scene of a single object leaves open.
_DEPTH_WEIGHT = 50.0
_HOME_WEIGHT = 0.05


def _residuals(position: Sequence[float], objects: list[dict]) -> np.ndarray:
    camera = look_at_origin(position)
    rows = [_HOME_WEIGHT * (a - b) for a, b in zip(position, HOME, strict=True)]
    for thing in objects:
        column, row, depth = camera.project(thing["3d_coords"])
        seen = thing["pixel_coords"]
        rows += [column - seen[0], row - seen[1], _DEPTH_WEIGHT * (depth - seen[2])]
    return np.array(rows)


def recover(scene: dict, iterations: int = 8, step: float = 1e-5) -> Camera:
    """The camera that took `scene`, by Gauss-Newton on its `pixel_coords`, starting at `HOME`."""
    position = np.array(HOME)
    for _ in range(iterations):
        here = _residuals(position, scene["objects"])
        slopes = [
            (_residuals(position + step * axis, scene["objects"]) - here) / step
            for axis in np.eye(3)
        ]
        position = position - np.linalg.lstsq(np.stack(slopes, 1), here, rcond=None)[0]
    return look_at_origin([float(value) for value in position])
