"""What a data set is made of, and the checks that stop a bad wish before any work is done."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dact.datamodules.clevr_mini.families import FAMILIES, MIX
from dact.errors import UserError

IMAGES = {"train": 6000, "val": 1000}
SPLITS = ("val", "test", "train")  # in the order made: drawings belong to val and take longest
DRAWN_SPLIT = "val"
MAX_HOPS = 3
OBJECTS = (4, 7)  # fewest and most objects of a scene
MOST_OBJECTS = 10  # as in CLEVR
MAX_QUESTIONS = 50  # per image: small scenes run out of different questions beyond that


class Options(NamedTuple):
    """Everything that decides the bytes written.

    `images`: number per split; `mix`: group → weight; `max_hops`: longest chain of relations;
    `objects`: fewest and most of a scene; `drawings`: how many of val's first images are drawn.
    """

    seed: int
    images: dict[str, int]
    questions_per_image: int
    max_hops: int
    mix: dict[str, float]
    objects: tuple[int, int]
    drawings: int


def check_options(options: Options, workers: int) -> None:
    """Raise UserError naming the first value that cannot be."""
    check_images(options.images)
    check_range("questions_per_image", options.questions_per_image, 1, MAX_QUESTIONS)
    check_range("max_hops", options.max_hops, 0, MAX_HOPS)
    _check_objects(options.objects)
    check_range("drawings", options.drawings, 0, 999_999)
    check_range("workers", workers, 1, 1024)
    check_mix(options.mix, MIX)
    _check_hops(options.mix, options.max_hops)


def check_images(images: Mapping[str, int]) -> None:
    """Raise UserError unless there is a split with images."""
    for split, number in images.items():
        if split not in SPLITS:
            raise UserError(f"images: unknown split {split!r}; use train, val or test")
        # File names have six digits.
        check_range(f"images[{split}]", number, 0, 999_999)
    if not any(images.values()):
        raise UserError("images: no images wanted in any split; ask for at least one")


def check_range(name: str, value: int, least: int, most: int) -> None:
    """Raise UserError unless `value` is a whole number within the bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UserError(f"{name}={value!r}: give a whole number from {least} to {most}")


def _check_objects(objects: Sequence[int]) -> None:
    if len(objects) != 2:
        raise UserError(f"objects={list(objects)}: give two numbers, the fewest and the most")
    least, most = objects
    check_range("objects (most)", most, 1, MOST_OBJECTS)
    check_range("objects (fewest)", least, 1, most)


def check_mix(mix: Mapping[str, float], known: Mapping[str, float]) -> None:
    """Raise UserError unless `mix` gives weights to groups of questions that there are."""
    for group, weight in mix.items():
        if group not in known:
            raise UserError(f"mix: unknown question group {group!r}; known: {', '.join(known)}")
        if not (isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
            raise UserError(f"mix: weight {weight!r} of {group}: give a number of at least 0")
    if not any(mix.values()):
        raise UserError("mix: every weight is 0; give at least one group a weight")


def _check_hops(mix: Mapping[str, float], max_hops: int) -> None:
    used = [family for family in FAMILIES if mix.get(family.group)]
    if all(family.depth > max_hops for family in used):
        raise UserError(f"max_hops={max_hops} leaves out every group of the mix; allow more hops")
