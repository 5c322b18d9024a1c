"""Pictures of scenes by casting rays at simple solids: small, quick, and pleasant enough.

Works on any scene in CLEVR's format; the camera is recovered from its `pixel_coords`.
"""

import numpy as np
from PIL import Image

from dact.datamodules.clevr_mini.attributes import RADIUS
from dact.datamodules.clevr_mini.camera import FOCAL, HEIGHT, WIDTH, Camera, recover
from dact.datamodules.clevr_mini.solids import HITS

# CLEVR's colours, 0..255.
COLORS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
_SAMPLES = 2  # rays per pixel along each axis
_GROUND = np.array([0.44, 0.44, 0.45], np.float32)


def draw(scene: dict, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """An RGB picture of `size` (columns, rows); other than 320×240 it is scaled."""
    camera = recover(scene)
    lamp = _unit(np.array([-0.35, 0.55, 0.75]) @ _frame(camera)).astype(np.float32)
    canvas = _ground(scene, camera, lamp).repeat(_SAMPLES, 0).repeat(_SAMPLES, 1)
    depth = np.full(canvas.shape[:2], np.inf, np.float32)
    for thing in scene["objects"]:
        _paint(thing, camera, lamp, canvas, depth)
    # Mean over the samples of each pixel, then display gamma.
    parts = [canvas[i::_SAMPLES, j::_SAMPLES] for i in range(_SAMPLES) for j in range(_SAMPLES)]
    pixels = np.clip(sum(parts) / len(parts), 0, 1) ** np.float32(1 / 2.2)
    image = Image.fromarray((255 * pixels + 0.5).astype(np.uint8))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(_dot(vectors, vectors))[..., None]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...k,...k->...", a, b)


def _frame(camera: Camera) -> np.ndarray:
    """Rows: right, towards the viewer on the ground, straight up (3, 3)."""
    ahead = _unit(np.array([camera.forward[0], camera.forward[1], 0.0]))
    return np.stack([camera.right, -ahead, (0.0, 0.0, 1.0)])


def _rays(camera: Camera, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Directions (rows, columns, 3) through the given pixel coordinates, depth 1 per unit."""
    across = ((columns - WIDTH / 2) / FOCAL)[None, :, None] * np.array(camera.right)
    along = ((HEIGHT / 2 - rows) / FOCAL)[:, None, None] * np.array(camera.up)
    return (np.array(camera.forward) + across + along).astype(np.float32)


def _ground(scene: dict, camera: Camera, lamp: np.ndarray) -> np.ndarray:
    """Linear colours (240, 320, 3) of the empty floor with the objects' soft shadows."""
    rays = _rays(camera, np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    eye = np.array(camera.position, np.float32)
    # Near the horizon the floor fades into the backdrop; beyond it there is no floor.
    reach = -eye[2] / np.minimum(rays[..., 2], -1e-3)
    x, y = eye[0] + reach * rays[..., 0], eye[1] + reach * rays[..., 1]
    light = 0.7 + 0.3 * np.exp(-(x * x + y * y) / 60)
    slope = lamp[:2] / lamp[2]
    for thing in scene["objects"]:
        u, v, radius = *thing["3d_coords"][:2], RADIUS[thing["size"]]
        # A contact shadow under the object and a longer, fainter one away from the lamp.
        shift = -0.8 * radius * slope
        light *= 1 - 0.55 * _blob(x - u, y - v, 1.05 * radius)
        light *= 1 - 0.3 * _blob(x - u - shift[0], y - v - shift[1], 1.25 * radius)
    return (light[..., None] * _GROUND).astype(np.float32)


def _blob(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """A disc with soft rim: 1 at the origin, 1/e at `radius`."""
    squared = (x * x + y * y) * np.float32(radius**-2)
    return np.exp(-squared * squared)


def _paint(
    thing: dict, camera: Camera, lamp: np.ndarray, canvas: np.ndarray, depth: np.ndarray
) -> None:
    """Draw one object into `canvas` where it is nearer than `depth`, and update both."""
    radius = RADIUS[thing["size"]]
    column, row, distance = camera.project(thing["3d_coords"])
    # No solid reaches further than √3 radii from its centre (a cube's corner).
    reach = 1.8 * radius * FOCAL / (distance - 1.8 * radius)
    left, right = (int(np.clip(column + s * reach, 0, WIDTH)) * _SAMPLES for s in (-1, 1))
    top, bottom = (int(np.clip(row + s * reach, 0, HEIGHT)) * _SAMPLES for s in (-1, 1))
    if left >= right or top >= bottom:
        return
    columns = (np.arange(left, right) + 0.5) / _SAMPLES
    rows = (np.arange(top, bottom) + 0.5) / _SAMPLES
    rays = _rays(camera, columns, rows)
    offset = np.array(camera.position) - np.array(thing["3d_coords"])
    # CLEVR draws a number between 0 and 360 and hands it to Blender, which takes radians; so do we,
    # since that is what its pictures show.
    turn = float(thing["rotation"])
    far, normals = HITS[thing["shape"]](offset.astype(np.float32), rays, radius, turn)
    window = (slice(top, bottom), slice(left, right))
    seen = far < depth[window]
    depth[window][seen] = far[seen]
    canvas[window][seen] = _shade(thing, normals[seen], _unit(rays[seen]), lamp)


def _shade(thing: dict, normals: np.ndarray, rays: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Linear colours (n, 3): lamp and sky on rubber, the surroundings mirrored in metal."""
    base = ((np.array(COLORS[thing["color"]]) / 255) ** 2.2).astype(np.float32)
    # Light wraps around: no face is quite black, and none of a cube's three faces are alike.
    diffuse = 0.12 + 0.88 * np.clip(0.25 + 0.75 * (normals @ lamp), 0, 1)
    mirrored = rays - 2 * _dot(rays, normals)[:, None] * normals
    if thing["material"] == "rubber":
        sheen = np.clip(mirrored @ lamp, 0, 1) ** 8
        return diffuse[:, None] * (0.85 * base + 0.05) + 0.04 * sheen[:, None]
    tint = 0.8 * base + 0.02
    bright = 0.25 * diffuse + _surroundings(mirrored, lamp)
    glint = np.clip(mirrored @ lamp, 0, 1) ** 60
    return tint * bright[:, None] + 0.8 * glint[:, None]


def _surroundings(directions: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """Brightness (n,) of an imagined studio: grey floor, dark walls, a lit panel by the lamp."""
    height = directions[:, 2]
    floor = 0.5 / (1 + np.exp(12 * height + 2))
    ceiling = np.clip(height, 0, 1) ** 2
    across = directions[:, 0] * lamp[1] - directions[:, 1] * lamp[0]
    panel = np.exp(-(((across - 0.4) / 0.15) ** 2)) * (0.4 + 0.6 / (1 + np.exp(-12 * height)))
    return 0.1 + floor + 1.1 * ceiling + 1.2 * panel
