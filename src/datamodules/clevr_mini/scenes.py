"""Random scenes by CLEVR's rules (Johnson et al. 2017, supplement), without Blender.

Objects stand on the ground with their centres in (-3, 3)², apart from each other, and far enough
apart along left-right and front-behind that no spatial relation is in doubt.
"""

import math
import random
from collections.abc import Callable

from dact.datamodules.clevr_mini.attributes import RADIUS, RELATIONS, VALUES
from dact.datamodules.clevr_mini.camera import (
    FOCAL,
    HOME,
    Camera,
    dot,
    ground_directions,
    jittered,
    look_at_origin,
)

AREA = 3.0  # half side of the square of centres
GAP = 0.25  # least distance between two objects' circles on the ground
MARGIN = 0.4  # least distance between two centres along left-right and along front-behind
EPSILON = 0.2  # a relation holds when the centres differ by more than this along its direction
RETRIES = 50  # tries per object before the scene is started anew

DIRECTIONS = ground_directions(look_at_origin(HOME))
_RIGHT, _BEHIND = DIRECTIONS["right"], DIRECTIONS["behind"]


def sample_scene(
    rng: random.Random, index: int, split: str, draw: Callable[[random.Random], list[dict]]
) -> dict:
    """One scene in the format of `CLEVR_{split}_scenes.json`.

    `draw`: draws the objects, each a dict of its size, colour, material and shape.
    """
    while True:
        camera = jittered(rng)
        objects = _place(rng, camera, draw(rng))
        if objects is not None and _all_visible(objects):
            break
    return {
        "split": split,
        "image_index": index,
        "image_filename": f"CLEVR_{split}_{index:06d}.png",
        "objects": objects,
        "directions": DIRECTIONS,
        "relationships": relationships(objects),
    }


def any_objects(rng: random.Random, fewest: int, most: int) -> list[dict]:
    """Objects whose number and attributes are all equally likely."""
    return [
        {name: rng.choice(values) for name, values in VALUES.items()}
        for _ in range(rng.randint(fewest, most))
    ]


def _place(rng: random.Random, camera: Camera, things: list[dict]) -> list[dict] | None:
    """The objects at admissible places, or None when one of them found none."""
    objects: list[dict] = []
    taken: list[tuple[float, float, float]] = []
    for thing in things:
        radius = RADIUS[thing["size"]]
        for _ in range(RETRIES):
            x = round(rng.uniform(-AREA, AREA), 6)
            y = round(rng.uniform(-AREA, AREA), 6)
            if _is_free(x, y, radius, taken):
                break
        else:
            return None
        taken.append((x, y, radius))
        column, row, depth = camera.project((x, y, radius))
        objects.append(
            {
                "shape": thing["shape"],
                "size": thing["size"],
                "material": thing["material"],
                "3d_coords": [x, y, radius],
                "rotation": round(360 * rng.random(), 6),
                "pixel_coords": [round(column), round(row), round(depth, 6)],
                "color": thing["color"],
            }
        )
    return objects


def _is_free(x: float, y: float, radius: float, taken: list[tuple[float, float, float]]) -> bool:
    """Whether a circle around (x, y) keeps both the gap and the margins to all others.

    Most places are tried in vain, so this is one loop without calls, the likeliest refusal first.
    """
    right_x, right_y, behind_x, behind_y = *_RIGHT[:2], *_BEHIND[:2]
    for u, v, other in taken:
        dx, dy = x - u, y - v
        if (
            -MARGIN < dx * right_x + dy * right_y < MARGIN
            or -MARGIN < dx * behind_x + dy * behind_y < MARGIN
            or math.hypot(dx, dy) - (radius + other) < GAP
        ):
            return False
    return True


# Where an object's outline is looked at: its centre and points on circles around it, in radii.
_PROBES = [(0.0, 0.0)] + [
    (r * math.cos(math.tau * k / 8), r * math.sin(math.tau * k / 8))
    for r in (0.5, 0.9)
    for k in range(8)
]
_LEAST_VISIBLE = 0.4


def _all_visible(objects: list[dict]) -> bool:
    """Whether nearer objects, taken as discs, leave enough of each object to be seen."""
    discs = [
        (column, row, depth, FOCAL * RADIUS[thing["size"]] / depth)
        for thing in objects
        for column, row, depth in [thing["pixel_coords"]]
    ]
    for column, row, depth, radius in discs:
        nearer = [
            (u, v, r)
            for u, v, d, r in discs
            if d < depth and math.hypot(u - column, v - row) < r + radius
        ]
        if not nearer:
            continue
        hidden = 0
        for a, b in _PROBES:
            x, y = column + radius * a, row + radius * b
            hidden += any((x - u) ** 2 + (y - v) ** 2 < r * r for u, v, r in nearer)
        if hidden > (1 - _LEAST_VISIBLE) * len(_PROBES):
            return False
    return True


def relationships(objects: list[dict]) -> dict[str, list[list[int]]]:
    """`relationships[r][i]` lists the objects that are r ("left", …) of object i."""
    along = {}
    for relation in RELATIONS:
        direction = DIRECTIONS[relation]
        places = [dot(direction, thing["3d_coords"]) for thing in objects]
        along[relation] = [
            [j for j, there in enumerate(places) if there - here > EPSILON] for here in places
        ]
    return along
