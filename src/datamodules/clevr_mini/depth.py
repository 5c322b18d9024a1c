"""Questions of one kind that differ only in the number of reads that they need.

Ten objects form a ring: neighbours share in turn the colour, or size and shape, and no other two
objects do. A question names an object and a *distance* d, a number of hops: each hop goes to the
partner by colour or by size and shape, in turn, the last by size and shape. It asks for the colour
of the object that is reached, in a sentence of the same length for every d.

**What is needed.** The object that is named need not be found: the sentence says its colour, size
and shape. Where a hop leads depends on which object shares the one attribute, so it takes a read,
and the next hop needs the attribute that this read found. Going round the other way is not shorter
as long as d is at most half of the ring. So a distance of d needs d reads, one after another.
"""

import itertools
import random
import types
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dact.datamodules.clevr_mini.attributes import VALUES
from dact.datamodules.clevr_mini.chunks import Ask, Chunk
from dact.datamodules.clevr_mini.execution import execute
from dact.datamodules.clevr_mini.generation import write
from dact.datamodules.clevr_mini.options import IMAGES, check_images, check_range
from dact.datamodules.clevr_mini.scenes import sample_scene
from dact.datamodules.clevr_mini.workshop import put_in_place

#: Objects of a scene; hops beyond half of them would be shorter the other way round.
OBJECTS = 10
MAX_DEPTH = OBJECTS // 2
_NUMBERS = ("zero", "one", "two", "three", "four", "five")
_PAIRS = OBJECTS // 2


class Options(NamedTuple):
    """Everything that decides the bytes written; as of `generate`."""

    seed: int
    images: dict[str, int]
    questions_per_image: int
    max_depth: int
    drawings: int


def ring(rng: random.Random) -> list[dict]:
    """Size, colour, material and shape of the objects of a ring, in any order."""
    colors = rng.sample(VALUES["color"], _PAIRS)
    kinds = rng.sample(list(itertools.product(VALUES["size"], VALUES["shape"])), _PAIRS)
    objects = []
    for number in range(OBJECTS):  # 2i and 2i + 1 share the colour, 2i + 1 and 2i + 2 the kind
        size, shape = kinds[(number + 1) // 2 % _PAIRS]
        material = rng.choice(VALUES["material"])
        objects.append(
            {"size": size, "color": colors[number // 2], "material": material, "shape": shape}
        )
    rng.shuffle(objects)
    return objects


def program(start: Mapping[str, str], depth: int) -> list[dict]:
    """The functional program of a question, of CLEVR's functions.

    `start`: the object that is named, which is the only one of its colour, size and shape.
    """
    nodes: list[dict] = []

    def add(function: str, *inputs: int, value: str | None = None) -> int:
        values = [] if value is None else [value]
        nodes.append({"inputs": list(inputs), "function": function, "value_inputs": values})
        return len(nodes) - 1

    here = add("scene")
    for name in ("size", "color", "shape"):
        here = add(f"filter_{name}", here, value=start[name])
    here = add("unique", here)
    for left in range(depth, 0, -1):
        if left % 2:
            here = add("intersect", add("same_size", here), add("same_shape", here))
        else:
            here = add("same_color", here)
        here = add("unique", here)
    add("query_color", here)
    return nodes


def begin(chunk: Chunk, rng: random.Random) -> Ask:
    """What makes the images of a chunk, see `chunks.make`; every depth is asked equally often."""
    options, each = chunk.options, chunk.options.questions_per_image
    depths = itertools.cycle(range(options.max_depth + 1))

    def ask(index: int) -> tuple[dict, list[dict]]:
        """A ring, and questions that name each of its objects at most once at a distance."""
        scene = sample_scene(rng, index, chunk.split, ring)
        chosen: dict[int, list[dict]] = {}  # objects that are still to be named, by depth
        questions = []
        for depth in itertools.islice(depths, each):
            unnamed = chosen.setdefault(depth, rng.sample(scene["objects"], OBJECTS))
            questions.append(_question(scene, unnamed.pop(), depth))
        return scene, questions

    return ask


def _question(scene: dict, start: Mapping[str, str], depth: int) -> dict:
    nodes = program(start, depth)
    name = " ".join(start[attribute] for attribute in ("size", "color", "shape"))
    return {
        "image_index": scene["image_index"],
        "program": nodes,
        "question_index": 0,
        "image_filename": scene["image_filename"],
        "question_family_index": depth,
        "split": scene["split"],
        "answer": execute(nodes, scene),
        "question": f"What color is the thing at distance {_NUMBERS[depth]} from the {name}?",
    }


def generate(
    root: Path,
    *,
    seed: int = 0,
    images: Mapping[str, int] = types.MappingProxyType(IMAGES),
    questions_per_image: int = 12,
    max_depth: int = MAX_DEPTH,
    workers: int = 2,
    drawings: int = 50,
    progress: bool = True,
) -> None:
    """Write such a data set in CLEVR v1.0's format to `root`, which must not exist or be empty.

    `images`: number per split ("train", "val", "test"); `max_depth`: largest distance, 0..5;
    `drawings`: how many of val's first images are drawn; `workers`: processes, which change the
    time but not one byte. Nothing is left behind when the work fails or is interrupted.
    """
    options = Options(seed, dict(images), questions_per_image, max_depth, drawings)
    check_images(options.images)
    check_range("max_depth", max_depth, 0, MAX_DEPTH)
    check_range("questions_per_image", questions_per_image, 1, OBJECTS * (max_depth + 1))
    check_range("drawings", drawings, 0, 999_999)
    check_range("workers", workers, 1, 1024)
    with put_in_place(root, "clevr_depth") as content:
        write(content, "clevr_depth", options, begin, workers, progress)
