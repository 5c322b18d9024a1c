"""One unit of work: the scenes and questions of a run of images.

A chunk depends on the options, the split and its place alone, never on the process that makes it
or on other chunks; hence the same bytes for any number of workers. Answers are balanced within it.
"""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from dact.datamodules.clevr_mini.options import DRAWN_SPLIT, SPLITS

CHUNK_IMAGES = 250
#: Makes the scene and the questions of the image of an index.
Ask = Callable[[int], tuple[dict, list[dict]]]


class Chunk(NamedTuple):
    """Images `first` … `first` + `images` − 1 of `split`."""

    options: Any
    split: str
    first: int
    images: int


class Made(NamedTuple):
    """JSON of a chunk's scenes and questions, comma-separated, without the enclosing brackets.

    `to_draw`: its scenes of which a picture is wanted.
    """

    split: str
    scenes: str
    questions: str
    images: int
    to_draw: list[dict]


def plan(options: Any) -> list[Chunk]:
    """All chunks of a data set, in the order its files grow."""
    return [
        Chunk(options, split, first, min(CHUNK_IMAGES, options.images[split] - first))
        for split in SPLITS
        for first in range(0, options.images.get(split, 0), CHUNK_IMAGES)
    ]


def make(chunk: Chunk, begin: Callable[[Chunk, random.Random], Ask]) -> Made:
    """Sample and ask; `begin` gives what asks, from a chunk and its random numbers."""
    options, split = chunk.options, chunk.split
    rng = random.Random(f"{options.seed}/{split}/questions/{chunk.first}")
    ask = begin(chunk, rng)
    scenes, questions = [], []
    for index in range(chunk.first, chunk.first + chunk.images):
        scene, asked = ask(index)
        scenes.append(scene)
        questions += asked
    for number, question in enumerate(questions, chunk.first * options.questions_per_image):
        question["question_index"] = number
        if split == "test":  # as in the release, whose test split keeps its answers to itself
            for hidden in ("answer", "program", "question_family_index"):
                del question[hidden]
    drawings = options.drawings if split == DRAWN_SPLIT else 0
    to_draw = scenes[: max(drawings - chunk.first, 0)]
    return Made(split, _json_items(scenes), _json_items(questions), chunk.images, to_draw)


def _json_items(items: list[dict]) -> str:
    return json.dumps(items, separators=(",", ":"))[1:-1]
