"""Where rays meet a sphere, a cube or a cylinder that stands on the ground.

Every function takes the camera's place relative to the solid's centre (3,), ray directions
(…, 3), the radius and the turn about the vertical axis in radians. It returns the distances along
the rays (…) in units of their directions, infinite where they miss, and unit normals (…, 3).
"""

from collections.abc import Callable

import numpy as np

Hit = Callable[[np.ndarray, np.ndarray, float, float], tuple[np.ndarray, np.ndarray]]


def sphere(
    eye: np.ndarray, rays: np.ndarray, radius: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """A ball; `turn` makes no difference."""
    near, _ = _quadratic(_squares(rays), rays @ eye, eye @ eye - radius**2)
    points = eye + _finite(near)[..., None] * rays
    return near, points / radius


def cube(
    eye: np.ndarray, rays: np.ndarray, radius: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """A box with half side `radius`, by the slab method in its own frame."""
    cos, sin = np.cos(turn), np.sin(turn)
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)  # own frame to scene
    eye, rays = eye @ spin, rays @ spin
    rays = np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
    one, two = (-radius - eye) / rays, (radius - eye) / rays
    entry = np.minimum(one, two)
    leave = np.maximum(one, two)
    # numpy is slow along a last axis of three, so the three are compared by name.
    near = np.maximum(np.maximum(entry[..., 0], entry[..., 1]), entry[..., 2])
    out = np.minimum(np.minimum(leave[..., 0], leave[..., 1]), leave[..., 2])
    normals = np.where(entry == near[..., None], -np.sign(rays), np.float32(0))
    return np.where(near < out, near, np.inf), normals @ spin.T


def cylinder(
    eye: np.ndarray, rays: np.ndarray, radius: float, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """An upright cylinder, as high as wide; `turn` makes no difference."""
    flat, eye2 = rays[..., :2], eye[:2]
    side_in, side_out = _quadratic(_squares(flat), flat @ eye2, eye2 @ eye2 - radius**2)
    # The camera is above the cap, and every ray that matters points down.
    down = np.minimum(rays[..., 2], -1e-6)
    cap_in, cap_out = (radius - eye[2]) / down, (-radius - eye[2]) / down
    near = np.maximum(side_in, cap_in)
    hit = near < np.minimum(side_out, cap_out)
    points = eye + _finite(near)[..., None] * rays
    walls = np.concatenate([points[..., :2] / radius, np.zeros_like(points[..., :1])], -1)
    lid = np.array([0, 0, 1], rays.dtype)
    normals = np.where((side_in > cap_in)[..., None], walls, lid)
    return np.where(hit, near, np.inf), normals


def _squares(rays: np.ndarray) -> np.ndarray:
    return np.einsum("...k,...k->...", rays, rays)


def _quadratic(a: np.ndarray, half_b: np.ndarray, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Both roots of a·t² + 2·half_b·t + c, (inf, -inf) where there is none."""
    inside = half_b * half_b - a * c
    root = np.sqrt(np.maximum(inside, 0))
    real = inside > 0
    return (
        np.where(real, (-half_b - root) / a, np.inf),
        np.where(real, (-half_b + root) / a, -np.inf),
    )


def _finite(distances: np.ndarray) -> np.ndarray:
    """Distances with misses at 0, so that they can be multiplied."""
    return np.where(np.isfinite(distances), distances, 0)


HITS: dict[str, Hit] = {"sphere": sphere, "cube": cube, "cylinder": cylinder}
