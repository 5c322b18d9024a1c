"""Random scene graphs in GQA's form.

Things stand near the centres of different cells of a grid over the picture, so that no relation is
ever in doubt: centres differ by at most 0.3 cells along an axis, or by at least 0.7.
"""

import random

from dact.datamodules.gqa_mini.world import (
    BACKDROPS,
    CATEGORIES,
    CATEGORY,
    LOCATIONS,
    POSSIBLE,
    RELATIONS,
    WEATHERS,
)

THINGS = (3, 7)  # fewest and most of a scene, without its backdrop
PICTURES = ((500, 375), (640, 480), (480, 640), (500, 333), (375, 500), (612, 612))
COLUMNS, ROWS = 5, 4
JITTER = 0.12  # of a centre, in cells
SIDE = 0.5  # a centre further left than this, in cells, is to the left
NEAR = 1.5  # centres closer than this along both axes, in cells, are near
_EXTENT = {"small": (0.6, 0.9), "large": (1.1, 1.6)}  # of a box, in cells
_SAME_CATEGORY = 0.4  # how often a thing is of the category of the one before


def sample_scene(rng: random.Random, image_id: str) -> dict:
    """One entry of `{split}_sceneGraphs.json`."""
    width, height = rng.choice(PICTURES)
    location = rng.choice(LOCATIONS)
    scene = {"width": width, "height": height, "location": location}
    if location == "outdoors":
        scene["weather"] = rng.choice(WEATHERS)
    cells = rng.sample(range(COLUMNS * ROWS), rng.randint(*THINGS))
    things = []
    for cell in cells:
        category = CATEGORY[things[-1]["name"]] if things else None
        if category is None or rng.random() >= _SAME_CATEGORY:
            category = rng.choice(tuple(CATEGORIES))
        things.append(_thing(rng, rng.choice(CATEGORIES[category]), cell, width, height))
    things.append(_backdrop(rng, scene))
    rng.shuffle(things)
    scene["objects"] = {f"{image_id}{number}": thing for number, thing in enumerate(things)}
    _relate(scene)
    return scene


def _thing(rng: random.Random, name: str, cell: int, width: int, height: int) -> dict:
    """A thing whose box has its centre in `cell` and lies in the picture.

    A value is the more common the earlier the world lists it.
    """
    values = {
        kind: rng.choices(some, [1 / rank for rank in range(2, len(some) + 2)])[0]
        for kind, some in POSSIBLE[name].items()
        if some
    }
    row, column = divmod(cell, COLUMNS)
    x, w = _span(rng, column, width / COLUMNS, width, values["size"])
    y, h = _span(rng, row, height / ROWS, height, values["size"])
    attributes = list(values.values())
    rng.shuffle(attributes)
    return {"name": name, "x": x, "y": y, "w": w, "h": h, "attributes": attributes}


def _span(rng: random.Random, cell: int, unit: float, end: int, size: str) -> tuple[int, int]:
    """Begin and length along one axis; near the border a box is cut on both sides alike."""
    centre = (cell + 0.5 + rng.uniform(-JITTER, JITTER)) * unit
    half = min(rng.uniform(*_EXTENT[size]) * unit / 2, centre, end - centre)
    begin = round(centre - half)
    return begin, min(round(2 * half), end - begin)


def _backdrop(rng: random.Random, scene: dict) -> dict:
    height = round(scene["height"] * rng.uniform(0.4, 0.6))
    return {
        "name": BACKDROPS[scene["location"]],
        "x": 0,
        "y": 0,
        "w": scene["width"],
        "h": height,
        "attributes": [scene["weather"]] if "weather" in scene else [],
    }


def _relate(scene: dict) -> None:
    """Fill in the relations between things; a backdrop has none."""
    unit = scene["width"] / COLUMNS, scene["height"] / ROWS
    places = {
        key: ((thing["x"] + thing["w"] / 2) / unit[0], (thing["y"] + thing["h"] / 2) / unit[1])
        for key, thing in scene["objects"].items()
        if thing["name"] in CATEGORY
    }
    for key, thing in scene["objects"].items():
        thing["relations"] = [
            {"name": name, "object": other}
            for other in places
            if key in places and other != key
            for name in _between(places[key], places[other])
        ]


def _between(one: tuple[float, float], other: tuple[float, float]) -> list[str]:
    """Relations of a place to another."""
    across, down = other[0] - one[0], other[1] - one[1]
    holds = (
        across > SIDE,
        across < -SIDE,
        down > SIDE,
        down < -SIDE,
        abs(across) < NEAR and abs(down) < NEAR,
    )
    return [name for name, true in zip(RELATIONS, holds, strict=True) if true]
